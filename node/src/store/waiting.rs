//! Who waits for a key of a lane, in the order in which they came, and the keys that have become ready.

use crate::blocking::Waiter;
use crate::commands::args::Key;
use crate::store::object::Kind;
use capstan_proto::slot::Slot;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Who waits, by database and key.
type Queues = HashMap<(u8, Box<[u8]>), VecDeque<Arc<Waiter>>>;

/// The queues of a lane.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Nothing while nobody waits: then a push costs one comparison.
    by_key: Option<Box<Queues>>,
}

/// A key that somebody waits for, and that has been pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its database.
    pub db: u8,
    /// Its slot.
    pub slot: Slot,
    /// Its hash in the slot's table.
    pub hash: u64,
    /// The key.
    pub bytes: Box<[u8]>,
}

impl Ready {
    /// As commands name it.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key { bytes: &self.bytes, slot: self.slot, hash: self.hash }
    }
}

impl Waiting {
    /// Whether somebody waits for a key.
    #[inline]
    #[must_use]
    pub fn is_wanted(&self, db: u8, key: &[u8]) -> bool {
        self.by_key.as_ref().is_some_and(|by_key| by_key.contains_key(&(db, key.into())))
    }

    /// The keys of some databases that somebody waits for.
    pub fn keys(&self, wanted: impl Fn(u8) -> bool) -> Vec<(u8, Box<[u8]>)> {
        let all = self.by_key.iter().flat_map(|by_key| by_key.keys());
        all.filter(|(db, _)| wanted(*db)).cloned().collect()
    }

    /// Somebody waits from now on, behind those who do already.
    pub fn add(&mut self, db: u8, key: &[u8], waiter: Arc<Waiter>) {
        self.by_key.get_or_insert_default().entry((db, key.into())).or_default().push_back(waiter);
    }

    /// Somebody waits on, before all others.
    pub fn put_back(&mut self, db: u8, key: &[u8], waiter: Arc<Waiter>) {
        self.by_key.get_or_insert_default().entry((db, key.into())).or_default().push_front(waiter);
    }

    /// The first who waits for a value of this type and was not answered elsewhere.
    #[must_use]
    pub fn first(&self, db: u8, key: &[u8], kind: Kind) -> Option<Arc<Waiter>> {
        let queue = self.by_key.as_ref()?.get(&(db, key.into()))?;
        queue.iter().find(|waiter| waiter.kind() == kind && waiter.is_waiting()).cloned()
    }

    /// Somebody waits no more.
    pub fn remove(&mut self, db: u8, key: &[u8], waiter: &Arc<Waiter>) {
        let Some(by_key) = &mut self.by_key else { return };
        let place = (db, key.into());
        if let Some(queue) = by_key.get_mut(&place) {
            queue.retain(|there| !Arc::ptr_eq(there, waiter));
            if queue.is_empty() {
                by_key.remove(&place);
            }
        }
        if by_key.is_empty() {
            self.by_key = None;
        }
    }
}
