//! RESP2 and RESP3 as a client sees them: one value type, an encoder, and a decoder that can be fed any bytes.
//!
//! The decoder goes on where it stopped (it never reads a byte twice), reserves nothing on the word of a header, and
//! refuses what passes its [`Limits`]. It refuses streamed types (`$?`, `*?`): no server that we test sends them.
//! Pure: no I/O. The product's own codec is another one on purpose, so that the two can disagree.

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// A reply, or an argument.
#[derive(Clone)]
pub enum Value {
    /// `+`: a status line.
    Simple(Bytes),
    /// `-`: an error line.
    Error(Bytes),
    /// `:`
    Integer(i64),
    /// `$`: bytes.
    Bulk(Bytes),
    /// `_`, `$-1` or `*-1`.
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `%`, in the order sent.
    Map(Vec<(Value, Value)>),
    /// `~`, in the order sent.
    Set(Vec<Value>),
    /// `>`: out of band.
    Push(Vec<Value>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: decimal digits.
    BigNumber(Bytes),
    /// `=`: three letters of format and a text.
    Verbatim([u8; 3], Bytes),
    /// `!`
    BulkError(Bytes),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        use Value as V;
        match (self, other) {
            (V::Simple(a), V::Simple(b))
            | (V::Error(a), V::Error(b))
            | (V::Bulk(a), V::Bulk(b))
            | (V::BigNumber(a), V::BigNumber(b))
            | (V::BulkError(a), V::BulkError(b)) => a == b,
            (V::Integer(a), V::Integer(b)) => a == b,
            (V::Null, V::Null) => true,
            (V::Array(a), V::Array(b)) | (V::Set(a), V::Set(b)) | (V::Push(a), V::Push(b)) => a == b,
            (V::Map(a), V::Map(b)) => a == b,
            // A NaN equals itself here: values are compared as what was sent.
            (V::Double(a), V::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
            (V::Boolean(a), V::Boolean(b)) => a == b,
            (V::Verbatim(f, a), V::Verbatim(g, b)) => f == g && a == b,
            (_, _) => false,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |b: &Bytes| String::from_utf8_lossy(&b[..b.len().min(200)]).into_owned();
        match self {
            Self::Simple(b) => write!(f, "+{}", text(b)),
            Self::Error(b) => write!(f, "-{}", text(b)),
            Self::Integer(n) => write!(f, ":{n}"),
            Self::Bulk(b) => write!(f, "{:?}", text(b)),
            Self::Null => f.write_str("null"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Self::Set(items) => f.debug_set().entries(items).finish(),
            Self::Push(items) => f.debug_tuple("Push").field(items).finish(),
            Self::Double(d) => write!(f, ",{d}"),
            Self::Boolean(b) => write!(f, "#{b}"),
            Self::BigNumber(b) => write!(f, "({}", text(b)),
            Self::Verbatim(format, b) => write!(f, "={}:{}", String::from_utf8_lossy(format), text(b)),
            Self::BulkError(b) => write!(f, "!{}", text(b)),
        }
    }
}

impl Value {
    /// The bytes of a string of any kind, an error's among them.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(b) | Self::Error(b) | Self::Bulk(b) | Self::BigNumber(b) | Self::BulkError(b) => {
                Some(b)
            }
            Self::Verbatim(_, b) => Some(b),
            Self::Integer(_)
            | Self::Null
            | Self::Array(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Push(_)
            | Self::Double(_)
            | Self::Boolean(_) => None,
        }
    }

    /// The same as text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.bytes().map(|b| String::from_utf8_lossy(b).into_owned())
    }

    /// The text of an error reply.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        if let Self::Error(_) | Self::BulkError(_) = self { self.text() } else { None }
    }

    /// A number, also when it came as text.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            other => other.text()?.parse().ok(),
        }
    }

    /// The members of an array, a set or a push.
    #[must_use]
    pub fn items(&self) -> Option<&[Value]> {
        if let Self::Array(items) | Self::Set(items) | Self::Push(items) = self { Some(items) } else { None }
    }

    /// Whether this is the status `OK`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(b) if b.as_ref() == b"OK")
    }
}

/// Appends a command as clients send it: an array of bulk strings.
pub fn encode_command<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    header(b'*', args.len(), out);
    for arg in args {
        bulk(b'$', arg.as_ref(), out);
    }
}

/// Appends a value as RESP3. Only the kinds that RESP2 has look the same there; [`Value::Null`] is written `_`.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Simple(b) => line(b'+', b, out),
        Value::Error(b) => line(b'-', b, out),
        Value::Integer(n) => line(b':', n.to_string().as_bytes(), out),
        Value::Bulk(b) => bulk(b'$', b, out),
        Value::Null => out.extend_from_slice(b"_\r\n"),
        Value::Array(items) => list(b'*', items, out),
        Value::Set(items) => list(b'~', items, out),
        Value::Push(items) => list(b'>', items, out),
        Value::Map(pairs) => {
            header(b'%', pairs.len(), out);
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
        Value::Double(d) if d.is_nan() => out.extend_from_slice(b",nan\r\n"),
        Value::Double(d) => line(b',', d.to_string().as_bytes(), out),
        Value::Boolean(b) => out.extend_from_slice(if *b { b"#t\r\n" } else { b"#f\r\n" }),
        Value::BigNumber(b) => line(b'(', b, out),
        Value::Verbatim(format, b) => {
            header(b'=', b.len() + 4, out);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(b);
            out.extend_from_slice(b"\r\n");
        }
        Value::BulkError(b) => bulk(b'!', b, out),
    }
}

fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn header(kind: u8, len: usize, out: &mut Vec<u8>) {
    line(kind, len.to_string().as_bytes(), out);
}

fn bulk(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    header(kind, bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn list(kind: u8, items: &[Value], out: &mut Vec<u8>) {
    header(kind, items.len(), out);
    for item in items {
        encode(item, out);
    }
}

/// What a decoder accepts of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest string.
    pub bulk_bytes_max: usize,
    /// The longest line: a header, a status, an error, a number.
    pub line_bytes_max: usize,
    /// How many values one reply may hold in all.
    pub values_max: usize,
    /// How deep they may be nested.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 512 << 20, line_bytes_max: 64 << 10, values_max: 16 << 20, depth_max: 64 }
    }
}

/// Why bytes are not a reply. The connection cannot be used after this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No RESP type begins with this byte.
    #[error("a reply begins with byte {0:#04x}")]
    UnknownType(u8),
    /// A length or a number that is none.
    #[error("bad number in a line of type {0:?}: {1:?}")]
    BadNumber(char, String),
    /// A string is not followed by CR LF, or a line holds a CR alone.
    #[error("CR LF missing")]
    MissingCrLf,
    /// A limit of the decoder was passed.
    #[error("reply passes the limit of {1} {0}")]
    TooMuch(&'static str, usize),
    /// A verbatim string without its format, or a boolean that is neither t nor f.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListKind {
    Array,
    Set,
    Push,
    Map,
    /// An attribute: read and dropped, it belongs to the value that follows.
    Attribute,
}

struct Frame {
    kind: ListKind,
    missing: usize,
    items: Vec<Value>,
}

#[derive(Clone, Copy)]
enum Expect {
    Line,
    Body { kind: u8, len: usize },
}

/// Turns bytes as they arrive into values.
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    /// So many bytes of the buffer are known to hold no line end.
    scanned: usize,
    expect: Expect,
    stack: Vec<Frame>,
    values: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Decoder {
    /// A decoder with nothing in it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            scanned: 0,
            expect: Expect::Line,
            stack: Vec::new(),
            values: 0,
        }
    }

    /// The buffer into which a socket may be read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a reply has begun and is not complete.
    #[must_use]
    pub fn is_inside_a_reply(&self) -> bool {
        !self.buffer.is_empty() || !self.stack.is_empty()
    }

    /// The next complete value, or nothing until more bytes come.
    pub fn decode(&mut self) -> Result<Option<Value>, DecodeError> {
        loop {
            let finished = match self.expect {
                Expect::Line => match self.take_line()? {
                    None => return Ok(None),
                    Some(line) => self.on_line(&line)?,
                },
                Expect::Body { kind, len } => match self.take_body(len)? {
                    None => return Ok(None),
                    Some(body) => Some(string(kind, body)?),
                },
            };
            if let Some(value) = finished
                && let Some(whole) = self.place(value)
            {
                self.values = 0;
                return Ok(Some(whole));
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let found = self.buffer[self.scanned..].iter().position(|&b| b == b'\n');
        let Some(end) = found.map(|at| at + self.scanned) else {
            self.scanned = self.buffer.len();
            if self.scanned > self.limits.line_bytes_max {
                return Err(DecodeError::TooMuch("bytes a line", self.limits.line_bytes_max));
            }
            return Ok(None);
        };
        self.scanned = 0;
        if end > self.limits.line_bytes_max {
            return Err(DecodeError::TooMuch("bytes a line", self.limits.line_bytes_max));
        }
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if line.last() != Some(&b'\r') {
            return Err(DecodeError::MissingCrLf);
        }
        line.truncate(end - 1);
        Ok(Some(line))
    }

    fn take_body(&mut self, len: usize) -> Result<Option<Bytes>, DecodeError> {
        if self.buffer.len() < len + 2 {
            return Ok(None);
        }
        let body = self.buffer.split_to(len).freeze();
        if &self.buffer[..2] != b"\r\n" {
            return Err(DecodeError::MissingCrLf);
        }
        self.buffer.advance(2);
        self.expect = Expect::Line;
        Ok(Some(body))
    }

    /// A value if the line is one by itself; else what it announces is remembered.
    fn on_line(&mut self, line: &Bytes) -> Result<Option<Value>, DecodeError> {
        let Some(&kind) = line.first() else { return Err(DecodeError::Malformed("empty line")) };
        let rest = line.slice(1..);
        Ok(Some(match kind {
            b'+' => Value::Simple(rest),
            b'-' => Value::Error(rest),
            b':' => Value::Integer(number(kind, &rest)?),
            b'_' => Value::Null,
            b'#' => match rest.as_ref() {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _neither => return Err(DecodeError::Malformed("boolean")),
            },
            b',' => Value::Double(number(kind, &rest)?),
            b'(' => Value::BigNumber(rest),
            b'$' | b'!' | b'=' => match self.length(kind, &rest, self.limits.bulk_bytes_max)? {
                None => Value::Null,
                Some(len) => {
                    self.expect = Expect::Body { kind, len };
                    return Ok(None);
                }
            },
            b'*' => return self.open(ListKind::Array, kind, &rest),
            b'~' => return self.open(ListKind::Set, kind, &rest),
            b'>' => return self.open(ListKind::Push, kind, &rest),
            b'%' => return self.open(ListKind::Map, kind, &rest),
            b'|' => return self.open(ListKind::Attribute, kind, &rest),
            other => return Err(DecodeError::UnknownType(other)),
        }))
    }

    fn length(&self, kind: u8, text: &[u8], max: usize) -> Result<Option<usize>, DecodeError> {
        let len: i64 = number(kind, text)?;
        match usize::try_from(len) {
            Err(_negative) if len == -1 && matches!(kind, b'$' | b'*') => Ok(None),
            Err(_negative) => {
                Err(DecodeError::BadNumber(kind as char, String::from_utf8_lossy(text).into_owned()))
            }
            Ok(len) if len > max => Err(DecodeError::TooMuch("bytes or members", max)),
            Ok(len) => Ok(Some(len)),
        }
    }

    fn open(&mut self, list: ListKind, kind: u8, text: &[u8]) -> Result<Option<Value>, DecodeError> {
        let Some(len) = self.length(kind, text, self.limits.values_max)? else {
            return Ok(Some(Value::Null));
        };
        let missing = if matches!(list, ListKind::Map | ListKind::Attribute) { len * 2 } else { len };
        self.values += missing;
        if self.values > self.limits.values_max {
            return Err(DecodeError::TooMuch("values a reply", self.limits.values_max));
        }
        if self.stack.len() >= self.limits.depth_max {
            return Err(DecodeError::TooMuch("levels of nesting", self.limits.depth_max));
        }
        // Room for a few only: a header is not to be trusted with memory.
        let frame = Frame { kind: list, missing, items: Vec::with_capacity(missing.min(16)) };
        if missing == 0 {
            return Ok(close(frame));
        }
        self.stack.push(frame);
        Ok(None)
    }

    /// Puts a finished value where it belongs; gives back the reply when that was the last piece of it.
    fn place(&mut self, value: Value) -> Option<Value> {
        let mut value = Some(value);
        loop {
            let Some(frame) = self.stack.last_mut() else { return value };
            if let Some(value) = value {
                frame.items.push(value);
                frame.missing -= 1;
            }
            if frame.missing > 0 {
                return None;
            }
            value = self.stack.pop().and_then(close);
            value.as_ref()?;
        }
    }
}

fn close(frame: Frame) -> Option<Value> {
    Some(match frame.kind {
        ListKind::Array => Value::Array(frame.items),
        ListKind::Set => Value::Set(frame.items),
        ListKind::Push => Value::Push(frame.items),
        ListKind::Attribute => return None,
        ListKind::Map => {
            let mut pairs = Vec::with_capacity(frame.items.len() / 2);
            let mut items = frame.items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        }
    })
}

fn string(kind: u8, body: Bytes) -> Result<Value, DecodeError> {
    match kind {
        b'!' => Ok(Value::BulkError(body)),
        b'=' => match body.as_ref() {
            [a, b, c, b':', ..] => Ok(Value::Verbatim([*a, *b, *c], body.slice(4..))),
            _no_format => Err(DecodeError::Malformed("verbatim string")),
        },
        _bulk => Ok(Value::Bulk(body)),
    }
}

fn number<T: std::str::FromStr>(kind: u8, text: &[u8]) -> Result<T, DecodeError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| DecodeError::BadNumber(kind as char, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
