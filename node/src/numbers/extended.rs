//! The 80-bit floating-point numbers of the x87, in which Redis adds for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! A double would show 0.1 + 0.2 as 0.30000000000000004 where Redis shows 0.3, and two servers that keep one
//! counter must agree to the digit. So the sum is made here as the x87 makes it: a mantissa of 64 bits, rounded to
//! the nearest, ties to even. Text is read and written exactly. Pure arithmetic; never loops longer than the longest
//! accepted text (5 KiB) and the exponent's range ask for.

/// Texts from this length on are refused, as Redis refuses them.
const TEXT_MAX: usize = 5 * 1024;
/// The largest exponent of the last mantissa bit that is still finite: 2^16384 is the first infinite power.
const EXPONENT_MAX: i32 = 16384 - 64;
/// The exponent of the last mantissa bit of the smallest numbers (denormal).
const EXPONENT_MIN: i32 = -16445;
/// Ten to the digits behind the point that are printed.
const SHOWN: u128 = 100_000_000_000_000_000;

/// A finite number: `mantissa * 2^exponent`, negative or not. The mantissa's top bit is set, or it is zero, or the
/// exponent is the smallest there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a text turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// A number.
    Finite(Extended),
    /// The word infinity, with or without a sign.
    Infinite,
    /// No number, or one that does not fit.
    Invalid,
}

/// Reads text as C's strtold does: sign, digits with an optional point, optional exponent, in decimal or after `0x` in
/// hexadecimal; no blanks.
#[must_use]
pub fn read(text: &[u8]) -> Read {
    if text.len() >= TEXT_MAX {
        return Read::Invalid;
    }
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        return Read::Infinite;
    }
    if let [b'0', b'x' | b'X', digits @ ..] = rest {
        return hexadecimal(negative, digits).map_or(Read::Invalid, Read::Finite);
    }
    match decimal(rest).and_then(|(digits, power)| from_decimal(negative, &digits, power)) {
        Some(number) => Read::Finite(number),
        None => Read::Invalid,
    }
}

/// What follows `0x`: digits with an optional point, and after `p` a power of two.
fn hexadecimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, power) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (mut head, mut exponent, mut sticky) = (0u128, power.clamp(-100_000, 100_000), false);
    let (mut seen_digit, mut seen_point) = (false, false);
    for &byte in digits {
        if byte == b'.' && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        seen_digit = true;
        exponent -= 4 * i32::from(seen_point);
        if head >> 120 == 0 {
            head = head << 4 | u128::from(digit);
        } else {
            sticky |= digit != 0;
            exponent += 4;
        }
    }
    let number = round(negative, head, exponent, sticky).filter(|_| seen_digit)?;
    // What is too small to be told from zero is out of range.
    (head == 0 || number.mantissa != 0).then_some(number)
}

/// The digits of a decimal text, and the power of ten that they are to be multiplied with.
fn decimal(text: &[u8]) -> Option<(Vec<u8>, i32)> {
    let mut digits = Vec::with_capacity(text.len());
    let (mut at, mut power, mut seen_point, mut seen_digit) = (0, 0i32, false, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                seen_digit = true;
                digits.push(byte - b'0');
                power -= i32::from(seen_point);
            }
            b'.' if !seen_point => seen_point = true,
            _ => break,
        }
        at += 1;
    }
    if !seen_digit {
        return None;
    }
    match &text[at..] {
        [] => Some((digits, power)),
        [b'e' | b'E', exponent @ ..] => {
            let exponent = std::str::from_utf8(exponent).ok()?;
            let plain = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            // Far beyond any number that fits: the sign of the overflow is all that still matters.
            let far = if exponent.starts_with('-') { -100_000 } else { 100_000 };
            Some((digits, power + exponent.parse().unwrap_or(far).clamp(-100_000, 100_000)))
        }
        _ => None,
    }
}

/// `digits * 10^power`, rounded once. Nothing if it does not fit: too large, or not zero and rounded to zero.
fn from_decimal(negative: bool, digits: &[u8], power: i32) -> Option<Extended> {
    let significant = digits.iter().position(|&d| d != 0).map_or(&[][..], |first| &digits[first..]);
    if significant.is_empty() {
        return Some(Extended { negative, mantissa: 0, exponent: EXPONENT_MIN });
    }
    // 10^-4951 is below the smallest number and 10^4933 above the largest.
    let top = significant.len() as i32 + power;
    if !(-4960..=4940).contains(&top) {
        return None;
    }
    let mut big = Big::default();
    for &digit in significant {
        big.multiply_add(10, u32::from(digit));
    }
    let mut exponent = 0;
    let mut inexact = false;
    if power >= 0 {
        (0..power).for_each(|_| big.multiply_add(10, 0));
    } else {
        // As many more bits as the division takes away (10 < 2^3.33), and 130 to round from.
        let shift = (-power * 10 / 3 + 130) as u32;
        big.shift_left(shift);
        exponent -= shift as i32;
        (0..-power).for_each(|_| inexact |= big.divide(10) != 0);
    }
    let (head, dropped, rest) = big.top128();
    round(negative, head, exponent + dropped, inexact || rest).filter(|number| number.mantissa != 0)
}

/// Rounds `head * 2^exponent` (plus a little, if `sticky`) to 64 bits of mantissa, ties to even.
fn round(negative: bool, head: u128, exponent: i32, sticky: bool) -> Option<Extended> {
    if head == 0 {
        return Some(Extended { negative, mantissa: 0, exponent: EXPONENT_MIN });
    }
    let bits = 128 - head.leading_zeros() as i32;
    // Down to 64 bits, or further where the number is so small that fewer bits are left for it.
    let cut = (bits - 64).max(EXPONENT_MIN - exponent);
    if cut <= 0 {
        let up = (-cut).min(head.leading_zeros() as i32 - 64).max(0);
        let mantissa = (head << up) as u64;
        return finite(negative, mantissa, exponent - up);
    }
    if cut > 128 {
        return finite(negative, 0, EXPONENT_MIN);
    }
    let (kept, lost) = if cut == 128 { (0, head) } else { (head >> cut, head & ((1 << cut) - 1)) };
    let half = 1u128 << (cut - 1);
    let up = lost > half || lost == half && (sticky || kept & 1 == 1);
    let kept = kept + u128::from(up);
    if kept >> 64 != 0 {
        return finite(negative, (kept >> 1) as u64, exponent + cut + 1);
    }
    finite(negative, kept as u64, exponent + cut)
}

fn finite(negative: bool, mantissa: u64, exponent: i32) -> Option<Extended> {
    (exponent <= EXPONENT_MAX || mantissa == 0).then_some(Extended { negative, mantissa, exponent })
}

/// The sum, rounded once; nothing if it is infinite.
#[must_use]
pub fn add(a: Extended, b: Extended) -> Option<Extended> {
    let (big, small) = if a.magnitude() >= b.magnitude() { (a, b) } else { (b, a) };
    if small.mantissa == 0 {
        let negative = big.negative && (big.mantissa != 0 || small.negative);
        return Some(Extended { negative, ..big });
    }
    // 62 bits below the larger mantissa, of which the last is sticky: more than rounding looks at.
    let head = u128::from(big.mantissa) << 62;
    let apart = (big.exponent - small.exponent) as u32;
    let wide = u128::from(small.mantissa) << 62;
    let (moved, lost) =
        if apart >= 126 { (0, true) } else { (wide >> apart, wide & ((1u128 << apart) - 1) != 0) };
    let exponent = big.exponent - 62;
    if big.negative == small.negative {
        return round(big.negative, head + moved, exponent, lost);
    }
    // Taking away slightly more than `moved`: one less, and a little on top of that.
    let difference = head - moved - u128::from(lost);
    round(big.negative && difference != 0, difference, exponent, lost)
}

impl Extended {
    fn magnitude(self) -> (bool, i32, u64) {
        (self.mantissa != 0, self.exponent, self.mantissa)
    }

    /// The number as Redis keeps it: up to 17 digits behind the point, trailing zeros cut, never an exponent.
    #[must_use]
    pub fn text(self) -> Vec<u8> {
        let mut text = if self.exponent >= 0 {
            let mut big = Big::from(self.mantissa);
            big.shift_left(self.exponent as u32);
            big.decimal()
        } else {
            self.text_with_fraction()
        };
        if self.negative && text != b"0" {
            text.insert(0, b'-');
        }
        text
    }

    fn text_with_fraction(self) -> Vec<u8> {
        // At most 64 + 57 bits: fits.
        let scaled = u128::from(self.mantissa) * SHOWN;
        let cut = self.exponent.unsigned_abs();
        let rounded = if cut > 125 {
            0
        } else {
            let (kept, lost, half) = (scaled >> cut, scaled & ((1 << cut) - 1), 1u128 << (cut - 1));
            kept + u128::from(lost > half || lost == half && kept & 1 == 1)
        };
        let (whole, fraction) = (rounded / SHOWN, rounded % SHOWN);
        let text = format!("{whole}.{fraction:017}");
        text.trim_end_matches('0').trim_end_matches('.').as_bytes().to_vec()
    }
}

/// An unsigned integer of any length, least significant word first; just the operations that text needs.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        Self(vec![value as u32, (value >> 32) as u32])
    }
}

impl Big {
    fn multiply_add(&mut self, factor: u32, add: u32) {
        let mut carry = u64::from(add);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides and gives the remainder.
    fn divide(&mut self, by: u32) -> u32 {
        let mut rest = 0u64;
        for word in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*word);
            *word = (rest / u64::from(by)) as u32;
            rest %= u64::from(by);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        rest as u32
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
    }

    /// The 128 most significant bits, how many bits below them were left out, and whether one of those is set.
    fn top128(&self) -> (u128, i32, bool) {
        let words = &self.0[..self.0.iter().rposition(|&w| w != 0).map_or(0, |last| last + 1)];
        let from = words.len().saturating_sub(4);
        let head = words[from..].iter().rev().fold(0u128, |head, &word| head << 32 | u128::from(word));
        (head, from as i32 * 32, words[..from].iter().any(|&w| w != 0))
    }

    fn decimal(mut self) -> Vec<u8> {
        let mut chunks = Vec::new();
        while self.0.iter().any(|&w| w != 0) {
            chunks.push(self.divide(1_000_000_000));
        }
        let Some(first) = chunks.pop() else { return b"0".to_vec() };
        let mut text = first.to_string();
        chunks.iter().rev().for_each(|chunk| text.push_str(&format!("{chunk:09}")));
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Extended {
        match read(text.as_bytes()) {
            Read::Finite(number) => number,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn sum(a: &str, b: &str) -> String {
        String::from_utf8(add(number(a), number(b)).expect("finite").text()).expect("ascii")
    }

    // What redis-server 7.0.15 on x86-64 answers to SET a, INCRBYFLOAT b.
    #[test]
    fn hexadecimal_is_read_as_c_reads_it() {
        for (text, value) in
            [("0x10", "16"), ("-0x.8", "-0.5"), ("0X1.8p3", "12"), ("0x0", "0"), ("0xfp-1", "7.5")]
        {
            let Read::Finite(number) = read(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(String::from_utf8_lossy(&number.text()), value, "{text}");
        }
    }

    #[test]
    fn sums_are_those_of_redis_to_the_digit() {
        for (a, b, want) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("-10.5", "10.5", "0"),
            ("1", "1e-17", "1.00000000000000001"),
            ("1000.1", "0", "1000.09999999999999998"),
            ("123456.789", "0.001", "123456.78999999999999915"),
            ("-0.0", "0", "0"),
            ("3.14159265358979323846", "1e5", "100003.14159265358979667"),
        ] {
            assert_eq!(sum(a, b), want, "{a} + {b}");
        }
    }

    #[test]
    fn large_and_tiny_numbers_keep_their_digits() {
        assert_eq!(sum("1e30", "1"), "1000000000000000000024696061952");
        assert_eq!(sum("1e-30", "0"), "0");
        assert_eq!(number("1e4932").text().len(), 4933);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bad in [
            "",
            "abc",
            " 1",
            "1 ",
            "1e",
            "1e+",
            "0x",
            "0xg",
            "0x1p",
            "0x1p99999",
            "nan",
            "1e5000",
            "1e-5000",
            ".",
            "1..2",
            "-",
        ] {
            assert_eq!(read(bad.as_bytes()), Read::Invalid, "{bad:?}");
        }
        assert_eq!(read(b"-inf"), Read::Infinite);
        assert_eq!(read(&[b'1'; TEXT_MAX]), Read::Invalid);
        let top = number("1.1e4932");
        assert_eq!(add(top, top), None);
    }

    proptest! {
        #[test]
        fn integers_add_exactly(a in -(1i64 << 62)..1i64 << 62, b in -(1i64 << 62)..1i64 << 62) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), (a + b).to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.e]{0,24}", other in "[-+0-9.e]{0,12}") {
            if let (Read::Finite(a), Read::Finite(b)) = (read(text.as_bytes()), read(other.as_bytes())) {
                prop_assert_eq!(add(a, b), add(b, a));
                let _ = add(a, b).map(Extended::text);
            }
        }

        #[test]
        fn what_was_taken_away_can_be_added_again(a in -1_000_000i32..1_000_000, b in -1_000_000i32..1_000_000) {
            let (a, b) = (number(&format!("{}.{:03}", a / 1000, a.abs() % 1000)), number(&format!("{b}e-4")));
            let minus = Extended { negative: !b.negative, ..b };
            let back = add(add(a, b).expect("finite"), minus).expect("finite");
            // 17 digits are shown of numbers below 10^3: 64 bits hold them to the 16th.
            let (x, y) = (String::from_utf8_lossy(&back.text()).parse::<f64>(), String::from_utf8_lossy(&a.text()).parse::<f64>());
            prop_assert!((x.expect("number") - y.expect("number")).abs() < 1e-14);
        }
    }
}
