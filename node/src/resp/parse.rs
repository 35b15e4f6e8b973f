//! The request parser: RESP arrays of bulk strings, and inline commands, out of a buffer that is read into.
//!
//! Decides where commands and their arguments lie; copies nothing (only inline commands, whose quoting must be undone,
//! get bytes of their own). An unfinished command is resumed where it stopped, so a large value that arrives in many
//! reads is looked at once. Limits are checked on what a header announces; nothing is reserved for it here (I12).
//!
//! The result does not depend on how the bytes were split into reads: property-tested.

use super::inline;
use crate::commands::args::Span;

/// A header line or an inline command may be this long.
pub const LINE_MAX: usize = 64 * 1024;
/// A command may have this many arguments.
pub const ARGS_MAX: i64 = 1024 * 1024;
/// Before authentication, a command may have this many arguments …
pub const ARGS_MAX_UNAUTHENTICATED: i64 = 10;
/// … of this many bytes.
pub const BULK_MAX_UNAUTHENTICATED: i64 = 16384;

/// Why the bytes are no request. The connection answers with the text and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The count of an array is missing, negative beyond -1, or too large.
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    /// No line end after the count.
    #[error("Protocol error: too big mbulk count string")]
    ArrayLine,
    /// Too many arguments before AUTH.
    #[error("Protocol error: unauthenticated multibulk length")]
    ArrayUnauthenticated,
    /// Not a `$`.
    #[error("Protocol error: expected '$', got '{}'", shown(*.0))]
    NoBulk(u8),
    /// The length of an argument is missing, negative or above `proto-max-bulk-len`.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// No line end after the length.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// Too long an argument before AUTH.
    #[error("Protocol error: unauthenticated bulk length")]
    BulkUnauthenticated,
    /// An inline command without end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// Quotes that do not close.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    /// More than `client-query-buffer-limit` for one command. Redis answers nothing to this.
    #[error("closing a client that exceeds client-query-buffer-limit")]
    RequestTooLong,
}

fn shown(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

/// What one command may occupy.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest argument.
    pub bulk_max: i64,
    /// The longest command, headers included.
    pub request_max: usize,
    /// AUTH was successful, or is not needed.
    pub authenticated: bool,
}

/// A complete command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Its arguments' spans were appended; they count from the command's first byte. It is `len` bytes long.
    Command {
        /// How many bytes it occupies.
        len: usize,
    },
    /// The same, but its arguments' bytes were appended to `inline`, and the spans count from there.
    Inline {
        /// How many bytes it occupies.
        len: usize,
    },
    /// These bytes are an empty command: skip them.
    Nothing {
        /// How many there are.
        len: usize,
    },
    /// More bytes are needed: the command is at least this long in all.
    Unfinished {
        /// Counted from its first byte.
        needs: usize,
    },
}

/// The state of an unfinished command. All zero between commands.
#[derive(Debug, Default)]
pub struct Parser {
    /// How far it has been read.
    at: usize,
    /// How many arguments are still to come; 0 before the array's header has been read.
    missing: usize,
    /// The announced length of the argument at `at`, once its header has been read.
    bulk: Option<usize>,
    /// The arguments that are complete; empty for a command that comes in one piece.
    spans: Vec<Span>,
}

impl Parser {
    /// Forgets an unfinished command: it will be given again from its first byte.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// What the state of an unfinished command occupies.
    #[must_use]
    pub fn size(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Reads the command at the start of `bytes`. After [`Parsed::Unfinished`] it is called again with the same bytes
    /// and more; after anything else with what follows.
    pub fn next(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
        inline: &mut Vec<u8>,
    ) -> Result<Parsed, ProtocolError> {
        if self.missing == 0 {
            match bytes.first() {
                None => return Ok(Parsed::Unfinished { needs: 1 }),
                Some(b'*') => {}
                Some(_) => return self.inline(bytes, spans, inline),
            }
            let Some((count, end)) = number(bytes, 1).map_err(|e| e.of_array())? else {
                return Ok(Parsed::Unfinished { needs: bytes.len() + 1 });
            };
            if count <= 0 {
                return Ok(Parsed::Nothing { len: end });
            }
            if count > ARGS_MAX {
                return Err(ProtocolError::ArrayLength);
            }
            if !limits.authenticated && count > ARGS_MAX_UNAUTHENTICATED {
                return Err(ProtocolError::ArrayUnauthenticated);
            }
            (self.missing, self.at) = (count as usize, end);
        }
        self.arguments(bytes, limits, spans)
    }

    fn arguments(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        out: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        let first = out.len();
        let resumed = !self.spans.is_empty();
        let spans = if resumed { &mut self.spans } else { &mut *out };
        let (mut at, mut missing, mut bulk) = (self.at, self.missing, self.bulk);
        let needs = loop {
            if missing == 0 {
                break None;
            }
            let len = match bulk {
                Some(len) => len,
                None => match header(bytes, at, limits)? {
                    Some((len, end)) => {
                        at = end;
                        len
                    }
                    None => break Some(bytes.len().max(at) + 1),
                },
            };
            if at + len + 2 > limits.request_max {
                return Err(ProtocolError::RequestTooLong);
            }
            if bytes.len() < at + len + 2 {
                bulk = Some(len);
                break Some(at + len + 2);
            }
            bulk = None;
            spans.push(Span { at: at as u32, len: len as u32 });
            at += len + 2;
            missing -= 1;
        };
        match needs {
            Some(needs) => {
                if !resumed {
                    self.spans.extend_from_slice(&out[first..]);
                    out.truncate(first);
                }
                (self.at, self.missing, self.bulk) = (at, missing, bulk);
                Ok(Parsed::Unfinished { needs })
            }
            None => {
                if resumed {
                    out.extend_from_slice(&self.spans);
                }
                self.reset();
                Ok(Parsed::Command { len: at })
            }
        }
    }

    fn inline(
        &mut self,
        bytes: &[u8],
        spans: &mut Vec<Span>,
        out: &mut Vec<u8>,
    ) -> Result<Parsed, ProtocolError> {
        let within = &bytes[..bytes.len().min(LINE_MAX)];
        let from = self.at.min(within.len());
        let Some(end) = memchr::memchr(b'\n', &within[from..]).map(|i| from + i) else {
            if bytes.len() >= LINE_MAX {
                return Err(ProtocolError::InlineTooLong);
            }
            self.at = bytes.len();
            return Ok(Parsed::Unfinished { needs: bytes.len() + 1 });
        };
        self.at = 0;
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let before = spans.len();
        inline::split(line, spans, out).map_err(|inline::Unbalanced| ProtocolError::Quotes)?;
        let len = end + 1;
        Ok(if spans.len() == before { Parsed::Nothing { len } } else { Parsed::Inline { len } })
    }
}

/// Why a header line is none.
enum LineError {
    /// No line end within [`LINE_MAX`].
    TooLong,
    /// Not an integer.
    NotANumber,
}

impl LineError {
    const fn of_array(&self) -> ProtocolError {
        match self {
            Self::TooLong => ProtocolError::ArrayLine,
            Self::NotANumber => ProtocolError::ArrayLength,
        }
    }

    const fn of_bulk(&self) -> ProtocolError {
        match self {
            Self::TooLong => ProtocolError::BulkLine,
            Self::NotANumber => ProtocolError::BulkLength,
        }
    }
}

/// The length of the bulk string whose header is at `at`, and where its bytes begin.
#[inline]
fn header(bytes: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    match bytes.get(at) {
        None => return Ok(None),
        Some(b'$') => {}
        Some(&other) => return Err(ProtocolError::NoBulk(other)),
    }
    let Some((len, end)) = number(bytes, at + 1).map_err(|e| e.of_bulk())? else { return Ok(None) };
    if len < 0 || len > limits.bulk_max {
        return Err(ProtocolError::BulkLength);
    }
    if !limits.authenticated && len > BULK_MAX_UNAUTHENTICATED {
        return Err(ProtocolError::BulkUnauthenticated);
    }
    Ok(Some((len as usize, end)))
}

/// The number of a header line, and where the next line begins; nothing if the line has not ended yet.
#[inline]
fn number(bytes: &[u8], at: usize) -> Result<Option<(i64, usize)>, LineError> {
    // Nearly all headers have one to six digits.
    let mut value = 0i64;
    for i in at..bytes.len().min(at + 8) {
        match bytes[i] {
            digit @ b'0'..=b'9' => value = value * 10 + i64::from(digit - b'0'),
            b'\r' if i > at && (bytes[at] != b'0' || i == at + 1) => {
                return Ok((bytes.len() > i + 1).then_some((value, i + 2)));
            }
            _ => break,
        }
    }
    slow_number(bytes, at)
}

#[cold]
fn slow_number(bytes: &[u8], at: usize) -> Result<Option<(i64, usize)>, LineError> {
    let within = &bytes[at.min(bytes.len())..bytes.len().min(at + LINE_MAX)];
    let Some(len) = memchr::memchr(b'\r', within) else {
        return if within.len() == LINE_MAX { Err(LineError::TooLong) } else { Ok(None) };
    };
    if bytes.len() < at + len + 2 {
        return Ok(None);
    }
    match crate::commands::args::parse_int(&within[..len]) {
        Some(value) => Ok(Some((value, at + len + 2))),
        None => Err(LineError::NotANumber),
    }
}

#[cfg(test)]
mod tests;
