//! Whether this node may serve at this moment: its lease (DESIGN 5).
//!
//! Decides nothing: `cluster::lease` moves `lease_until`, connections ask. A node without a meta group holds a lease
//! without end.

use capstan_proto::env::{Boot, Clock};
use capstan_proto::ids::ShardEpoch;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lease, as the hot path reads it.
#[derive(Debug)]
pub struct Serving {
    /// Nanoseconds on `CLOCK_BOOTTIME`; [`u64::MAX`] when there is no end.
    lease_until: AtomicU64,
    /// The epoch that is served under; 0 when there is none.
    epoch: AtomicU64,
}

impl Serving {
    /// Serves for ever: a node without a meta group.
    #[must_use]
    pub const fn forever() -> Self {
        Self { lease_until: AtomicU64::new(u64::MAX), epoch: AtomicU64::new(0) }
    }

    /// Serves nothing until a lease comes.
    #[must_use]
    pub const fn without_lease() -> Self {
        Self { lease_until: AtomicU64::new(0), epoch: AtomicU64::new(0) }
    }

    /// The lease ends then.
    pub fn set_until(&self, until: Boot) {
        self.lease_until.store(until.0, Ordering::Release);
    }

    /// The node leads its shard under this epoch from now on.
    pub fn set_epoch(&self, epoch: ShardEpoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    /// The epoch that is served under. Replies that an earlier one has made never leave (►9).
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> ShardEpoch {
        ShardEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// When the lease ends; [`u64::MAX`]: never.
    #[must_use]
    pub fn until(&self) -> Boot {
        Boot(self.lease_until.load(Ordering::Acquire))
    }

    /// Whether the lease covers this instant. Asked under the lane lock for each command (►8).
    #[inline]
    #[must_use]
    pub fn covers(&self, now: Boot) -> bool {
        now.0 < self.lease_until.load(Ordering::Acquire)
    }

    /// What time it is for the lease: no clock is read when the lease has no end.
    #[inline]
    #[must_use]
    pub fn now(&self, clock: &dyn Clock) -> Boot {
        if self.lease_until.load(Ordering::Relaxed) == u64::MAX { Boot(0) } else { clock.boot() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_covers_the_time_before_its_end_and_not_the_end() {
        let serving = Serving::without_lease();
        assert!(!serving.covers(Boot(0)));
        serving.set_until(Boot(5));
        assert!(serving.covers(Boot(4)) && !serving.covers(Boot(5)));
        assert!(Serving::forever().covers(Boot(u64::MAX - 1)));
    }
}
