//! The reply writer: one buffer, both protocol versions. A command says what it answers; this file decides how that
//! looks in RESP2 and in RESP3 (DESIGN 13). Refuses nothing: any value of any type can be written.

use super::Error;
use crate::numbers::double;

/// The protocol version that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resp {
    /// The default of every connection.
    #[default]
    Two,
    /// Asked for by `HELLO 3`.
    Three,
}

/// Replies on their way to one connection.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    resp: Resp,
}

impl Reply {
    /// An empty writer that reuses a buffer.
    #[must_use]
    pub fn over(mut bytes: Vec<u8>, resp: Resp) -> Self {
        bytes.clear();
        Self { bytes, resp }
    }

    /// The version that is written from here on.
    #[must_use]
    pub const fn resp(&self) -> Resp {
        self.resp
    }

    /// Changes the version (HELLO, RESET).
    pub const fn set_resp(&mut self, resp: Resp) {
        self.resp = resp;
    }

    /// What has been written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything after the first `len` bytes (CLIENT REPLY OFF, a command that failed half-way).
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// The buffer, for sending and reuse.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes that are RESP already (cached answers).
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. The text must not hold CR or LF: they are replaced by spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error reply.
    pub fn error(&mut self, error: &Error) {
        self.bytes.push(b'-');
        let from = self.bytes.len();
        error.text(&mut self.bytes);
        // Redis cuts line breaks at the end off, too.
        while self.bytes.len() > from && matches!(self.bytes.last(), Some(b'\r' | b'\n')) {
            self.bytes.pop();
        }
        for byte in &mut self.bytes[from..] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.head(b'$', value.len() as u64);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string, or null if there is none.
    pub fn bulk_or_null(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.bytes.push(b':');
        self.bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A count, as an integer.
    pub fn count(&mut self, value: usize) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// The null of a single value.
    #[inline]
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(match self.resp {
            Resp::Two => b"$-1\r\n",
            Resp::Three => b"_\r\n",
        });
    }

    /// The null of an array (an aborted EXEC, a BLPOP that timed out).
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(match self.resp {
            Resp::Two => b"*-1\r\n".as_slice(),
            Resp::Three => b"_\r\n",
        });
    }

    /// The head of an array of `len` values, which the caller writes next.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len as u64);
    }

    /// The head of a map of `pairs` keys and values; in RESP2 a flat array.
    pub fn map(&mut self, pairs: usize) {
        match self.resp {
            Resp::Two => self.head(b'*', 2 * pairs as u64),
            Resp::Three => self.head(b'%', pairs as u64),
        }
    }

    /// The head of a set; in RESP2 an array.
    pub fn set(&mut self, len: usize) {
        self.head(if self.resp == Resp::Two { b'*' } else { b'~' }, len as u64);
    }

    /// The head of an out-of-band message; in RESP2 an array.
    pub fn push(&mut self, len: usize) {
        self.head(if self.resp == Resp::Two { b'*' } else { b'>' }, len as u64);
    }

    /// A truth value; in RESP2 `:1` or `:0`.
    pub fn boolean(&mut self, value: bool) {
        self.bytes.extend_from_slice(match (self.resp, value) {
            (Resp::Two, true) => b":1\r\n",
            (Resp::Two, false) => b":0\r\n",
            (Resp::Three, true) => b"#t\r\n",
            (Resp::Three, false) => b"#f\r\n",
        });
    }

    /// A floating point number; in RESP2 a bulk string of the same digits.
    pub fn double(&mut self, value: f64) {
        let text = double::text(value);
        match self.resp {
            Resp::Two => self.bulk(&text),
            Resp::Three => self.line(b',', &text),
        }
    }

    /// An integer of any size, given as its digits; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.resp {
            Resp::Two => self.bulk(digits.as_bytes()),
            Resp::Three => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`); in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.resp {
            Resp::Two => self.bulk(text),
            Resp::Three => {
                self.head(b'=', text.len() as u64 + 4);
                self.bytes.extend_from_slice(&format);
                self.bytes.push(b':');
                self.bytes.extend_from_slice(text);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    #[inline]
    fn head(&mut self, kind: u8, number: u64) {
        self.bytes.push(kind);
        if number < 10 {
            self.bytes.extend_from_slice(&[b'0' + number as u8, b'\r', b'\n']);
        } else {
            self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend(text.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resp: Resp, write: impl Fn(&mut Reply)) -> String {
        let mut reply = Reply::over(Vec::new(), resp);
        write(&mut reply);
        String::from_utf8_lossy(reply.bytes()).into_owned()
    }

    #[test]
    fn every_type_has_its_resp2_and_its_resp3_form() {
        type Write = fn(&mut Reply);
        let cases: [(Write, &str, &str); 13] = [
            (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
            (|r| r.int(-7), ":-7\r\n", ":-7\r\n"),
            (|r| r.bulk(b"ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
            (|r| r.bulk(&[b'x'; 12]), "$12\r\nxxxxxxxxxxxx\r\n", "$12\r\nxxxxxxxxxxxx\r\n"),
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.map(2), "*4\r\n", "%2\r\n"),
            (|r| r.set(3), "*3\r\n", "~3\r\n"),
            (|r| r.push(3), "*3\r\n", ">3\r\n"),
            (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
            (|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|r| r.big_number("12"), "$2\r\n12\r\n", "(12\r\n"),
            (|r| r.verbatim(*b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        ];
        for (write, two, three) in cases {
            assert_eq!(written(Resp::Two, write), two);
            assert_eq!(written(Resp::Three, write), three);
        }
    }

    #[test]
    fn a_line_break_in_a_simple_string_or_an_error_cannot_break_the_stream() {
        assert_eq!(written(Resp::Two, |r| r.simple("a\r\nb")), "+a  b\r\n");
        let error = Error::Custom("ERR x\r\n+OK".into());
        assert_eq!(written(Resp::Two, |r| r.error(&error)), "-ERR x  +OK\r\n");
    }
}
