//! What is known of each key: increments that were acknowledged, and those whose outcome nobody learnt. And the verdict,
//! once the value is read at the end.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One key.
#[derive(Debug)]
struct Row {
    name: String,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
}

/// All keys. Clients write to it side by side.
#[derive(Debug)]
pub(crate) struct Ledger {
    rows: Vec<Row>,
}

/// What became of one key's increments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// The key.
    pub(crate) key: String,
    /// Increments that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Increments that may or may not have happened.
    pub(crate) unknown: u64,
    /// What was read at the end.
    pub(crate) value: u64,
    /// Acknowledged ones that are certainly missing.
    pub(crate) lost: u64,
    /// Increments that nobody can have made.
    pub(crate) surplus: u64,
}

impl Ledger {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let row = |name| Row { name, acknowledged: AtomicU64::new(0), unknown: AtomicU64::new(0) };
        Self { rows: names.into_iter().map(row).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn name(&self, key: usize) -> &str {
        &self.rows[key].name
    }

    pub(crate) fn acknowledge(&self, key: usize) {
        self.rows[key].acknowledged.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave_unknown(&self, key: usize) {
        self.rows[key].unknown.fetch_add(1, Relaxed);
    }

    /// What has become of a key that holds this value when nobody writes any more.
    pub(crate) fn judge(&self, key: usize, value: u64) -> Verdict {
        let row = &self.rows[key];
        let (acknowledged, unknown) = (row.acknowledged.load(Relaxed), row.unknown.load(Relaxed));
        Verdict {
            key: row.name.clone(),
            acknowledged,
            unknown,
            value,
            lost: acknowledged.saturating_sub(value),
            surplus: value.saturating_sub(acknowledged + unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_lost_and_what_nobody_made_is_surplus() {
        let ledger = Ledger::new(vec!["a".into()]);
        (0..5).for_each(|_| ledger.acknowledge(0));
        (0..2).for_each(|_| ledger.leave_unknown(0));
        for (value, lost, surplus) in [(5, 0, 0), (7, 0, 0), (3, 2, 0), (8, 0, 1), (0, 5, 0)] {
            let verdict = ledger.judge(0, value);
            assert_eq!((verdict.lost, verdict.surplus), (lost, surplus), "{value}");
        }
    }
}
