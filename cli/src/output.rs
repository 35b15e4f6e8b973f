//! How a verb ends and what it prints: tables for people, JSON for programs, one exit code for each kind of end.

use serde::Serialize;
use std::io::Write;

/// The exit codes; a contract with scripts (docs/operations.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// It was refused, or could not be asked: nothing has changed.
    Refused = 1,
    /// The command line makes no sense. clap uses the same number.
    Usage = 2,
    /// It was asked for and no answer came: it may have been done.
    Unknown = 3,
}

/// How a verb ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Exit code 0.
    Well,
    /// Another exit code, and why.
    Badly { code: Code, message: String },
    /// This exit code; why was said already, by a process that this one started.
    Said { code: u8 },
}

impl Ended {
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self::Badly { code: Code::Refused, message: why.to_string() }
    }

    pub(crate) fn usage(why: impl ToString) -> Self {
        Self::Badly { code: Code::Usage, message: why.to_string() }
    }
}

/// Prints a line. A reader that went away (`capstan nodes | head -1`) is no error.
#[allow(clippy::print_stdout)]
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
}

/// Prints why a verb did not end well.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "capstan: {text}");
}

/// Prints a value as JSON, over several lines.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(why) => error(&format!("this answer has no form in JSON: {why}")),
    }
}

/// A table without lines: the columns stay apart, `awk` and `grep` stay useful.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().for_each(|text| line(text.trim_end()));
}

/// Milliseconds since 1970 as `2026-11-22T20:07:44.123Z`.
pub(crate) fn time(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Days since 0000-03-01, in years that end with February (Howard Hinnant's civil_from_days).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        of_day / 1000 % 60,
        of_day % 1000
    )
}

/// A duration as people read it: `850 ms`, `4.2 s`, `3 min`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_utc_through_leap_years_and_year_ends() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(time(1_795_378_064_001), "2026-11-22T20:07:44.001Z");
    }

    #[test]
    fn durations_and_sizes_change_their_unit_where_a_person_would() {
        assert_eq!(
            (duration(999), duration(1250), duration(600_000)),
            ("999 ms".into(), "1.2 s".into(), "10 min".into())
        );
        assert_eq!(
            (bytes(1023), bytes(2048), bytes(5 << 20)),
            ("1023 B".into(), "2 KiB".into(), "5 MiB".into())
        );
    }
}
