//! Inline commands: one line of words, as somebody types into telnet, with Redis' quoting.

use crate::commands::args::Span;

/// A quote that does not close, or that closes in the middle of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits a line into words: their bytes are appended to `out`, and their spans count from where `out` began.
pub fn split(line: &[u8], spans: &mut Vec<Span>, out: &mut Vec<u8>) -> Result<(), Unbalanced> {
    let base = out.len();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = out.len();
        rest = word(rest, out)?;
        spans.push(Span { at: (start - base) as u32, len: (out.len() - start) as u32 });
    }
}

/// C's `isspace`.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads one word; says what follows it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            // A zero byte ends a word, and with it the line: Redis works on C strings here.
            [0, ..] => return Ok(&[]),
            [b'"', tail @ ..] => return quoted(double_quoted(tail, out)?),
            [b'\'', tail @ ..] => return quoted(single_quoted(tail, out)?),
            [byte, ..] if is_space(*byte) => return Ok(rest),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// After a closing quote comes a blank or the end.
fn quoted(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(Unbalanced),
        Some(_) | None => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Err(Unbalanced),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Ok(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Unbalanced> {
        let (mut spans, mut out) = (Vec::new(), b"before".to_vec());
        split(line.as_bytes(), &mut spans, &mut out)?;
        let text = |s: &Span| {
            String::from_utf8_lossy(&out[6 + s.at as usize..6 + (s.at + s.len) as usize]).into_owned()
        };
        Ok(spans.iter().map(text).collect())
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        assert_eq!(words("  set  key\tvalue "), Ok(vec!["set".into(), "key".into(), "value".into()]));
        assert_eq!(
            words(r#"set k "a \x41\n\"b\"" "#),
            Ok(vec!["set".into(), "k".into(), "a A\n\"b\"".into()])
        );
        assert_eq!(words(r"set k 'it\'s'"), Ok(vec!["set".into(), "k".into(), "it's".into()]));
        assert_eq!(words(r#"set k """#), Ok(vec!["set".into(), "k".into(), String::new()]));
        assert_eq!(words("   "), Ok(vec![]));
    }

    #[test]
    fn a_quote_that_does_not_close_or_closes_inside_a_word_is_refused() {
        for line in [r#"set "k"#, "set 'k", r#"set "k"x"#, "set 'k'x", r#"set "k\"#] {
            assert_eq!(words(line), Err(Unbalanced), "{line}");
        }
    }
}
