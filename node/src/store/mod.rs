//! The data: lanes of slots, tables of entries, and the effects that change them.
//!
//! [`Data`] is what a command sees of it: the lanes of its keys, locked, and its database.

pub mod ahead;
pub mod codec;
pub mod effect;
pub mod hash;
pub mod lane;
pub mod lanes;
pub mod log;
pub mod object;
pub mod raw;
pub mod rebuild;
pub mod reclaim;
pub mod shadow;
pub mod slot_stream;
pub mod waiting;
pub mod watch;

pub use effect::{Change, Effect, NodeWide};
pub use lane::{Access, Lane, SlotTable};
pub use lanes::{Busy, Held, Lanes};
pub use raw::Entry;

use crate::commands::args::Key;
use capstan_proto::env::UnixMs;
use capstan_proto::slot::{SLOTS, Slot};
use waiting::Ready;
use watch::{Watched, WatchedKey};

/// The keyspace as one command sees it.
#[allow(missing_debug_implementations)]
pub struct Data<'a> {
    lanes: &'a Lanes,
    locked: Locked<'a>,
    db: u8,
    now: UnixMs,
    /// Keys that somebody waits for and that have been pushed to.
    ready: Vec<Ready>,
}

/// Which lanes a command holds.
#[allow(missing_debug_implementations)]
pub enum Locked<'a> {
    /// The lane of its keys.
    One(Held<'a>),
    /// Several lanes, by their number: an emulated command over several slots, or a transaction.
    Many(Vec<Option<Held<'a>>>),
    /// None: each lane it touches is locked for the moment.
    Roaming(Option<Held<'a>>),
}

impl<'a> Data<'a> {
    /// What a command of database `db` sees at time `now`.
    #[inline]
    #[must_use]
    pub const fn new(lanes: &'a Lanes, locked: Locked<'a>, db: u8, now: UnixMs) -> Self {
        Self { lanes, locked, db, now, ready: Vec::new() }
    }

    /// Gives the locks on, to the next command of a transaction.
    #[must_use]
    pub fn into_locked(self) -> Locked<'a> {
        self.locked
    }

    /// The lanes themselves.
    #[must_use]
    pub const fn lanes(&self) -> &'a Lanes {
        self.lanes
    }

    /// The database.
    #[must_use]
    pub const fn db(&self) -> u8 {
        self.db
    }

    /// The time that expiry is judged by.
    #[must_use]
    pub const fn now(&self) -> UnixMs {
        self.now
    }

    /// The same lanes seen from another database (COPY, MOVE, SWAPDB).
    pub const fn set_db(&mut self, db: u8) {
        self.db = db;
    }

    /// The lane of a slot: held already for the slots of declared keys, else locked for the moment.
    #[inline]
    pub fn lane(&mut self, slot: Slot) -> &mut Lane {
        let number = self.lanes.of(slot);
        self.lane_numbered(number)
    }

    /// A lane by its number.
    #[inline]
    pub fn lane_numbered(&mut self, number: usize) -> &mut Lane {
        let held = match &self.locked {
            Locked::One(held) => held.number() == number,
            Locked::Many(held) => held[number].is_some(),
            Locked::Roaming(_) => true,
        };
        if !held {
            self.let_go();
        }
        match &mut self.locked {
            Locked::One(held) => held,
            Locked::Many(held) => held[number].get_or_insert_with(|| self.lanes.lock(number)),
            Locked::Roaming(held) => {
                if held.as_ref().is_some_and(|held| held.number() != number) {
                    // Let go before the next is taken: two roaming commands cannot block each other.
                    *held = None;
                }
                held.get_or_insert_with(|| self.lanes.lock(number))
            }
        }
    }

    /// Only a command that reaches beyond the keys of its row comes here. It is no longer atomic then, but it cannot
    /// deadlock: what is held is let go before another lane is taken.
    #[cold]
    fn let_go(&mut self) {
        debug_assert!(false, "a command touched a key that its row does not declare");
        self.locked = Locked::Roaming(None);
    }

    /// Visits every lane in turn.
    pub fn each_lane(&mut self, mut visit: impl FnMut(&mut Lane)) {
        for number in 0..self.lanes.count() {
            visit(self.lane_numbered(number));
        }
    }

    /// Visits every slot that holds something, lane by lane; between two slots others may have the lane, unless this
    /// is part of a transaction.
    pub fn each_slot(&mut self, mut visit: impl FnMut(Slot, &SlotTable)) {
        for number in 0..self.lanes.count() {
            for slot in (number..usize::from(SLOTS)).step_by(self.lanes.count()) {
                let Some(slot) = Slot::new(slot as u16) else { continue };
                let table = self.lane_numbered(number).slot(slot);
                if table.is_empty() {
                    continue;
                }
                visit(slot, table);
                if let Locked::Roaming(Some(held)) = &mut self.locked {
                    held.bump();
                }
            }
        }
    }

    /// A connection watches a key from now on.
    pub fn watch(&mut self, key: Key<'_>, watched: &mut Watched) {
        let (db, now) = (self.db, self.now);
        let lane = self.lane(key.slot);
        let expired = lane.find(db, key).is_some_and(|entry| Lane::has_expired(entry, now));
        let place = WatchedKey { db, slot: key.slot, hash: key.hash, key: key.bytes.into(), expired };
        if let Some(flag) = watched.add(place) {
            lane.watchers.add(db, key.bytes, flag);
        }
    }

    /// A connection watches nothing any more.
    pub fn unwatch(&mut self, watched: &mut Watched) {
        let (keys, Some(flag)) = watched.take() else { return };
        if !matches!(self.locked, Locked::Many(_)) {
            self.locked = Locked::Roaming(None);
        }
        for key in keys {
            self.lane(key.slot).watchers.remove(key.db, &key.key, &flag);
        }
    }

    /// Whether a watched key has changed, or has expired since it was watched.
    pub fn is_dirty(&mut self, watched: &Watched) -> bool {
        let now = self.now;
        watched.is_dirty()
            || watched.keys().iter().any(|key| {
                let place = Key { bytes: &key.key, slot: key.slot, hash: key.hash };
                let lane = self.lane(key.slot);
                !key.expired && lane.find(key.db, place).is_some_and(|e| Lane::has_expired(e, now))
            })
    }

    /// Removes, in two databases that are about to change places, the watched keys whose time has come (►18). One that
    /// has expired on one side and is missing on the other is then missing before and after: that is no change.
    pub fn expire_watched(&mut self, dbs: [u8; 2]) {
        let now = self.now;
        self.each_lane(|lane| {
            for bytes in lane.watchers.keys_of(dbs) {
                let hash = lane.hasher.hash(&bytes);
                let key = Key { bytes: &bytes, slot: Slot::of_key(&bytes), hash };
                for db in dbs {
                    lane.live(db, key, now);
                }
            }
        });
    }

    /// Applies a node-wide record, behind a barrier of all lanes.
    pub fn apply_node_wide(&mut self, record: NodeWide) {
        match &mut self.locked {
            Locked::Many(held) if held.iter().all(Option::is_some) => {
                let all = held.iter_mut().flatten().map(|held| &mut **held);
                self.lanes.apply_node_wide_held(all, record);
            }
            Locked::One(_) | Locked::Many(_) | Locked::Roaming(_) => {
                self.locked = Locked::Roaming(None);
                self.lanes.apply_node_wide(record);
            }
        }
        if let NodeWide::SwapDb(a, b) = record {
            self.note_swapped([a, b]);
        }
    }

    /// A key's entry, if it is there and has not expired. Counts a hit or a miss, as a read does.
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<&Entry> {
        let (db, now) = (self.db, self.now);
        let lane = self.lane(key.slot);
        match lane.live(db, key, now) {
            Some(at) => {
                lane.stats.hits += 1;
                lane.slot(key.slot).table().get_bucket(at)
            }
            None => {
                lane.stats.misses += 1;
                None
            }
        }
    }

    /// A key's entry, if it is there and has not expired. Counts nothing, as a write does.
    #[inline]
    pub fn peek(&mut self, key: Key<'_>) -> Option<&Entry> {
        let (db, now) = (self.db, self.now);
        let lane = self.lane(key.slot);
        let at = lane.live(db, key, now)?;
        lane.slot(key.slot).table().get_bucket(at)
    }

    /// Deletes a collection whose last element has just been taken.
    pub fn delete_if_empty(&mut self, key: Key<'_>) {
        let db = self.db;
        let entry = self.lane(key.slot).find(db, key);
        if entry.and_then(Entry::object).is_some_and(|object| object.is_empty()) {
            self.apply(key, Change::Delete);
        }
    }

    /// Changes a key.
    #[inline]
    pub fn apply(&mut self, key: Key<'_>, change: Change<'_>) {
        let db = self.db;
        let effect = Effect { slot: key.slot, db, key: key.bytes, change };
        let lane = self.lane(key.slot);
        lane.apply_hashed(key.hash, &effect);
        if change.brings_an_element() && lane.waiting.is_wanted(db, key.bytes) {
            self.note_ready(key);
        }
    }

    /// Whether somebody waits for what was put into a key.
    #[inline]
    #[must_use]
    pub const fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Something was put into a key that somebody waits for.
    #[cold]
    pub fn note_ready(&mut self, key: Key<'_>) {
        let ready = Ready { db: self.db, slot: key.slot, hash: key.hash, bytes: key.bytes.into() };
        if self.ready.last() != Some(&ready) {
            self.ready.push(ready);
        }
    }

    /// The first of these keys.
    pub fn take_ready(&mut self) -> Option<Ready> {
        if self.ready.is_empty() { None } else { Some(self.ready.remove(0)) }
    }

    /// Whether the lane of a slot is held, or can be taken without letting another one go.
    #[must_use]
    pub fn holds(&self, slot: Slot) -> bool {
        let number = self.lanes.of(slot);
        match &self.locked {
            Locked::One(held) => held.number() == number,
            Locked::Many(held) => held[number].is_some(),
            Locked::Roaming(_) => true,
        }
    }

    /// The batch of what was last changed in the lane of a slot, while it is held; 0: nothing was logged.
    pub fn newest_batch(&mut self, slot: Slot) -> u64 {
        self.lane(slot).pending_log().tag()
    }

    /// After two databases have changed places: whoever waits in one may find something now.
    fn note_swapped(&mut self, databases: [u8; 2]) {
        let home = self.db;
        let mut wanted = Vec::new();
        self.each_lane(|lane| wanted.append(&mut lane.waiting.keys(|db| databases.contains(&db))));
        for (db, key) in wanted {
            self.db = db;
            let hash = self.lanes.hash(&key);
            self.note_ready(Key { bytes: &key, slot: Slot::of_key(&key), hash });
        }
        self.db = home;
    }
}
