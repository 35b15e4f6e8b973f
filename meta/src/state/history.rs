//! The history: what was changed, when, by whom, why, on what evidence. A ring that forgets its oldest events.
//!
//! Events are shared, so that a copy of the whole state costs a pointer an event. It decides nothing.

use capstan_proto::env::UnixMs;
use capstan_proto::ids::{NodeId, ShardId, Version};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// The longest `why` that is kept.
pub(super) const WHY_MAX: usize = 512;
/// The longest `evidence` that is kept.
pub(super) const EVIDENCE_MAX: usize = 2048;

/// One accepted change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The generation and log index of its command; the commands of a batch share one.
    pub version: Version,
    /// The proposer's wall clock.
    pub time: UnixMs,
    /// Who asked for it.
    pub who: String,
    /// What was done, in words.
    pub what: String,
    /// Why.
    pub why: String,
    /// What the decision rests on.
    pub evidence: String,
    /// What it was done to.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The shard, if one.
    pub shard: Option<ShardId>,
    /// The nodes, if any.
    pub nodes: Vec<NodeId>,
}

impl Subject {
    /// About a node.
    #[must_use]
    pub fn node(node: NodeId) -> Self {
        Self { shard: None, nodes: vec![node] }
    }

    /// About a shard and some of its nodes.
    #[must_use]
    pub fn shard(shard: ShardId, nodes: &[NodeId]) -> Self {
        Self { shard: Some(shard), nodes: nodes.to_vec() }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(shard) = self.shard {
            write!(f, "shard {shard}")?;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let gap = if i > 0 || self.shard.is_some() { " " } else { "" };
            write!(f, "{gap}node {node}")?;
        }
        Ok(())
    }
}

/// The newest events, oldest first. *Invariant:* never more than the setting `history-length`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Event>", into = "Vec<Event>")]
pub struct History {
    events: VecDeque<Arc<Event>>,
}

impl From<Vec<Event>> for History {
    fn from(events: Vec<Event>) -> Self {
        Self { events: events.into_iter().map(Arc::new).collect() }
    }
}

impl From<History> for Vec<Event> {
    fn from(history: History) -> Self {
        history.events.iter().map(|event| Event::clone(event)).collect()
    }
}

impl History {
    /// Adds an event; the oldest beyond `length` are forgotten.
    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(Arc::new(event));
    }

    /// Forgets the oldest events beyond `length`.
    pub(super) fn keep(&mut self, length: usize) {
        let over = self.events.len().saturating_sub(length);
        self.events.drain(..over);
    }

    /// How many events are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All events, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter().map(AsRef::as_ref)
    }

    /// The events of log entries after this index, oldest first.
    pub fn after(&self, index: u64) -> impl Iterator<Item = &Event> {
        let from = self.events.partition_point(|event| event.version.index <= index);
        self.events.range(from..).map(AsRef::as_ref)
    }
}

/// The beginning of a text that is too long to be kept, marked as such.
#[must_use]
pub(super) fn clip(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: u64) -> Event {
        Event {
            version: Version { generation: 0, index },
            time: UnixMs(index),
            who: "test".into(),
            what: "did".into(),
            why: String::new(),
            evidence: String::new(),
            subject: Subject::default(),
        }
    }

    #[test]
    fn the_oldest_events_are_forgotten_and_the_rest_is_found_by_index() {
        let mut history = History::default();
        for index in 1..=10 {
            history.push(event(index));
            history.keep(4);
        }
        assert_eq!(history.len(), 4);
        assert_eq!(history.after(8).map(|e| e.version.index).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(history.after(0).count(), 4);
        assert_eq!(history.after(99).count(), 0);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_marked() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("ääääää", 8), "ää…");
        assert!(clip(&"x".repeat(1000), 512).len() <= 512);
    }
}
