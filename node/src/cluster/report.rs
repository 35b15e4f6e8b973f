//! What this node has to tell the meta group beside its lease: how far its log has come, what it holds, what it wants.
//!
//! Filled by those who know (log, replication, roles, supervisor), read by the heartbeats. It decides one thing: what
//! the group should hear of at once, and what may wait for the next heartbeat. Plain cells, never held across an await.

use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Position, ShardEpoch, ShardId};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A primary has stopped serving under an attempt; the candidate has everything up to the position (►14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOver {
    /// The attempt.
    pub attempt: AttemptId,
    /// The last batch of this primary.
    pub position: Position,
}

/// A complete copy of a shard is held, taken from the primary of this epoch (►3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeOf {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the primary that it was copied from.
    pub epoch: ShardEpoch,
}

/// How long a planned failover has held this node's clients, told once they are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: AttemptId,
    /// From the first command that was held to the release.
    pub hold: Duration,
}

/// What a heartbeat carries of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Set from the hand-over until the attempt's end is seen.
    pub handed_over: Option<HandedOver>,
    /// Set while a complete copy is held.
    pub whole_of: Option<WholeOf>,
    /// The last hold.
    pub held: Option<Held>,
    /// The first command of the present epoch was executed then.
    pub first_served: Option<(ShardEpoch, Boot)>,
}

/// The cells. One for a node, kept over the roles that it takes.
#[derive(Debug, Default)]
pub struct Report {
    told: Mutex<Told>,
    wants_handover: AtomicBool,
    /// The epoch whose first command is waited for; 0: none.
    unserved: AtomicU64,
    urge: Notify,
}

impl Report {
    /// This primary has stopped serving under the attempt; `None` once the attempt's end was seen. Told at once.
    pub fn set_handed_over(&self, handed_over: Option<HandedOver>) {
        self.told.lock().handed_over = handed_over;
        self.urge.notify_one();
    }

    /// A complete copy is held, or none any more. Told at once.
    pub fn set_whole_of(&self, whole_of: Option<WholeOf>) {
        self.told.lock().whole_of = whole_of;
        self.urge.notify_one();
    }

    /// The clients were released. Told at once: whoever asked for the failover waits for it.
    pub fn set_held(&self, held: Held) {
        self.told.lock().held = Some(held);
        self.urge.notify_one();
    }

    /// This primary is about to stop and asks for a planned failover, or has changed its mind. Told at once.
    pub fn set_wants_handover(&self, wants: bool) {
        self.wants_handover.store(wants, Ordering::Release);
        self.urge.notify_one();
    }

    /// Whether this primary asks for a planned failover.
    #[must_use]
    pub fn wants_handover(&self) -> bool {
        self.wants_handover.load(Ordering::Acquire)
    }

    /// A new epoch begins for this node as primary: its first command is waited for.
    pub fn epoch_begins(&self, epoch: ShardEpoch) {
        self.told.lock().first_served = None;
        self.unserved.store(epoch.0, Ordering::Release);
    }

    /// A command was executed under a lease. Costs one load of a cell that hardly ever changes.
    #[inline]
    pub fn served(&self, now: Boot) {
        if self.unserved.load(Ordering::Relaxed) != 0 {
            self.first_served(now);
        }
    }

    #[cold]
    fn first_served(&self, now: Boot) {
        let epoch = self.unserved.swap(0, Ordering::AcqRel);
        if epoch != 0 {
            self.told.lock().first_served = Some((ShardEpoch(epoch), now));
            self.urge.notify_one();
        }
    }

    /// What there is to tell now.
    #[must_use]
    pub fn told(&self) -> Told {
        *self.told.lock()
    }

    /// Returns when something should be told at once.
    pub async fn urged(&self) {
        self.urge.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_command_of_an_epoch_is_noted_and_only_once_it_has_begun() {
        let report = Report::default();
        report.served(Boot(1));
        assert_eq!(report.told().first_served, None);
        report.epoch_begins(ShardEpoch(4));
        report.served(Boot(2));
        report.served(Boot(3));
        assert_eq!(report.told().first_served, Some((ShardEpoch(4), Boot(2))));
        report.epoch_begins(ShardEpoch(5));
        assert_eq!(report.told().first_served, None);
    }

    #[tokio::test]
    async fn a_hand_over_is_told_at_once() {
        let report = Report::default();
        assert!(tokio::time::timeout(Duration::ZERO, report.urged()).await.is_err());
        report.set_handed_over(Some(HandedOver { attempt: AttemptId(1), position: Position::default() }));
        assert!(tokio::time::timeout(Duration::ZERO, report.urged()).await.is_ok());
    }
}
