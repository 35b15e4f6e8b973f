//! A lane: the slots with equal `slot % lanes`, one table of entries per slot, one lock around all of it.
//!
//! A table per slot keeps growth short (a table of 300 keys doubles in 10 us), and makes counting, scanning and
//! dropping a slot free. Everything in here runs under the lane's lock; nothing in here waits.
//!
//! # Invariants
//!
//! * `bytes` of a slot is the sum of `Entry::allocated` over its table; `expiring` counts its entries with an expiry.
//! * `databases[d]` counts the lane's entries of database `d`, and those with an expiry.
//! * Data changes only through [`super::effect::apply`].

use super::effect::{Change, Effect, NodeWide};
use super::hash::Hasher;
use super::log::{PendingLog, Tagging};
use super::raw::Entry;
use super::reclaim::Reclaimer;
use super::waiting::Waiting;
use super::watch::Watchers;
use crate::commands::args::Key;
use capstan_proto::env::UnixMs;
use capstan_proto::slot::Slot;
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What this node may do with a slot. One byte, read under the lane lock (►8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Access {
    /// Nobody owns it, as far as this node knows.
    #[default]
    Unassigned,
    /// This node is its primary.
    Mine,
    /// This node is its primary, and a planned change holds its clients: nothing executes (►14).
    Held,
    /// This node is a replica of its shard.
    Replica,
    /// Another shard owns it.
    Elsewhere,
}

/// The entries of one slot. One cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SlotTable {
    pub(super) entries: HashTable<Entry>,
    pub(super) bytes: usize,
    pub(super) expiring: u32,
    /// How often entries have changed their buckets: the table grew, shrank or was cleaned up.
    pub(super) moves: u32,
    pub(super) access: Access,
}

const _: () = assert!(size_of::<SlotTable>() == 64);

impl SlotTable {
    /// How many keys the slot holds, expired ones that are still there included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many of them have an expiry.
    #[must_use]
    pub const fn expiring(&self) -> u32 {
        self.expiring
    }

    /// What they occupy.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What this node may do with the slot.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The table itself, for scans that remember a bucket.
    #[must_use]
    pub const fn table(&self) -> &HashTable<Entry> {
        &self.entries
    }
}

/// How many keys a database has in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatabaseCount {
    /// All.
    pub keys: u64,
    /// With an expiry.
    pub expiring: u64,
}

/// What happened in a lane since the statistics were reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneStats {
    /// Lookups by reads that found a key.
    pub hits: u64,
    /// And those that did not.
    pub misses: u64,
    /// Keys removed because they had expired.
    pub expired: u64,
}

/// The slots of one lane and what belongs to them.
#[derive(Debug)]
pub struct Lane {
    number: usize,
    /// Slot `s` is `slots[s >> shift]`.
    pub(super) slots: Box<[SlotTable]>,
    shift: u32,
    pub(super) databases: Vec<DatabaseCount>,
    pub(super) hasher: Hasher,
    /// Counted by reads.
    pub stats: LaneStats,
    /// Who waits for keys of this lane.
    pub waiting: Waiting,
    /// Who watches keys of this lane.
    pub watchers: Watchers,
    pub(super) log: PendingLog,
    pub(super) reclaimer: Arc<Reclaimer>,
    memory: Memory,
}

/// What the lane's entries occupy, reported to the node's sum now and then.
#[derive(Debug)]
struct Memory {
    unreported: i64,
    node: Arc<AtomicI64>,
}

/// A lane tells the node's sum about changes of its memory once they reach this many bytes: with 64 lanes the sum is
/// at most 1 MiB off.
const REPORT_BYTES: i64 = 16 * 1024;

impl Lane {
    pub(super) fn new(
        number: usize,
        lanes: usize,
        databases: usize,
        hasher: Hasher,
        reclaimer: Arc<Reclaimer>,
        (node, tagging): (Arc<AtomicI64>, Arc<Tagging>),
    ) -> Self {
        let slots = usize::from(capstan_proto::slot::SLOTS) / lanes;
        Self {
            number,
            slots: (0..slots).map(|_| SlotTable::default()).collect(),
            shift: lanes.trailing_zeros(),
            databases: vec![DatabaseCount::default(); databases],
            hasher,
            stats: LaneStats::default(),
            waiting: Waiting::default(),
            watchers: Watchers::default(),
            log: PendingLog::new(number, tagging),
            reclaimer,
            memory: Memory { unreported: 0, node },
        }
    }

    /// Where the tables lie, for prefetching.
    pub(super) fn tables_address(&self) -> usize {
        self.slots.as_ptr().addr()
    }

    /// Which lane this is.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The table of one of this lane's slots.
    #[inline]
    #[must_use]
    pub fn slot(&self, slot: Slot) -> &SlotTable {
        &self.slots[slot.index() >> self.shift]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, slot: Slot) -> &mut SlotTable {
        &mut self.slots[slot.index() >> self.shift]
    }

    /// This lane's slots, in order, with their tables.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &SlotTable)> {
        let (number, shift) = (self.number, self.shift);
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(i, table)| Slot::new(((i << shift) | number) as u16).map(|slot| (slot, table)))
    }

    /// One of this lane's slots with its table, counted in the order of [`Self::slots`].
    #[must_use]
    pub fn slot_at(&self, index: usize) -> Option<(Slot, &SlotTable)> {
        let table = self.slots.get(index)?;
        Slot::new(((index << self.shift) | self.number) as u16).map(|slot| (slot, table))
    }

    /// Changes whenever entries of the slot change their buckets, and differs from process to process: a scan that
    /// remembers a bucket remembers this with it.
    #[must_use]
    pub fn layout_tag(&self, slot: Slot) -> u16 {
        self.hasher.hash(&self.slot(slot).moves.to_le_bytes()) as u16
    }

    /// What waits to become a batch.
    pub fn pending_log(&mut self) -> &mut PendingLog {
        &mut self.log
    }

    /// The keys of each database.
    #[must_use]
    pub fn databases(&self) -> &[DatabaseCount] {
        &self.databases
    }

    /// Whether a planned change holds a slot of this lane.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.slots.iter().any(|slot| slot.access == Access::Held)
    }

    /// Changes what this node may do with a slot (►8: under the lane lock).
    pub fn set_access(&mut self, slot: Slot, access: Access) {
        self.slot_mut(slot).access = access;
    }

    /// The entry of a key, expired or not.
    #[inline]
    #[must_use]
    pub fn find(&self, db: u8, key: Key<'_>) -> Option<&Entry> {
        self.slot(key.slot).entries.find(key.hash, |entry| entry.is(db, key.bytes))
    }

    /// The first half of a lookup, to have the entry in the cache when the command runs.
    #[inline]
    pub fn prefetch_entry(&self, slot: Slot, hash: u64) {
        self.slot(slot).entries.find(hash, |entry| {
            entry.prefetch();
            true
        });
    }

    /// Whether the entry's time has come.
    #[inline]
    #[must_use]
    pub fn has_expired(entry: &Entry, now: UnixMs) -> bool {
        entry.expires().is_some_and(|at| at <= now)
    }

    /// Where in its slot's table a key's entry is, if it has not expired. A primary removes what has (►18); a replica
    /// only answers that it is missing.
    #[inline]
    pub(super) fn live(&mut self, db: u8, key: Key<'_>, now: UnixMs) -> Option<usize> {
        let slot = self.slot(key.slot);
        let at = slot.entries.find_bucket_index(key.hash, |entry| entry.is(db, key.bytes))?;
        if slot.entries.get_bucket(at).is_some_and(|entry| Self::has_expired(entry, now)) {
            if slot.access == Access::Mine {
                self.expire(db, key);
            }
            return None;
        }
        Some(at)
    }

    /// Changes a key. The one way in: commands, replicas and recovery alike.
    #[inline]
    pub fn apply(&mut self, effect: &Effect<'_>) {
        let hash = self.hasher.hash(effect.key);
        self.apply_hashed(hash, effect);
    }

    /// [`Self::apply`] for a caller that knows the key's hash.
    #[inline]
    pub fn apply_hashed(&mut self, hash: u64, effect: &Effect<'_>) {
        super::effect::apply(self, hash, effect);
        self.log.record(effect);
        self.watchers.touch(effect.db, effect.key);
    }

    /// Notes in the log that a piece of a copy was taken (►21): under the same hold of the lane in which it was.
    pub fn mark(&mut self, slot: Slot, copy: u64, piece: u64) {
        let change = Change::Marker { copy, piece };
        self.log.record(&Effect { slot, db: 0, key: b"", change });
    }

    /// Takes over another lane's entries and gives its own away: for the swap of a complete copy. Who watches a key is
    /// told, what this node may do with each slot stays, and no table moves in memory.
    pub(super) fn exchange(&mut self, other: &mut Self) {
        self.watchers.touch_where(|_, _| true);
        for (here, there) in self.slots.iter_mut().zip(&mut other.slots) {
            std::mem::swap(&mut here.entries, &mut there.entries);
            std::mem::swap(&mut here.bytes, &mut there.bytes);
            std::mem::swap(&mut here.expiring, &mut there.expiring);
            // Different from both numbers that a scan may remember.
            here.moves = here.moves.max(there.moves).wrapping_add(1);
        }
        std::mem::swap(&mut self.databases, &mut other.databases);
    }

    /// Tells the node's sum what it has not been told yet: before the lane is dropped.
    pub(super) fn report_memory(&mut self) {
        self.memory.report();
    }

    /// Removes a key whose time has come (►18: logged like any deletion).
    #[cold]
    pub fn expire(&mut self, db: u8, key: Key<'_>) {
        self.stats.expired += 1;
        let effect = Effect { slot: key.slot, db, key: key.bytes, change: Change::Delete };
        self.apply_hashed(key.hash, &effect);
    }

    /// This lane's part of a node-wide record; the caller holds every lane (barrier).
    pub(super) fn apply_node_wide(&mut self, record: NodeWide) {
        super::effect::apply_node_wide(self, record);
    }

    #[inline]
    pub(super) fn account(&mut self, bytes: i64) {
        self.memory.unreported += bytes;
        if self.memory.unreported.abs() >= REPORT_BYTES {
            self.memory.report();
        }
    }
}

impl Memory {
    #[cold]
    fn report(&mut self) {
        self.node.fetch_add(self.unreported, Ordering::Relaxed);
        self.unreported = 0;
    }
}
