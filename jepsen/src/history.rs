//! What clients asked and what they learnt: one JSON line an event, `invoke` first and then `ok`, `fail` or `info`.
//!
//! `fail` says that the operation certainly did not happen, `info` that nobody knows. A checker reads nothing else, so
//! a history that breaks the rules of [`pair`] is refused rather than guessed at.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

/// What an event says about its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client is about to send it.
    Invoke,
    /// It happened, and this is what it gave.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows whether it happened.
    Info,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub at: u64,
    /// The logical client. One with an unknown outcome never comes back under its number.
    pub process: u64,
    /// What the event says.
    pub kind: Kind,
    /// The operation's name: `read`, `add`, `append`.
    pub f: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Argument at `invoke`, result at `ok`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub value: serde_json::Value,
    /// Why, at `fail` and `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Writes a history, a line an event.
pub struct Writer<W: Write> {
    out: W,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Begins.
    pub fn new(out: W) -> Self {
        Self { out, events: 0 }
    }

    /// Appends one event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, event)?;
        self.out.write_all(b"\n")?;
        self.events += 1;
        Ok(())
    }

    /// How many events were written, after everything is handed on.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.events)
    }
}

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file could not be read.
    #[error("line {0}: {1}")]
    Read(usize, io::Error),
    /// A line is no event.
    #[error("line {0}: {1}")]
    Parse(usize, serde_json::Error),
    /// A process invoked while it still waited, or completed what it never invoked.
    #[error("event {0}: process {1} {2}")]
    OutOfTurn(usize, u64, &'static str),
}

/// Reads a history.
pub fn read(from: impl BufRead) -> Result<Vec<Event>, HistoryError> {
    let mut events = Vec::new();
    for (at, line) in from.lines().enumerate() {
        let line = line.map_err(|error| HistoryError::Read(at + 1, error))?;
        events.push(serde_json::from_str(&line).map_err(|error| HistoryError::Parse(at + 1, error))?);
    }
    Ok(events)
}

/// An operation: its invocation and, unless the history ends before it, its completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The `invoke` event.
    pub invoke: Event,
    /// `ok`, `fail` or `info`; an operation without any counts like `info`.
    pub completion: Option<Event>,
}

/// Joins invocations and completions. Each process has one operation at a time and none after an `info`.
pub fn pair(events: &[Event]) -> Result<Vec<Operation>, HistoryError> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut open: HashMap<u64, usize> = HashMap::new();
    let mut lost: HashMap<u64, ()> = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        let out_of_turn = |why| HistoryError::OutOfTurn(at, event.process, why);
        match event.kind {
            Kind::Invoke => {
                if lost.contains_key(&event.process) {
                    return Err(out_of_turn("goes on after an unknown outcome"));
                }
                if open.insert(event.process, operations.len()).is_some() {
                    return Err(out_of_turn("invokes while it still waits"));
                }
                operations.push(Operation { invoke: event.clone(), completion: None });
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                let Some(index) = open.remove(&event.process) else {
                    return Err(out_of_turn("completes what it never invoked"));
                };
                if event.kind == Kind::Info {
                    lost.insert(event.process, ());
                }
                operations[index].completion = Some(event.clone());
            }
        }
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(process: u64, kind: Kind) -> Event {
        let value = serde_json::json!([1, "two", null]);
        Event { at: 7, process, kind, f: "add".into(), key: Some("k".into()), value, error: None, node: None }
    }

    #[test]
    fn a_history_is_read_back_as_it_was_written() {
        let events =
            [event(1, Kind::Invoke), event(2, Kind::Invoke), event(1, Kind::Ok), event(2, Kind::Info)];
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file);
        events.iter().for_each(|event| writer.write(event).unwrap());
        assert_eq!(writer.finish().unwrap(), 4);
        assert!(
            String::from_utf8_lossy(&file).starts_with(r#"{"at":7,"process":1,"kind":"invoke","f":"add""#)
        );
        assert_eq!(read(&file[..]).unwrap(), events);
    }

    #[test]
    fn operations_are_paired_and_one_may_stay_open() {
        let events =
            [event(1, Kind::Invoke), event(2, Kind::Invoke), event(1, Kind::Ok), event(1, Kind::Invoke)];
        let operations = pair(&events).unwrap();
        let ended: Vec<_> = operations.iter().map(|o| o.completion.as_ref().map(|c| c.kind)).collect();
        assert_eq!(ended, [Some(Kind::Ok), None, None]);
    }

    #[test]
    fn a_history_out_of_turn_is_refused() {
        for events in [
            vec![event(1, Kind::Ok)],
            vec![event(1, Kind::Invoke), event(1, Kind::Invoke)],
            vec![event(1, Kind::Invoke), event(1, Kind::Info), event(1, Kind::Invoke)],
        ] {
            assert!(matches!(pair(&events), Err(HistoryError::OutOfTurn(..))), "{events:?}");
        }
    }
}
