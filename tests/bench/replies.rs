//! Counts replies without keeping them: where each ends, of which kind it is. Pure.
//!
//! Only what the load generator asks for can come back (statuses, integers, bulk strings, errors); anything else is
//! counted as an error, so a run cannot pass on replies that it did not understand.

/// What came back so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// `+` lines.
    pub(crate) statuses: u64,
    /// `:` lines.
    pub(crate) integers: u64,
    /// Strings that are there.
    pub(crate) bulks: u64,
    /// Their bytes.
    pub(crate) bulk_bytes: u64,
    /// Missing keys.
    pub(crate) nils: u64,
    /// `-` lines and whatever was not understood.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
}

impl Tally {
    fn error(&mut self, text: &[u8]) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| String::from_utf8_lossy(text).trim_end().to_owned());
    }
}

/// Finds the ends of replies in a byte stream.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Bytes still to come of a string and of the CR LF after it.
    missing: usize,
    /// A line that began in earlier bytes.
    line: Vec<u8>,
}

impl Scanner {
    /// Takes bytes in; says how many replies ended in them.
    pub(crate) fn feed(&mut self, bytes: &[u8], tally: &mut Tally) -> usize {
        let mut ended = 0;
        let mut at = 0;
        while at < bytes.len() {
            if self.missing > 0 {
                let taken = self.missing.min(bytes.len() - at);
                self.missing -= taken;
                at += taken;
                ended += usize::from(self.missing == 0);
                continue;
            }
            if self.line.is_empty() && bytes[at..].starts_with(b"+OK\r\n") {
                tally.statuses += 1;
                ended += 1;
                at += 5;
                continue;
            }
            let Some(end) = bytes[at..].iter().position(|&b| b == b'\n') else {
                self.line.extend_from_slice(&bytes[at..]);
                break;
            };
            let line = &bytes[at..at + end];
            at += end + 1;
            if self.line.is_empty() {
                self.missing = on_line(line, tally);
            } else {
                self.line.extend_from_slice(line);
                let line = std::mem::take(&mut self.line);
                self.missing = on_line(&line, tally);
            }
            ended += usize::from(self.missing == 0);
        }
        ended
    }
}

/// Counts a line; says how many bytes of a string follow it.
fn on_line(line: &[u8], tally: &mut Tally) -> usize {
    let (kind, rest) = (line.first().copied(), line.get(1..).unwrap_or_default());
    match kind {
        Some(b'$') if rest.starts_with(b"-1") => tally.nils += 1,
        Some(b'_') => tally.nils += 1,
        Some(b'$') => {
            let digits = rest.strip_suffix(b"\r").unwrap_or(rest);
            let length = digits.iter().try_fold(0usize, |sum, d| {
                d.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(usize::from(d - b'0')))
            });
            match length {
                None => tally.error(line),
                Some(length) => {
                    tally.bulks += 1;
                    tally.bulk_bytes += length as u64;
                    return length + 2;
                }
            }
        }
        Some(b'+') => tally.statuses += 1,
        Some(b':') => tally.integers += 1,
        _error_or_unexpected => tally.error(line),
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let bytes = b"+OK\r\n$5\r\na\r\nbc\r\n:7\r\n$-1\r\n-MOVED 1 h:1\r\n$0\r\n\r\n+PONG\r\n";
        let mut whole = Tally::default();
        assert_eq!(Scanner::default().feed(bytes, &mut whole), 7);
        assert_eq!((whole.statuses, whole.integers, whole.bulks, whole.bulk_bytes), (2, 1, 2, 5));
        assert_eq!((whole.nils, whole.errors, whole.first_error.as_deref()), (1, 1, Some("-MOVED 1 h:1")));
        for size in 1..bytes.len() {
            let (mut scanner, mut tally) = (Scanner::default(), Tally::default());
            let ended: usize = bytes.chunks(size).map(|piece| scanner.feed(piece, &mut tally)).sum();
            assert_eq!((ended, &tally), (7, &whole), "pieces of {size}");
        }
    }

    #[test]
    fn what_was_not_asked_for_counts_as_an_error() {
        let mut tally = Tally::default();
        Scanner::default().feed(b"*1\r\n$x\r\n", &mut tally);
        assert_eq!(tally.errors, 2);
    }
}
