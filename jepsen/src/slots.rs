//! What `CLUSTER SLOTS` and redirects say about who serves a slot. Pure: text in, addresses out.

use crate::resp::Value;

/// A redirect, as an error reply states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The slot lives there from now on.
    Moved {
        /// Slot number.
        slot: u16,
        /// `host:port`.
        to: String,
    },
    /// Ask there once, with ASKING.
    Ask {
        /// Slot number.
        slot: u16,
        /// `host:port`.
        to: String,
    },
}

impl Redirect {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`. An empty host means the host that answered.
    #[must_use]
    pub fn parse(error: &str, answered_by: &str) -> Option<Self> {
        let mut words = error.split_ascii_whitespace();
        let (kind, slot, to) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let to = match to.strip_prefix(':') {
            Some(port) => format!("{}:{port}", answered_by.rsplit_once(':')?.0),
            None => to.to_owned(),
        };
        match kind {
            "MOVED" => Some(Self::Moved { slot, to }),
            "ASK" => Some(Self::Ask { slot, to }),
            _other_error => None,
        }
    }
}

/// One range of `CLUSTER SLOTS` and the primary that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First slot.
    pub from: u16,
    /// Last slot, included.
    pub to: u16,
    /// `host:port` of the primary.
    pub primary: String,
}

/// Reads a `CLUSTER SLOTS` reply; nothing if it is not one.
#[must_use]
pub fn parse_slots(reply: &Value, answered_by: &str) -> Option<Vec<Range>> {
    let host_here = answered_by.rsplit_once(':')?.0;
    let mut ranges = Vec::new();
    for row in reply.items()? {
        let row = row.items()?;
        let node = row.get(2)?.items()?;
        let host = match node.first()?.text() {
            Some(host) if !host.is_empty() => host,
            _unknown_endpoint => host_here.to_owned(),
        };
        let slot =
            |at: usize| row.get(at)?.integer().and_then(|n| u16::try_from(n).ok()).filter(|&n| n < 16384);
        let (from, to) = (slot(0)?, slot(1)?);
        ranges.push(Range { from, to, primary: format!("{host}:{}", node.get(1)?.integer()?) });
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read_and_an_empty_host_is_the_one_that_answered() {
        let moved = Redirect::parse("MOVED 12182 127.0.0.1:7002", "127.0.0.1:7000");
        assert_eq!(moved, Some(Redirect::Moved { slot: 12182, to: "127.0.0.1:7002".into() }));
        let ask = Redirect::parse("ASK 7 :7001", "10.0.0.9:7000");
        assert_eq!(ask, Some(Redirect::Ask { slot: 7, to: "10.0.0.9:7001".into() }));
        assert_eq!(Redirect::parse("ERR MOVED is no such thing", "h:1"), None);
        assert_eq!(Redirect::parse("MOVED x y", "h:1"), None);
    }

    #[test]
    fn slots_are_read_with_and_without_an_endpoint() {
        let node =
            |host: Value, port| Value::Array(vec![host, Value::Integer(port), Value::Bulk("id".into())]);
        let row = |from, to, node| Value::Array(vec![Value::Integer(from), Value::Integer(to), node]);
        let reply = Value::Array(vec![
            row(0, 5460, node(Value::Bulk("127.0.0.1".into()), 7000)),
            row(5461, 16383, node(Value::Null, 7001)),
        ]);
        let ranges = parse_slots(&reply, "h:7000").unwrap();
        assert_eq!(ranges[0], Range { from: 0, to: 5460, primary: "127.0.0.1:7000".into() });
        assert_eq!(ranges[1].primary, "h:7001");
        assert_eq!(parse_slots(&Value::Array(vec![row(0, 16384, node(Value::Null, 1))]), "h:1"), None);
    }
}
