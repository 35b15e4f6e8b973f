//! WATCH: who wants to know that a key changed. Costs one comparison per effect while nobody watches anything.
//!
//! A connection has one flag for all its watched keys; a lane maps keys to the flags of those who watch them. The
//! effect that changes a key raises the flags under the lane lock, so EXEC, which holds the same lock, cannot miss it.

use capstan_proto::slot::Slot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One connection's watched keys.
#[derive(Debug, Default)]
pub struct Watched {
    dirty: Option<Arc<AtomicBool>>,
    keys: Vec<WatchedKey>,
    /// The same keys, once there are more than [`FEW`] of them.
    index: HashSet<(u8, Box<[u8]>)>,
    bytes: usize,
}

/// So many keys are looked through one after the other.
const FEW: usize = 16;

/// One key that a connection watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedKey {
    /// Its database.
    pub db: u8,
    /// Its slot.
    pub slot: Slot,
    /// Its hash in the slot's table.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
    /// It had expired already, but was still there, when it was watched: its removal is no change.
    pub expired: bool,
}

impl Watched {
    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, in the order in which they were watched.
    #[must_use]
    pub fn keys(&self) -> &[WatchedKey] {
        &self.keys
    }

    /// What they occupy, roughly: for limits.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one of them has changed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty.as_ref().is_some_and(|dirty| dirty.load(Ordering::Acquire))
    }

    /// Adds a key; `None` if it is watched already, else the flag that its lane must raise.
    pub fn add(&mut self, key: WatchedKey) -> Option<Arc<AtomicBool>> {
        if self.keys.len() <= FEW {
            if self.keys.iter().any(|there| there.db == key.db && there.key == key.key) {
                return None;
            }
            if self.keys.len() == FEW {
                self.index = self.keys.iter().map(|there| (there.db, there.key.clone())).collect();
            }
        }
        if self.keys.len() >= FEW && !self.index.insert((key.db, key.key.clone())) {
            return None;
        }
        self.bytes += 2 * (size_of::<WatchedKey>() + key.key.len());
        self.keys.push(key);
        Some(self.dirty.get_or_insert_default().clone())
    }

    /// Forgets everything; the caller takes the keys out of their lanes.
    pub fn take(&mut self) -> (Vec<WatchedKey>, Option<Arc<AtomicBool>>) {
        let Self { dirty, keys, .. } = std::mem::take(self);
        (keys, dirty)
    }
}

/// The flags of those who watch a key, by database and key.
type Flags = HashMap<(u8, Box<[u8]>), Vec<Arc<AtomicBool>>>;

/// The keys of a lane that somebody watches.
#[derive(Debug, Default)]
pub struct Watchers {
    by_key: Option<Box<Flags>>,
}

impl Watchers {
    /// Raises the flags of those who watch a key.
    #[inline]
    pub fn touch(&self, db: u8, key: &[u8]) {
        if let Some(by_key) = &self.by_key {
            touch(by_key, db, key);
        }
    }

    /// Raises every flag whose key satisfies the condition (FLUSHALL, a slot that leaves).
    pub fn touch_where(&self, mut affected: impl FnMut(u8, &[u8]) -> bool) {
        for ((db, key), flags) in self.by_key.iter().flat_map(|by_key| by_key.iter()) {
            if affected(*db, key) {
                flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
            }
        }
    }

    /// The watched keys of two databases.
    #[must_use]
    pub fn keys_of(&self, dbs: [u8; 2]) -> Vec<Box<[u8]>> {
        let all = self.by_key.iter().flat_map(|by_key| by_key.keys());
        all.filter(|(db, _)| dbs.contains(db)).map(|(_, key)| key.clone()).collect()
    }

    /// Somebody watches a key from now on.
    pub fn add(&mut self, db: u8, key: &[u8], flag: Arc<AtomicBool>) {
        self.by_key.get_or_insert_default().entry((db, key.into())).or_default().push(flag);
    }

    /// And no more.
    pub fn remove(&mut self, db: u8, key: &[u8], flag: &Arc<AtomicBool>) {
        let Some(by_key) = &mut self.by_key else { return };
        let place = (db, key.into());
        if let Some(flags) = by_key.get_mut(&place) {
            flags.retain(|there| !Arc::ptr_eq(there, flag));
            if flags.is_empty() {
                by_key.remove(&place);
            }
        }
        if by_key.is_empty() {
            self.by_key = None;
        }
    }
}

#[cold]
fn touch(by_key: &Flags, db: u8, key: &[u8]) {
    for flag in by_key.get(&(db, key.into())).into_iter().flatten() {
        flag.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(db: u8, key: &[u8]) -> WatchedKey {
        WatchedKey { db, slot: Slot::of_key(key), hash: 0, key: key.into(), expired: false }
    }

    #[test]
    fn a_change_of_a_watched_key_is_seen_and_one_of_another_key_or_database_is_not() {
        let (mut watched, mut watchers) = (Watched::default(), Watchers::default());
        let flag = watched.add(key(0, b"a")).expect("new");
        assert!(watched.add(key(0, b"a")).is_none(), "once is enough");
        watchers.add(0, b"a", flag);
        watchers.touch(1, b"a");
        watchers.touch(0, b"b");
        assert!(!watched.is_dirty());
        watchers.touch(0, b"a");
        assert!(watched.is_dirty());
    }

    #[test]
    fn many_keys_are_each_watched_once() {
        let mut watched = Watched::default();
        for round in 0..2 {
            for i in 0..3 * FEW {
                assert_eq!(watched.add(key(0, format!("k{i}").as_bytes())).is_some(), round == 0, "k{i}");
            }
        }
        assert!(watched.keys().len() == 3 * FEW && watched.bytes() > 0);
        watched.take();
        assert_eq!(watched.bytes(), 0);
    }

    #[test]
    fn an_unwatched_lane_keeps_nothing() {
        let (mut watched, mut watchers) = (Watched::default(), Watchers::default());
        let flag = watched.add(key(0, b"a")).expect("new");
        watchers.add(0, b"a", flag);
        let (keys, flag) = watched.take();
        for key in keys {
            watchers.remove(key.db, &key.key, flag.as_ref().expect("set"));
        }
        assert!(watchers.by_key.is_none() && !watched.is_dirty());
    }
}
