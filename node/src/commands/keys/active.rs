//! The sweep: removes keys that have expired though nobody asks for them.
//!
//! Ten times a second every lane is looked at for a moment, a few buckets further each time. Where more than a tenth
//! of the keys with an expiry had expired, the sweep goes on at once, up to a quarter of the time. A lane is held for
//! at most [`BUCKETS_A_HOLD`] buckets, and one that is busy is left for the next round. Removals are effects like any
//! other (►18); a slot of which this node is not the primary is left alone.

use crate::commands::args::Key;
use crate::core::NodeCore;
use crate::store::{Access, Lane, Lanes};
use capstan_proto::env::UnixMs;
use capstan_proto::slot::Slot;
use std::sync::Arc;
use std::time::Duration;

/// How long a round and the pause after it take together.
const ROUND: Duration = Duration::from_millis(100);
/// How much of a round may be spent sweeping.
const ROUND_BUSY: Duration = Duration::from_millis(25);
/// Buckets that are looked at while a lane is held: some 20 us.
const BUCKETS_A_HOLD: usize = 128;
/// Slots that are looked at while a lane is held: most have nothing that expires.
const SLOTS_A_HOLD: usize = 256;
/// A lane with more expired keys than one in so many is swept on at once.
const TOLERATED: usize = 10;
const _: () = assert!(ROUND_BUSY.as_millis() < ROUND.as_millis());

/// Where in a lane the sweep goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Counted among the lane's slots.
    slot: usize,
    bucket: usize,
}

/// What one hold has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Keys that expire some day, or have.
    pub expiring: usize,
    /// Keys that had expired and were removed.
    pub removed: usize,
}

impl Swept {
    /// Whether it pays to go on at once.
    #[must_use]
    pub const fn is_rich(self) -> bool {
        self.removed * TOLERATED > self.expiring
    }
}

/// Sweeps until the future is dropped.
pub async fn run(core: Arc<NodeCore>) {
    let mut places = vec![Place::default(); core.lanes.count()];
    loop {
        let started = core.env.clock.boot();
        for (number, place) in places.iter_mut().enumerate() {
            while sweep_lane(&core, number, place).is_rich() {
                if core.env.clock.boot().since(started) > ROUND_BUSY {
                    break;
                }
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        }
        let spent = core.env.clock.boot().since(started);
        tokio::time::sleep(ROUND.saturating_sub(spent).max(ROUND - ROUND_BUSY)).await;
    }
}

/// Holds a lane for a moment; a busy one is left alone. A primary whose lease is over changes nothing (►8).
fn sweep_lane(core: &NodeCore, number: usize, place: &mut Place) -> Swept {
    let Some(mut lane) = core.lanes.try_lock(number) else { return Swept::default() };
    if !core.serving.covers(core.serving.now(core.env.clock.as_ref())) {
        return Swept::default();
    }
    sweep(&core.lanes, &mut lane, place, core.env.clock.wall())
}

/// Looks at some buckets of a lane from `place` on, and removes what has expired.
pub fn sweep(lanes: &Lanes, lane: &mut Lane, place: &mut Place, now: UnixMs) -> Swept {
    let mut swept = Swept::default();
    if lane.databases().iter().all(|database| database.expiring == 0) {
        return swept;
    }
    let mut expired: Vec<(Slot, u8, Box<[u8]>)> = Vec::new();
    let (mut slots, mut buckets) = (0, 0);
    while slots < SLOTS_A_HOLD && buckets < BUCKETS_A_HOLD {
        let Some((slot, table)) = lane.slot_at(place.slot) else {
            *place = Place::default();
            slots += 1;
            continue;
        };
        let end = table.table().num_buckets();
        if table.expiring() == 0 || table.access() != Access::Mine || place.bucket >= end {
            *place = Place { slot: place.slot + 1, bucket: 0 };
            slots += 1;
            continue;
        }
        if let Some(entry) = table.table().get_bucket(place.bucket)
            && entry.expires().is_some()
        {
            swept.expiring += 1;
            if Lane::has_expired(entry, now) {
                expired.push((slot, entry.db(), entry.key().into()));
            }
        }
        buckets += 1;
        place.bucket += 1;
    }
    swept.removed = expired.len();
    for (slot, db, key) in &expired {
        lane.expire(*db, Key { bytes: key, slot: *slot, hash: lanes.hash(key) });
    }
    swept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Effect};

    fn set(lanes: &Lanes, key: &str, expires: Option<u64>) {
        let slot = Slot::of_key(key.as_bytes());
        let change = Change::Set { value: b"v", expires: expires.map(UnixMs) };
        lanes.lock(lanes.of(slot)).apply(&Effect { slot, db: 0, key: key.as_bytes(), change });
    }

    fn sweep_all(lanes: &Lanes, now: u64) -> usize {
        let mut removed = 0;
        for number in 0..lanes.count() {
            let mut place = Place::default();
            let mut lane = lanes.lock(number);
            // Enough holds to come around the lane once.
            for _ in 0..200 {
                removed += sweep(lanes, &mut lane, &mut place, UnixMs(now)).removed;
            }
        }
        removed
    }

    #[test]
    fn the_sweep_removes_what_has_expired_and_nothing_else() {
        let lanes = Lanes::new(4, 16, 1);
        lanes.set_access(|_| Access::Mine);
        for i in 0..1000 {
            set(&lanes, &format!("late{i}"), Some(2000));
            set(&lanes, &format!("soon{i}"), Some(1000));
            set(&lanes, &format!("never{i}"), None);
        }
        assert_eq!(sweep_all(&lanes, 999), 0);
        assert_eq!(sweep_all(&lanes, 1000), 1000);
        assert_eq!(sweep_all(&lanes, 1999), 0);
        assert_eq!(sweep_all(&lanes, 2000), 1000);
        let left: u64 = (0..4).map(|n| lanes.lock(n).databases()[0].keys).sum();
        assert_eq!(left, 1000);
    }

    #[test]
    fn a_replica_never_expires_by_itself() {
        let lanes = Lanes::new(1, 16, 1);
        lanes.set_access(|_| Access::Replica);
        set(&lanes, "k", Some(1));
        assert_eq!(sweep_all(&lanes, 5), 0, "►18: the primary's deletion comes through the log");
    }

    #[test]
    fn a_hold_is_bounded_even_if_everything_has_expired() {
        let lanes = Lanes::new(1, 16, 1);
        lanes.set_access(|_| Access::Mine);
        for i in 0..5000 {
            set(&lanes, &format!("{{tag}}{i}"), Some(1));
        }
        let mut place = Place::default();
        let swept = sweep(&lanes, &mut lanes.lock(0), &mut place, UnixMs(5));
        assert!(swept.removed <= BUCKETS_A_HOLD);
    }
}
