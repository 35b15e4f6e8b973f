//! The ends of ranges by score and by member, and where in a sorted set they fall.

use crate::commands::args::parse_float;
use crate::resp::Error;
use crate::store::object::{Score, Zset};

/// From one score to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ByScore {
    min: Bound<f64>,
    max: Bound<f64>,
}

/// From one member to another, among members of equal score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ByLex<'a> {
    min: Lex<'a>,
    max: Lex<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound<T> {
    value: T,
    exclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lex<'a> {
    /// `-`: before every member.
    First,
    /// A member.
    At(Bound<&'a [u8]>),
    /// `+`: behind every member.
    Last,
}

impl ByScore {
    /// Reads both ends.
    pub(super) fn read(min: &[u8], max: &[u8]) -> Result<Self, Error> {
        let both = score_bound(min).zip(score_bound(max));
        let (min, max) = both.ok_or_else(|| Error::err("min or max is not a float"))?;
        Ok(Self { min, max })
    }

    /// The ranks inside, as begin and exclusive end.
    pub(super) fn ranks(&self, zset: &Zset) -> (usize, usize) {
        let Self { min, max } = *self;
        let begin = zset.partition(|(_, score)| {
            if min.exclusive { score.value() <= min.value } else { score.value() < min.value }
        });
        let end = zset.partition(|(_, score)| {
            if max.exclusive { score.value() < max.value } else { score.value() <= max.value }
        });
        (begin, end.max(begin))
    }
}

/// `1.5`, `(1.5`, `-inf`: as C's strtod reads it, to the end of the text; nothing at all is 0.
fn score_bound(text: &[u8]) -> Option<Bound<f64>> {
    let (exclusive, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let text = text.trim_ascii_start();
    let value = if text.is_empty() {
        0.0
    } else {
        // Digits that overflow are infinity here, and an error elsewhere.
        parse_float(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())?
    };
    Score::new(value).map(|score| Bound { value: score.value(), exclusive })
}

impl<'a> ByLex<'a> {
    /// Reads both ends.
    pub(super) fn read(min: &'a [u8], max: &'a [u8]) -> Result<Self, Error> {
        let both = lex_bound(min).zip(lex_bound(max));
        let (min, max) = both.ok_or_else(|| Error::err("min or max not valid string range item"))?;
        Ok(Self { min, max })
    }

    /// The ranks inside, as begin and exclusive end.
    pub(super) fn ranks(&self, zset: &Zset) -> (usize, usize) {
        let begin = match self.min {
            Lex::First => 0,
            Lex::Last => zset.len(),
            Lex::At(Bound { value, exclusive: true }) => zset.partition(|(member, _)| member <= value),
            Lex::At(Bound { value, exclusive: false }) => zset.partition(|(member, _)| member < value),
        };
        let end = match self.max {
            Lex::First => 0,
            Lex::Last => zset.len(),
            Lex::At(Bound { value, exclusive: true }) => zset.partition(|(member, _)| member < value),
            Lex::At(Bound { value, exclusive: false }) => zset.partition(|(member, _)| member <= value),
        };
        (begin, end.max(begin))
    }
}

fn lex_bound(text: &[u8]) -> Option<Lex<'_>> {
    match text {
        b"-" => Some(Lex::First),
        b"+" => Some(Lex::Last),
        [b'(', value @ ..] => Some(Lex::At(Bound { value, exclusive: true })),
        [b'[', value @ ..] => Some(Lex::At(Bound { value, exclusive: false })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hash::Hasher;

    #[test]
    fn ends_by_score_are_read_as_strtod_reads_them() {
        let bound = |value, exclusive| Some(Bound { value, exclusive });
        for (text, expected) in [
            ("1.5", bound(1.5, false)),
            ("(1.5", bound(1.5, true)),
            ("-inf", bound(f64::NEG_INFINITY, false)),
            ("(+inf", bound(f64::INFINITY, true)),
            ("", bound(0.0, false)),
            ("(", bound(0.0, true)),
            (" 7", bound(7.0, false)),
            ("1e999", bound(f64::INFINITY, false)),
            ("7 ", None),
            ("nan", None),
            ("[1", None),
        ] {
            assert_eq!(score_bound(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn ranges_include_or_exclude_their_ends() {
        let mut zset = Zset::default();
        for (i, member) in ["a", "b", "c", "d"].into_iter().enumerate() {
            zset.set(&Hasher::seeded(1), member.as_bytes(), Score::new(i as f64).expect("a number"));
        }
        for (min, max, expected) in [
            ("1", "2", (1, 3)),
            ("(1", "2", (2, 3)),
            ("1", "(2", (1, 2)),
            ("-inf", "+inf", (0, 4)),
            ("3", "1", (3, 3)),
        ] {
            let range = ByScore::read(min.as_bytes(), max.as_bytes()).expect("both are fine");
            assert_eq!(range.ranks(&zset), expected, "{min} {max}");
        }
        for (min, max, expected) in
            [("-", "+", (0, 4)), ("[b", "(d", (1, 3)), ("(b", "[d", (2, 4)), ("+", "-", (4, 4))]
        {
            let range = ByLex::read(min.as_bytes(), max.as_bytes()).expect("both are fine");
            assert_eq!(range.ranks(&zset), expected, "{min} {max}");
        }
        assert!(ByLex::read(b"b", b"+").is_err());
    }
}
