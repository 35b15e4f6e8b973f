//! Effects: deterministic changes of exactly one slot that state their result, never the command that asked for it.
//!
//! [`apply`] is the one function that changes data: a primary's commands, a replica's stream, recovery and import all
//! come through here. It has no clock and no chance in it, so the same effects give the same data everywhere.

use super::lane::{Lane, SlotTable};
use super::object::{End, Score};
use super::raw::Entry;
use super::reclaim::Garbage;
use capstan_proto::env::UnixMs;
use capstan_proto::slot::Slot;

mod collections;

/// A change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect<'a> {
    /// The key's slot.
    pub slot: Slot,
    /// The database.
    pub db: u8,
    /// The key.
    pub key: &'a [u8],
    /// What becomes of it.
    pub change: Change<'a>,
}

/// What an effect does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// The key is this string now, whatever it was, and expires then.
    Set {
        /// The whole value.
        value: &'a [u8],
        /// When it expires, if ever.
        expires: Option<UnixMs>,
    },
    /// These bytes are written into the string (an empty one if the key is missing); a gap is filled with zeros. The
    /// expiry stays.
    Write {
        /// Where they begin.
        offset: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The key, if it is there, expires then, or never.
    Expire {
        /// When.
        at: Option<UnixMs>,
    },
    /// The key is gone.
    Delete,
    /// Changes nothing, and has no key: a piece of a copy of some slots was taken here (►21). What the log says before
    /// it about a slot whose copy begins with that piece is in the piece; what it says after it is not.
    Marker {
        /// Which copy.
        copy: u64,
        /// Which of its pieces.
        piece: u64,
    },
    /// The field of the hash has this value.
    HashSet {
        /// The field.
        field: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The hash has this field no more.
    HashDelete {
        /// The field.
        field: &'a [u8],
    },
    /// The list has one element more.
    ListPush {
        /// At which end.
        end: End,
        /// The element.
        value: &'a [u8],
    },
    /// The list has so many elements less.
    ListPop {
        /// At which end.
        end: End,
        /// How many.
        count: u32,
    },
    /// The element at an index of the list is this one.
    ListSet {
        /// The index.
        index: u32,
        /// The element.
        value: &'a [u8],
    },
    /// There is one element more before the one that had this index.
    ListInsert {
        /// The index that it has now.
        index: u32,
        /// The element.
        value: &'a [u8],
    },
    /// The elements at these indices are gone.
    ListRemove {
        /// Ascending.
        indices: Indices<'a>,
    },
    /// The set has this member.
    SetAdd {
        /// The member.
        member: &'a [u8],
    },
    /// And this one no more.
    SetRemove {
        /// The member.
        member: &'a [u8],
    },
    /// The member of the sorted set has this score.
    ZsetSet {
        /// The member.
        member: &'a [u8],
        /// Its score.
        score: Score,
    },
    /// The sorted set has this member no more.
    ZsetRemove {
        /// The member.
        member: &'a [u8],
    },
}

impl Change<'_> {
    /// Whether somebody may wait for what this brings (BLPOP and its kin).
    #[inline]
    #[must_use]
    pub const fn brings_an_element(&self) -> bool {
        matches!(self, Self::ListPush { .. } | Self::ListInsert { .. } | Self::ZsetSet { .. })
    }
}

/// Indices of list elements, four bytes each, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indices<'a>(&'a [u8]);

impl<'a> Indices<'a> {
    /// Indices from their bytes; `None` if the last one is cut off.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len().is_multiple_of(size_of::<u32>()) { Some(Self(bytes)) } else { None }
    }

    /// Their bytes.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The indices.
    pub fn iter(self) -> impl Iterator<Item = usize> + 'a {
        self.0.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize)
    }
}

/// A change of the whole node: a batch of its own, a barrier on all lanes (DESIGN 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWide {
    /// Every database is empty.
    FlushAll,
    /// One database is empty.
    FlushDb(u8),
    /// Two databases have changed places.
    SwapDb(u8, u8),
}

/// Applies an effect; `hash` is the key's hash in its slot's table.
#[inline]
pub fn apply(lane: &mut Lane, hash: u64, effect: &Effect<'_>) {
    match effect.change {
        Change::Set { value, expires } => set(lane, hash, effect, value, expires),
        Change::Write { offset, bytes } => write(lane, hash, effect, offset as usize, bytes),
        Change::Expire { at } => expire(lane, hash, effect, at),
        Change::Delete => delete(lane, hash, effect),
        Change::Marker { .. } => {}
        Change::HashSet { .. }
        | Change::HashDelete { .. }
        | Change::ListPush { .. }
        | Change::ListPop { .. }
        | Change::ListSet { .. }
        | Change::ListInsert { .. }
        | Change::ListRemove { .. }
        | Change::SetAdd { .. }
        | Change::SetRemove { .. }
        | Change::ZsetSet { .. }
        | Change::ZsetRemove { .. } => collections::apply(lane, hash, effect),
    }
}

/// An entry's share of its slot's counters.
#[derive(Clone, Copy)]
struct Share {
    bytes: usize,
    expiring: u32,
}

impl Share {
    const NONE: Self = Self { bytes: 0, expiring: 0 };

    #[inline]
    fn of(entry: &Entry) -> Self {
        Self { bytes: entry.allocated(), expiring: u32::from(entry.expires().is_some()) }
    }
}

/// Moves the counters of slot, database and lane from an entry's old share to its new one.
#[inline]
fn recount(lane: &mut Lane, effect: &Effect<'_>, old: Share, new: Share) {
    let slot = lane.slot_mut(effect.slot);
    slot.bytes = slot.bytes + new.bytes - old.bytes;
    slot.expiring = slot.expiring + new.expiring - old.expiring;
    if old.expiring != new.expiring
        && let Some(database) = lane.databases.get_mut(usize::from(effect.db))
    {
        database.expiring = database.expiring + u64::from(new.expiring) - u64::from(old.expiring);
    }
    if old.bytes != new.bytes {
        lane.account(new.bytes as i64 - old.bytes as i64);
    }
}

#[inline]
fn set(lane: &mut Lane, hash: u64, effect: &Effect<'_>, value: &[u8], expires: Option<UnixMs>) {
    let found = lane.slot_mut(effect.slot).entries.find_mut(hash, |e| e.is(effect.db, effect.key));
    if let Some(entry) = found {
        let old = Share::of(entry);
        if old.bytes >= Garbage::WORTH_BYTES {
            let fresh = Entry::new(effect.db, effect.key, value, expires);
            let new = Share::of(&fresh);
            let gone = std::mem::replace(entry, fresh);
            lane.reclaimer.free(Garbage::Entry(gone));
            return recount(lane, effect, old, new);
        }
        entry.replace(effect.key, value, expires);
        let new = Share::of(entry);
        recount(lane, effect, old, new);
    } else {
        insert(lane, hash, effect, Entry::new(effect.db, effect.key, value, expires));
    }
}

fn insert(lane: &mut Lane, hash: u64, effect: &Effect<'_>, entry: Entry) {
    let share = Share::of(&entry);
    let hasher = lane.hasher.clone();
    let slot = lane.slot_mut(effect.slot);
    let before = slot.entries.allocation_size();
    let full = slot.entries.capacity() == slot.entries.len();
    slot.entries.insert_unique(hash, entry, |entry| hasher.hash(entry.key()));
    if full && slot.entries.capacity() > slot.entries.len() {
        // There was no room and now there is: the table grew, or was cleaned up, and entries moved.
        slot.moves = slot.moves.wrapping_add(1);
    }
    let table = slot.entries.allocation_size() as i64 - before as i64;
    if table != 0 {
        lane.account(table);
    }
    if let Some(database) = lane.databases.get_mut(usize::from(effect.db)) {
        database.keys += 1;
    }
    recount(lane, effect, Share::NONE, share);
}

fn write(lane: &mut Lane, hash: u64, effect: &Effect<'_>, offset: usize, bytes: &[u8]) {
    let found = lane.slot_mut(effect.slot).entries.find_mut(hash, |e| e.is(effect.db, effect.key));
    if let Some(entry) = found {
        let old = Share::of(entry);
        entry.write(offset, bytes);
        let new = Share::of(entry);
        recount(lane, effect, old, new);
    } else {
        let mut entry = Entry::new(effect.db, effect.key, b"", None);
        entry.write(offset, bytes);
        insert(lane, hash, effect, entry);
    }
}

fn expire(lane: &mut Lane, hash: u64, effect: &Effect<'_>, at: Option<UnixMs>) {
    let found = lane.slot_mut(effect.slot).entries.find_mut(hash, |e| e.is(effect.db, effect.key));
    if let Some(entry) = found {
        let old = Share::of(entry);
        entry.set_expires(at);
        let new = Share::of(entry);
        recount(lane, effect, old, new);
    }
}

fn delete(lane: &mut Lane, hash: u64, effect: &Effect<'_>) {
    let slot = lane.slot_mut(effect.slot);
    let Ok(found) = slot.entries.find_entry(hash, |e| e.is(effect.db, effect.key)) else { return };
    let (entry, _) = found.remove();
    shrink(lane, effect.slot);
    forget(lane, effect, entry);
}

/// Counts an entry out and frees it, in the background if that would take long.
fn forget(lane: &mut Lane, effect: &Effect<'_>, entry: Entry) {
    let share = Share::of(&entry);
    if let Some(database) = lane.databases.get_mut(usize::from(effect.db)) {
        database.keys -= 1;
    }
    recount(lane, effect, share, Share::NONE);
    if share.bytes >= Garbage::WORTH_BYTES {
        lane.reclaimer.free(Garbage::Entry(entry));
    }
}

/// Gives back the table of a slot that has become empty, or nearly so compared with its size.
fn shrink(lane: &mut Lane, slot: Slot) {
    let hasher = lane.hasher.clone();
    let table = &mut lane.slot_mut(slot).entries;
    let (len, buckets) = (table.len(), table.num_buckets());
    if (len == 0 && buckets > 16) || (buckets > 64 && len < buckets / 16) {
        let before = table.allocation_size();
        table.shrink_to(len * 2, |entry| hasher.hash(entry.key()));
        let after = table.allocation_size();
        let slot = lane.slot_mut(slot);
        slot.moves = slot.moves.wrapping_add(1);
        lane.account(after as i64 - before as i64);
    }
}

/// A lane's part of a node-wide record. The caller holds all lanes.
pub(super) fn apply_node_wide(lane: &mut Lane, record: NodeWide) {
    match record {
        NodeWide::FlushAll => flush_all(lane),
        NodeWide::FlushDb(db) => flush_db(lane, db),
        NodeWide::SwapDb(a, b) => swap_db(lane, a, b),
    }
}

fn is_there(lane: &Lane, db: u8, key: &[u8]) -> bool {
    let hash = lane.hasher.hash(key);
    lane.slot(Slot::of_key(key)).entries.find(hash, |entry| entry.is(db, key)).is_some()
}

/// Swaps the lane's tables for empty ones; the old ones are freed in the background.
fn flush_all(lane: &mut Lane) {
    // As in Redis a watched key is changed only if it is there before the flush.
    lane.watchers.touch_where(|db, key| is_there(lane, db, key));
    let mut gone = Vec::new();
    let mut bytes = 0;
    for slot in &mut lane.slots {
        if slot.entries.num_buckets() > 0 {
            bytes += slot.bytes + slot.entries.allocation_size();
            gone.push(std::mem::take(&mut slot.entries));
        }
        let SlotTable { bytes, expiring, .. } = slot;
        (*bytes, *expiring) = (0, 0);
    }
    lane.databases.iter_mut().for_each(|database| *database = Default::default());
    lane.account(-(bytes as i64));
    if !gone.is_empty() {
        lane.reclaimer.free(Garbage::Tables { tables: gone, bytes });
    }
}

/// Empties one slot; what was in it is freed in the background.
pub(super) fn clear_slot(lane: &mut Lane, slot: Slot) {
    let table = lane.slot_mut(slot);
    let entries = std::mem::take(&mut table.entries);
    let SlotTable { bytes, expiring, moves, .. } = table;
    let gone = std::mem::take(bytes) + entries.allocation_size();
    (*expiring, *moves) = (0, moves.wrapping_add(1));
    for entry in &entries {
        if let Some(database) = lane.databases.get_mut(usize::from(entry.db())) {
            database.keys -= 1;
            database.expiring -= u64::from(entry.expires().is_some());
        }
    }
    lane.account(-(gone as i64));
    if entries.num_buckets() > 0 {
        lane.reclaimer.free(Garbage::Tables { tables: vec![entries], bytes: gone });
    }
}

/// Removes one database's entries. The whole lane is swapped out if nothing else is in it.
fn flush_db(lane: &mut Lane, db: u8) {
    let others = lane.databases.iter().enumerate().any(|(i, d)| i != usize::from(db) && d.keys > 0);
    if !others {
        return flush_all(lane);
    }
    lane.watchers.touch_where(|there, key| there == db && is_there(lane, db, key));
    let mut gone = Vec::new();
    for slot in &mut lane.slots {
        for entry in slot.entries.extract_if(|entry| entry.db() == db) {
            slot.bytes -= entry.allocated();
            slot.expiring -= u32::from(entry.expires().is_some());
            gone.push(entry);
        }
    }
    if let Some(database) = lane.databases.get_mut(usize::from(db)) {
        *database = Default::default();
    }
    let bytes: usize = gone.iter().map(Entry::allocated).sum();
    lane.account(-(bytes as i64));
    if !gone.is_empty() {
        lane.reclaimer.free(Garbage::Entries { entries: gone, bytes });
    }
}

/// Renames two databases into each other.
fn swap_db(lane: &mut Lane, a: u8, b: u8) {
    // A key that is missing in both is missing afterwards too.
    lane.watchers
        .touch_where(|db, key| (db == a || db == b) && (is_there(lane, a, key) || is_there(lane, b, key)));
    for entry in lane.slots.iter_mut().flat_map(|slot| slot.entries.iter_mut()) {
        let db = entry.db();
        if db == a {
            entry.set_db(b);
        } else if db == b {
            entry.set_db(a);
        }
    }
    lane.databases.swap(usize::from(a), usize::from(b));
}

#[cfg(test)]
mod collection_tests;
#[cfg(test)]
mod tests;
