//! A command's arguments: slices of the read buffer, never copied, with Redis' exact errors for what does not parse.

use crate::resp::Error;
use capstan_proto::slot::Slot;

/// Where one argument lies in its command's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Its first byte.
    pub at: u32,
    /// How many bytes it has.
    pub len: u32,
}

/// One key of a command, found and hashed before any lane is locked.
#[derive(Debug, Clone, Copy)]
pub struct KeyAt {
    /// Which argument it is.
    pub arg: u32,
    /// Its slot.
    pub slot: Slot,
    /// Its hash in the slot's table.
    pub hash: u64,
}

/// A key with its slot and its hash.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    /// Its slot.
    pub slot: Slot,
    /// Its hash in the slot's table.
    pub hash: u64,
}

/// The arguments of one command; the name is argument 0.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    keys: &'a [KeyAt],
}

impl<'a> Args<'a> {
    /// Arguments that lie in `bytes`, and which of them are keys.
    #[must_use]
    pub const fn new(bytes: &'a [u8], spans: &'a [Span], keys: &'a [KeyAt]) -> Self {
        Self { bytes, spans, keys }
    }

    /// How many there are, the name included.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Never: a command has a name.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// An argument, if there are so many.
    #[inline]
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(i)?;
        self.bytes.get(span.at as usize..span.at as usize + span.len as usize)
    }

    /// An argument; empty if there are not so many (the row's arity has been checked before).
    #[inline]
    #[must_use]
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.get(i).unwrap_or_default()
    }

    /// All arguments from the `from`th on.
    pub fn from(self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (from..self.len().max(from)).map(move |i| self.at(i))
    }

    /// The arguments from the `from`th on as a command line of its own, whose keys are not known yet.
    #[must_use]
    pub fn tail(&self, from: usize) -> Self {
        Self { bytes: self.bytes, spans: self.spans.get(from..).unwrap_or_default(), keys: &[] }
    }

    /// How many keys the row found.
    #[must_use]
    pub const fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The `n`th key, counted from 0, in the order of the arguments.
    ///
    /// A command asks only for keys that its row declares; asking for another one is answered with the empty key.
    #[inline]
    #[must_use]
    pub fn key(&self, n: usize) -> Key<'a> {
        match self.keys.get(n) {
            Some(key) => Key { bytes: self.at(key.arg as usize), slot: key.slot, hash: key.hash },
            None => {
                debug_assert!(false, "the row declares no key {n}");
                Key { bytes: b"", slot: Slot::of_key(b""), hash: 0 }
            }
        }
    }

    /// All keys.
    pub fn keys(self) -> impl ExactSizeIterator<Item = Key<'a>> {
        (0..self.keys.len()).map(move |n| self.key(n))
    }

    /// Whether an argument is this word, in any case.
    #[must_use]
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.at(i).eq_ignore_ascii_case(word.as_bytes())
    }

    /// An argument as a 64-bit integer, as strictly as Redis reads them.
    pub fn int(&self, i: usize) -> Result<i64, Error> {
        parse_int(self.at(i)).ok_or(Error::NotInteger)
    }

    /// An argument as an integer within bounds.
    pub fn int_between(&self, i: usize, least: i64, most: i64) -> Result<i64, Error> {
        match self.int(i)? {
            value if (least..=most).contains(&value) => Ok(value),
            _ => Err(Error::err(format!("value is out of range, value must between {least} and {most}"))),
        }
    }

    /// An argument as an integer that is at least `least`; whatever else it is, is answered with this text.
    pub fn int_from(&self, i: usize, least: i64, otherwise: &str) -> Result<i64, Error> {
        self.int(i).ok().filter(|value| *value >= least).ok_or_else(|| Error::err(otherwise))
    }

    /// An argument as a count that may be 0 but not negative.
    pub fn count(&self, i: usize) -> Result<usize, Error> {
        let value = self.int(i).ok().and_then(|value| usize::try_from(value).ok());
        value.ok_or(Error::OutOfRangePositive)
    }

    /// An argument as a floating point number.
    pub fn float(&self, i: usize) -> Result<f64, Error> {
        parse_float(self.at(i)).ok_or(Error::NotFloat)
    }

    /// A copy that outlives the read buffer (MULTI's queue, commands that run elsewhere).
    #[must_use]
    pub fn to_owned(&self) -> OwnedArgs {
        let total: usize = self.spans.iter().map(|s| s.len as usize).sum();
        let mut bytes = Vec::with_capacity(total);
        let mut spans = Vec::with_capacity(self.spans.len());
        for i in 0..self.len() {
            let arg = self.at(i);
            spans.push(Span { at: bytes.len() as u32, len: arg.len() as u32 });
            bytes.extend_from_slice(arg);
        }
        OwnedArgs { bytes: bytes.into(), spans: spans.into(), keys: self.keys.into() }
    }
}

/// Arguments that own their bytes.
#[derive(Debug, Clone)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
    keys: Box<[KeyAt]>,
}

impl OwnedArgs {
    /// To be read like any others.
    #[must_use]
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans, &self.keys)
    }

    /// The keys that were found when the command was read.
    #[must_use]
    pub fn key_places(&self) -> &[KeyAt] {
        &self.keys
    }

    /// What it occupies, roughly: for limits.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>() + self.keys.len() * size_of::<KeyAt>()
    }
}

/// An integer as Redis' `string2ll` reads it: no blanks, no plus sign, no leading zeros, no `-0`.
#[must_use]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// A floating point number as Redis' `string2d` / `strtold` accepts it: no blanks, no NaN; infinities by name.
#[must_use]
pub fn parse_float(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 5 * 1024 {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let magnitude = parse_hex_float(hex)?;
        return Some(if text.starts_with('-') { -magnitude } else { magnitude });
    }
    let value: f64 = text.parse().ok()?;
    let named_infinity = unsigned.as_bytes()[0].eq_ignore_ascii_case(&b'i');
    // Rust reads 1e999 as infinity; Redis calls that out of range.
    if value.is_nan() || (value.is_infinite() && !named_infinity) { None } else { Some(value) }
}

/// The digits after `0x`, with an optional fraction and binary exponent, as C's strtod reads them.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let value = value * 2f64.powi(exponent.saturating_sub(4 * fraction.len() as i32));
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        for (text, value) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_int(text.as_bytes()), Some(value), "{text}");
        }
        for text in
            ["", "-", "+1", " 1", "1 ", "01", "-0", "00", "1a", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(parse_int(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats_know_infinity_but_no_nan_and_no_blanks() {
        for (text, value) in [("3.0", 3.0), ("-1e3", -1000.0), ("inf", f64::INFINITY), ("0x10", 16.0)] {
            assert_eq!(parse_float(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "nan", " 1", "1 ", "1e999", "abc", "1,5", "0x"] {
            assert_eq!(parse_float(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_reads_back(value: i64) {
            prop_assert_eq!(parse_int(value.to_string().as_bytes()), Some(value));
        }
    }
}
