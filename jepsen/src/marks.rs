//! Instants of faults that somebody else made: a line each, nanoseconds of CLOCK_BOOTTIME and a label.

use capstan_proto::env::{Boot, Clock, RealClock};
use std::io::{self, Write};
use std::path::Path;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Boot,
    pub(crate) label: String,
}

/// Adds the present instant.
pub(crate) fn add(file: &Path, label: &str) -> io::Result<()> {
    let mut file = std::fs::File::options().create(true).append(true).open(file)?;
    writeln!(file, "{} {}", RealClock.boot().0, label.replace(['\r', '\n'], " "))
}

/// Reads a file of marks; a line that is none is an error that says its number.
pub(crate) fn read(text: &str) -> Result<Vec<Mark>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mark = |(number, line): (usize, &str)| {
        let (at, label) = line.split_once(' ').unwrap_or((line, ""));
        let at = at.parse().map_err(|_| format!("line {}: '{at}' is no instant", number + 1))?;
        Ok(Mark { at: Boot(at), label: label.to_owned() })
    };
    lines.map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("marks");
        add(&file, "cut from meta").expect("room");
        add(&file, "healed").expect("room");
        let marks = read(&std::fs::read_to_string(&file).expect("there")).expect("marks");
        assert_eq!(
            marks.iter().map(|mark| mark.label.as_str()).collect::<Vec<_>>(),
            ["cut from meta", "healed"]
        );
        assert!(marks[0].at <= marks[1].at);
        assert!(read("7 a\nx b\n").expect_err("no instant").contains("line 2"));
    }
}
