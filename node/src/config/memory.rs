//! Amounts of memory as people write them: `512mb`, `1g`, `1048576`. Units are Redis': `k` is 1000, `kb` is 1024.

/// The units, with what they stand for.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];

/// Bytes, or nothing if the text is no amount of memory or more than 2^63 - 1 bytes.
#[must_use]
pub fn read(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?.1;
    i64::try_from(number.parse::<u64>().ok()?.checked_mul(factor)?).ok()
}

/// Bytes as INFO's `_human` fields show them (`1.50M`).
#[must_use]
pub fn human(bytes: u64) -> String {
    let scaled = |shift: u32| bytes as f64 / (1u64 << shift) as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", scaled(10)),
        1_048_576..1_073_741_824 => format!("{:.2}M", scaled(20)),
        1_073_741_824..1_099_511_627_776 => format!("{:.2}G", scaled(30)),
        _ => format!("{:.2}T", scaled(40)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_redis() {
        for (text, want) in [
            ("0", Some(0)),
            ("1gb", Some(1 << 30)),
            ("1GB", Some(1 << 30)),
            ("2g", Some(2_000_000_000)),
            ("512mb", Some(512 << 20)),
            ("7k", Some(7000)),
            ("7Kb", Some(7168)),
            ("12b", Some(12)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("99999999999gb", None),
            ("-1", None),
            ("gb", None),
            ("1 gb", None),
            ("1tb", None),
            ("", None),
        ] {
            assert_eq!(read(text), want, "{text:?}");
        }
        assert_eq!(human(1_572_864), "1.50M");
    }
}
