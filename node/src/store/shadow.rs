//! A copy of all slots in the making, beside the data that still answers: filled piece by piece, swapped in when it is
//! complete (DESIGN 10, ►21).
//!
//! A slot begins with the piece that says so. What the log says about a slot before its beginning is in that piece
//! already and is ignored; what it says afterwards is applied. Keys that a later piece will bring may be built up from
//! effects in the meantime, as far as these go: the piece then states them whole.
//!
//! # Invariants
//!
//! * Nobody but the receiver of the stream sees a shadow, so its lanes need no locks.
//! * A shadow that is dropped frees its entries in the background and takes them out of the node's account.

use super::codec::{self, DecodeError};
use super::effect::{self, Change, Effect, NodeWide};
use super::lane::Lane;
use super::lanes::Lanes;
use capstan_proto::slot::{SLOTS, Slot};

/// The copy in the making.
#[derive(Debug)]
pub struct Shadow {
    lanes: Vec<Lane>,
    begun: Box<[bool]>,
    slots_begun: u16,
    keys: u64,
}

impl Shadow {
    /// Nothing yet, to be swapped into these lanes some day.
    #[must_use]
    pub fn of(lanes: &Lanes) -> Self {
        let begun = vec![false; usize::from(SLOTS)].into();
        Self { lanes: lanes.alike(), begun, slots_begun: 0, keys: 0 }
    }

    /// Whether every slot has begun.
    #[must_use]
    pub const fn has_every_slot(&self) -> bool {
        self.slots_begun == SLOTS
    }

    /// How many slots have begun.
    #[must_use]
    pub const fn slots_begun(&self) -> u16 {
        self.slots_begun
    }

    /// Keys that pieces have brought, those of slots that began again included.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Applies what the log says, if its slot has begun.
    #[inline]
    pub fn apply(&mut self, effect: &Effect<'_>) {
        if self.begun[effect.slot.index()] {
            self.lane(effect.slot).apply(effect);
        }
    }

    /// Applies a node-wide record.
    pub fn apply_node_wide(&mut self, record: NodeWide) {
        self.lanes.iter_mut().for_each(|lane| lane.apply_node_wide(record));
    }

    /// Takes a piece in: these slots begin (again), then the effects that build its keys.
    pub fn take_in(&mut self, begins: &[Slot], mut effects: &[u8]) -> Result<(), DecodeError> {
        for slot in begins {
            if std::mem::replace(&mut self.begun[slot.index()], true) {
                effect::clear_slot(self.lane(*slot), *slot);
            } else {
                self.slots_begun += 1;
            }
        }
        while !effects.is_empty() {
            let (effect, rest) = codec::decode(effects)?;
            // A piece begins each string by its value, each collection by deleting what there may be.
            self.keys += u64::from(matches!(effect.change, Change::Set { .. } | Change::Delete));
            self.lane(effect.slot).apply(&effect);
            effects = rest;
        }
        Ok(())
    }

    fn lane(&mut self, slot: Slot) -> &mut Lane {
        let lane = slot.index() & (self.lanes.len() - 1);
        &mut self.lanes[lane]
    }

    /// Puts the copy in the place of the data, behind a barrier of all lanes; what was there before is freed in the
    /// background. `behind` runs while all lanes are held. May block: not for I/O workers.
    pub fn swap_into<T>(mut self, lanes: &Lanes, behind: impl FnOnce() -> T) -> T {
        let mut all = lanes.lock_all();
        for (held, fresh) in all.iter_mut().zip(&mut self.lanes) {
            held.exchange(fresh);
        }
        behind()
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            lane.apply_node_wide(NodeWide::FlushAll);
            lane.report_memory();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::Key;
    use crate::store::watch::Watched;
    use crate::store::{Access, Data, Locked};
    use capstan_proto::env::UnixMs;

    fn set<'a>(key: &'a [u8], value: &'a [u8]) -> Effect<'a> {
        Effect { slot: Slot::of_key(key), db: 0, key, change: Change::Set { value, expires: None } }
    }

    fn encoded(effects: &[Effect<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        effects.iter().for_each(|effect| codec::encode(effect, &mut bytes));
        bytes
    }

    fn value(lanes: &Lanes, key: &[u8]) -> Option<Vec<u8>> {
        let mut data = Data::new(lanes, Locked::Roaming(None), 0, UnixMs(0));
        let place = Key { bytes: key, slot: Slot::of_key(key), hash: lanes.hash(key) };
        data.peek(place).map(|entry| entry.value().to_vec())
    }

    #[test]
    fn what_the_log_says_before_a_slot_begins_is_ignored_and_what_it_says_afterwards_is_not() {
        let lanes = Lanes::new(4, 1, 1);
        let mut shadow = Shadow::of(&lanes);
        shadow.apply(&set(b"a", b"too early"));
        shadow.take_in(&[Slot::of_key(b"a")], &encoded(&[set(b"a", b"copied")])).expect("effects");
        shadow.apply(&set(b"{a}2", b"after"));
        shadow.apply(&set(b"b", b"never begun"));
        shadow.swap_into(&lanes, || ());
        assert_eq!(value(&lanes, b"a").as_deref(), Some(&b"copied"[..]));
        assert_eq!(value(&lanes, b"{a}2").as_deref(), Some(&b"after"[..]));
        assert_eq!(value(&lanes, b"b"), None);
    }

    #[test]
    fn a_slot_that_begins_again_forgets_what_it_held() {
        let lanes = Lanes::new(4, 1, 1);
        let mut shadow = Shadow::of(&lanes);
        let slot = Slot::of_key(b"a");
        shadow.take_in(&[slot], &encoded(&[set(b"a", b"1"), set(b"{a}2", b"2")])).expect("effects");
        shadow.take_in(&[slot], &encoded(&[set(b"{a}3", b"3")])).expect("effects");
        assert_eq!(shadow.slots_begun(), 1);
        shadow.swap_into(&lanes, || ());
        assert_eq!((value(&lanes, b"a"), value(&lanes, b"{a}3")), (None, Some(b"3".to_vec())));
        assert_eq!(lanes.lock(lanes.of(slot)).databases()[0].keys, 1);
    }

    #[test]
    fn a_swap_keeps_access_tells_watchers_and_counts_memory_once() {
        let lanes = Lanes::new(4, 1, 1);
        lanes.set_access(|_| Access::Replica);
        let old = vec![1; 100_000];
        lanes.lock(lanes.of(Slot::of_key(b"old"))).apply(&set(b"old", &old));
        let mut watched = Watched::default();
        let key = Key { bytes: b"old", slot: Slot::of_key(b"old"), hash: lanes.hash(b"old") };
        Data::new(&lanes, Locked::Roaming(None), 0, UnixMs(0)).watch(key, &mut watched);
        let mut shadow = Shadow::of(&lanes);
        let fresh = vec![2; 50_000];
        shadow.take_in(&[Slot::of_key(b"new")], &encoded(&[set(b"new", &fresh)])).expect("effects");
        assert!(lanes.memory() > 140_000, "{}", lanes.memory());
        shadow.swap_into(&lanes, || ());
        assert!(watched.is_dirty());
        assert_eq!((value(&lanes, b"old"), value(&lanes, b"new")), (None, Some(fresh)));
        let slot = Slot::of_key(b"new");
        assert_eq!(lanes.lock(lanes.of(slot)).slot(slot).access(), Access::Replica);
        // At most 16 KiB a lane are not reported.
        assert!(lanes.memory() > 30_000 && lanes.memory() < 120_000, "{}", lanes.memory());
    }

    #[test]
    fn a_shadow_that_is_given_up_leaves_nothing_behind() {
        let lanes = Lanes::new(4, 1, 1);
        let mut shadow = Shadow::of(&lanes);
        let large = vec![2; 500_000];
        shadow.take_in(&[Slot::of_key(b"new")], &encoded(&[set(b"new", &large)])).expect("effects");
        assert!(lanes.memory() >= 500_000);
        drop(shadow);
        assert!(lanes.memory() < 100, "{}", lanes.memory());
        assert_eq!(value(&lanes, b"new"), None);
    }
}
