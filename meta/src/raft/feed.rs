//! The changes of the cluster state, kept for a while, so that a watcher who was cut off goes on where it stopped.
//!
//! Bounded by changes and by rows; a watcher who asks for more than is left gets everything. A watcher who is too slow
//! loses the live channel and starts again.

use capstan_proto::ids::Version;
use capstan_proto::topology::{Row, Topology};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Changes that a cut-off watcher can catch up on.
const WINDOW_CHANGES: usize = 4096;
/// Rows in all of them together.
const WINDOW_ROWS: usize = 64 * 1024;
/// Changes that a live watcher may lag behind.
const LIVE_CHANGES: usize = 1024;

/// What one log entry has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The version that it made.
    pub version: Version,
    /// The changed rows, in the order in which they have to be taken over.
    pub rows: Arc<[Row]>,
}

/// Where a watcher begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With everything: what it had before is void.
    Whole(Change),
    /// With what it has missed, in order; may be nothing.
    Since(Vec<Change>),
    /// The watcher knows a later version than this server: ask again, or ask another.
    Behind(Version),
}

/// Everything from a version on.
#[derive(Debug)]
pub struct Follow {
    /// What to begin with.
    pub start: Start,
    /// Every change after that. Lagged or closed: follow again.
    pub live: broadcast::Receiver<Change>,
}

/// *Invariants:* `window` holds every change after `since`, in order; `rows` is the number of rows in it.
pub(super) struct Feed {
    since: Version,
    window: VecDeque<Change>,
    rows: usize,
    live: broadcast::Sender<Change>,
}

impl Feed {
    pub(super) fn starting_at(since: Version) -> Self {
        Self { since, window: VecDeque::new(), rows: 0, live: broadcast::channel(LIVE_CHANGES).0 }
    }

    pub(super) fn publish(&mut self, change: Change) {
        self.rows += change.rows.len();
        self.window.push_back(change.clone());
        while self.window.len() > WINDOW_CHANGES || (self.rows > WINDOW_ROWS && self.window.len() > 1) {
            if let Some(oldest) = self.window.pop_front() {
                self.rows -= oldest.rows.len();
                self.since = oldest.version;
            }
        }
        // Nobody may be watching.
        let _ = self.live.send(change);
    }

    pub(super) fn follow(&self, from: Option<Version>, now: &Topology) -> Follow {
        let start = match from {
            Some(from) if from > now.version => Start::Behind(now.version),
            Some(from) if from >= self.since => {
                Start::Since(self.window.iter().filter(|change| change.version > from).cloned().collect())
            }
            Some(_) | None => Start::Whole(Change { version: now.version, rows: now.rows().into() }),
        };
        Follow { start, live: self.live.subscribe() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Version {
        Version { generation: 0, index }
    }

    fn change(index: u64, rows: usize) -> Change {
        let row = Row::Setting { name: index.to_string(), value: "v".into() };
        Change { version: at(index), rows: vec![row; rows].into() }
    }

    fn feed(changes: impl IntoIterator<Item = Change>) -> (Feed, Topology) {
        let (mut feed, mut now) = (Feed::starting_at(at(0)), Topology::default());
        for change in changes {
            now.version = change.version;
            change.rows.iter().cloned().for_each(|row| now.set(row));
            feed.publish(change);
        }
        (feed, now)
    }

    #[test]
    fn a_watcher_gets_what_it_missed_and_nothing_if_it_missed_nothing() {
        let (feed, now) = feed((1..=9).map(|n| change(n, 1)));
        let Start::Since(missed) = feed.follow(Some(at(6)), &now).start else { panic!("in the window") };
        assert_eq!(missed, [change(7, 1), change(8, 1), change(9, 1)]);
        assert_eq!(feed.follow(Some(at(9)), &now).start, Start::Since(vec![]));
    }

    #[test]
    fn a_newcomer_and_one_who_missed_too_much_get_everything() {
        let (feed, now) = feed((1..=WINDOW_CHANGES as u64 + 3).map(|n| change(n, 1)));
        for from in [None, Some(at(2))] {
            let Start::Whole(whole) = feed.follow(from, &now).start else { panic!("out of the window") };
            assert_eq!((whole.version, whole.rows.len()), (now.version, now.rows().len()));
        }
        assert!(matches!(feed.follow(Some(at(3)), &now).start, Start::Since(_)));
    }

    #[test]
    fn the_window_is_bounded_by_rows_too() {
        let (feed, now) = feed((1..=9).map(|n| change(n, WINDOW_ROWS / 4)));
        assert!(feed.rows <= WINDOW_ROWS);
        assert!(matches!(feed.follow(Some(at(2)), &now).start, Start::Whole(_)));
        assert!(matches!(feed.follow(Some(at(8)), &now).start, Start::Since(_)));
    }

    #[test]
    fn a_watcher_from_the_future_is_told_so() {
        let (feed, now) = feed([change(1, 1)]);
        assert_eq!(feed.follow(Some(at(2)), &now).start, Start::Behind(at(1)));
    }
}
