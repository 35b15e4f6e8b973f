//! How many replicas must be there for a primary to take writes: `min-replicas-to-write`, `min-replicas-max-lag`.
//!
//! A replica counts if it has acknowledged something and its last word is not older than the lag that is allowed. As in
//! Redis either setting at 0 switches the check off; then it costs one load.

use super::Log;
use super::follower::Standing;
use capstan_proto::env::Boot;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is asked of the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Required {
    /// So many must be there.
    pub replicas: u64,
    /// And heard of within this.
    pub lag_max: Duration,
}

impl Required {
    const fn is_off(&self) -> bool {
        self.replicas == 0 || self.lag_max.is_zero()
    }

    fn is_met(&self, followers: &[Standing], now: Boot) -> bool {
        let good = |follower: &&Standing| {
            follower.acked > 0 && follower.heard.is_some_and(|heard| now.since(heard) <= self.lag_max)
        };
        followers.iter().filter(good).count() as u64 >= self.replicas
    }
}

#[derive(Debug, Default)]
pub(super) struct Cells {
    replicas: AtomicU64,
    lag_max_ms: AtomicU64,
}

impl Log {
    /// So many replicas must be there from now on.
    pub fn set_required(&self, required: Required) {
        let replicas = if required.is_off() { 0 } else { required.replicas };
        self.required.lag_max_ms.store(required.lag_max.as_millis() as u64, Relaxed);
        self.required.replicas.store(replicas, Relaxed);
    }

    /// Whether fewer replicas are there than writes need.
    #[inline]
    #[must_use]
    pub fn lacks_replicas(&self) -> bool {
        let replicas = self.required.replicas.load(Relaxed);
        replicas != 0 && self.lacks(replicas)
    }

    #[cold]
    fn lacks(&self, replicas: u64) -> bool {
        let lag_max = Duration::from_millis(self.required.lag_max_ms.load(Relaxed));
        !Required { replicas, lag_max }.is_met(&self.followers(), self.clock.boot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{Incarnation, NodeId, SpawnToken};

    #[test]
    fn only_replicas_that_were_heard_lately_count() {
        let standing = |acked, heard| Standing {
            who: NodeId([1; 20]),
            incarnation: Incarnation { counter: 1, token: SpawnToken([1; 16]) },
            sent: 9,
            acked,
            heard,
            is_level: true,
        };
        let required = Required { replicas: 1, lag_max: Duration::from_nanos(10) };
        let now = Boot(100);
        assert!(!required.is_met(&[], now));
        assert!(!required.is_met(&[standing(0, Some(now))], now), "it is still being copied");
        assert!(!required.is_met(&[standing(5, None), standing(5, Some(Boot(89)))], now));
        assert!(required.is_met(&[standing(5, Some(Boot(90)))], now));
        assert!(Required { replicas: 3, lag_max: Duration::ZERO }.is_off());
    }
}
