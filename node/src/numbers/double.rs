//! Doubles in text: the shortest digits that read back as the same double, laid out as Redis 7.2 lays them out.
//!
//! Reading refuses what Redis refuses: blanks around the number, not-a-number, and anything left over.

/// Appends a double as replies show it (`fpconv_dtoa` of Redis 7.2): `3`, `0.1`, `1e+25`, `inf`, `-inf`, `nan`.
pub fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        out.extend_from_slice(b"inf");
        return;
    }
    let (digits, exponent) = shortest(value.abs());
    lay_out(out, &digits, exponent);
}

/// A double as text, for values that are kept as text.
#[must_use]
pub fn text(value: f64) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    write(&mut out, value);
    out
}

/// Reads a double as Redis reads a score: the whole text, without blanks; `inf`, `+inf`, `-inf` allowed, NaN not.
#[must_use]
pub fn read(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let named = text.iter().any(u8::is_ascii_alphabetic) && value.is_infinite();
    // Digits that overflow are an error in C (ERANGE); the word infinity is not.
    (!value.is_nan() && (value.is_finite() || named && !text.iter().any(u8::is_ascii_digit))).then_some(value)
}

/// The shortest digits `d1 d2 …` and the exponent `e` with value = 0.d1d2… * 10^e shifted: value = digits * 10^e.
fn shortest(value: f64) -> (Vec<u8>, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let scale = exponent + 1 - digits.len() as i32;
    (digits, scale)
}

/// `digits * 10^scale` plainly while that is short, else with an exponent.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], scale: i32) {
    let count = digits.len() as i32;
    let exponent = scale + count - 1;
    if scale >= 0 && exponent.abs() < count + 7 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', scale as usize));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let whole = count + scale;
        if whole <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', -whole as usize));
            out.extend_from_slice(digits);
        } else {
            out.extend_from_slice(&digits[..whole as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole as usize..]);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        out.extend_from_slice(exponent.abs().to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_look_as_redis_prints_them() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e21, "1e+21"),
            (1e25, "1e+25"),
            (1e-7, "1e-7"),
            (0.000_001, "0.000001"),
            (1_234_567.890_1, "1234567.8901"),
            (17_179_869_184.0, "17179869184"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(String::from_utf8_lossy(&text(value)), want);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in ["", " 1", "1 ", "nan", "1e999", "1x", "--1", "."] {
            assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
        }
        for (good, want) in
            [("1e3", 1000.0), ("+inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY), (".5", 0.5)]
        {
            assert_eq!(read(good.as_bytes()), Some(want), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_double_reads_back_as_itself(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(read(&text(value)), Some(value));
        }
    }
}
