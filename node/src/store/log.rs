//! What lanes have changed since the batcher last came by: the place where effects wait to become a batch.
//!
//! Each lane has two buffers, chosen by the parity of the open batch number, so that batch n holds exactly the entries
//! tagged n and every batch is a prefix of what was executed (DESIGN 7). The rule that makes the tags exact, without a
//! lock that all lanes share:
//!
//! * whoever records sets the lane's dirty bit (SeqCst), then reads the open number *again*; if it has moved, once more;
//! * the drainer raises the number first (SeqCst), then takes the bits of the batch that it has closed.
//!
//! If the number has not moved, the raise comes after the bit, so the drainer sees the bit and waits for the lane. A
//! lane's tag stays the same for as long as the lane is held: a transaction never spans two batches. A change of the
//! whole node holds every lane: it collects what all of them have into a closed batch and takes a number of its own.
//! While nobody wants a log, recording an effect costs one comparison and keeps nothing.

use super::codec;
use super::effect::{Effect, NodeWide};
use super::lanes::LANES_MAX;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::sync::Notify;

/// The room of a lane's buffer that is kept while it is empty.
const ROOM: usize = 1024;
/// A buffer that has grown beyond this is handed over as it is, instead of being copied and kept.
const ROOM_KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// The newest batch that this thread has recorded something into.
    static LOGGED: Cell<u64> = const { Cell::new(0) };
}

/// The newest batch that this thread has recorded something into since it was last asked; 0: nothing was logged. Asked
/// behind each run of commands: it is what their replies wait for.
#[inline]
pub fn take_logged() -> u64 {
    LOGGED.take()
}

/// As [`take_logged`], for a command in the middle of a run (WAIT); forgets nothing.
#[must_use]
pub fn logged() -> u64 {
    LOGGED.get()
}

fn note_logged(batch: u64) {
    LOGGED.set(LOGGED.get().max(batch));
}

/// A set of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneBits([u64; LANES_MAX / 64]);

impl Default for LaneBits {
    fn default() -> Self {
        Self([0; LANES_MAX / 64])
    }
}

impl LaneBits {
    /// The lowest lane of the set.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    /// Takes a lane out.
    pub fn remove(&mut self, lane: usize) {
        if let Some(word) = self.0.get_mut(lane / 64) {
            *word &= !(1 << (lane % 64));
        }
    }
}

/// A set of lanes that many threads add to.
#[derive(Debug)]
struct DirtyLanes([AtomicU64; LANES_MAX / 64]);

impl Default for DirtyLanes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl DirtyLanes {
    #[inline]
    fn add(&self, lane: usize) {
        // Always the read-modify-write: a bit that is there already may be about to be taken.
        self.0[lane / 64].fetch_or(1 << (lane % 64), SeqCst);
    }

    fn any(&self) -> bool {
        self.0.iter().any(|word| word.load(SeqCst) != 0)
    }

    fn take(&self) -> LaneBits {
        let mut bits = LaneBits::default();
        for (taken, word) in bits.0.iter_mut().zip(&self.0) {
            if word.load(SeqCst) != 0 {
                *taken = word.swap(0, SeqCst);
            }
        }
        bits
    }
}

/// A piece of a batch that was closed while all lanes were held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The batch.
    pub number: u64,
    /// What it holds.
    pub part: Part,
}

/// What a closed piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Effects of single slots; more of the same batch may have been drained before.
    Effects(Pending),
    /// A batch of its own.
    NodeWide(NodeWide),
}

/// Which half of the rule is broken on purpose, for the test that shows what it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// The bit, then the number.
    #[default]
    BitFirst,
    /// The number, then the bit: an entry can miss its batch.
    #[cfg(test)]
    NumberFirst,
}

/// The open batch number and who has something in it: shared by the lanes and whoever drains them.
#[derive(Debug)]
pub struct Tagging {
    open: AtomicU64,
    dirty: [DirtyLanes; 2],
    closed: Mutex<VecDeque<Closed>>,
    scheduled: AtomicBool,
    wake: Notify,
    order: Order,
}

impl Tagging {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            open: AtomicU64::new(1),
            dirty: Default::default(),
            closed: Mutex::default(),
            scheduled: AtomicBool::new(false),
            wake: Notify::new(),
            order,
        }
    }

    /// The number that the next entry is tagged with.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(SeqCst)
    }

    /// Whether something waits to be drained.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.dirty.iter().any(DirtyLanes::any) || !self.closed.lock().is_empty()
    }

    /// Marks a lane, whose lock the caller holds, and says which batch its entries belong to.
    #[inline]
    fn enter(&self, lane: usize) -> u64 {
        let mut open = self.open.load(SeqCst);
        loop {
            match self.order {
                Order::BitFirst => self.dirty[parity(open)].add(lane),
                #[cfg(test)]
                Order::NumberFirst => {
                    std::thread::yield_now();
                    self.dirty[parity(open)].add(lane);
                    self.schedule();
                    return open;
                }
            }
            let again = self.open.load(SeqCst);
            if again == open {
                self.schedule();
                return open;
            }
            open = again;
        }
    }

    /// Has the batcher come by, unless it is on its way.
    #[inline]
    pub fn schedule(&self) {
        if !self.scheduled.load(SeqCst) && !self.scheduled.swap(true, SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Whether a lane has something in a batch that is not closed.
    #[cfg(test)]
    pub(crate) fn has_something(&self) -> bool {
        self.dirty.iter().any(DirtyLanes::any)
    }

    /// Returns when there is something to drain. What is recorded from now on schedules anew.
    pub async fn scheduled(&self) {
        self.wake.notified().await;
    }

    /// The batcher begins: who records from now on has to schedule it again. Comes before the drain.
    pub fn unschedule(&self) {
        self.scheduled.store(false, SeqCst);
    }

    /// Closes batch `number` if it is the open one and a lane has something in it, and says which lanes to visit.
    pub fn close(&self, number: u64) -> Option<LaneBits> {
        if !self.dirty[parity(number)].any() {
            return None;
        }
        // Raise first, then take the bits. It can have been raised by a change of the whole node.
        self.open.compare_exchange(number, number + 1, SeqCst, SeqCst).ok()?;
        Some(self.dirty[parity(number)].take())
    }

    /// The next closed piece, if it belongs to batch `number`.
    pub fn next_closed(&self, number: u64) -> Option<Closed> {
        let mut closed = self.closed.lock();
        if closed.front()?.number != number {
            return None;
        }
        closed.pop_front()
    }

    /// The open number becomes this one: the caller holds every lane and has drained them.
    pub fn set_open(&self, number: u64) {
        self.open.store(number, SeqCst);
    }

    /// Moves what all lanes have recorded into closed batches, and opens the next number. The caller holds every lane,
    /// so nobody records meanwhile; the drainer may be in the middle of a batch, whose rest is among it.
    pub(super) fn collect<'a>(
        &self,
        lanes: impl Iterator<Item = &'a mut PendingLog>,
        record: Option<NodeWide>,
    ) {
        let mut batches: [(u64, Pending); 2] = Default::default();
        for lane in lanes {
            lane.let_go();
            for (buffer, (number, all)) in lane.buffers.iter_mut().zip(&mut batches) {
                if buffer.pending.entries > 0 {
                    *number = buffer.tag;
                    all.append(&mut buffer.pending);
                }
            }
        }
        batches.sort_unstable_by_key(|(number, _)| *number);
        let newest = batches[1].0;
        let mut closed = self.closed.lock();
        for (number, all) in batches {
            if all.entries > 0 {
                closed.push_back(Closed { number, part: Part::Effects(all) });
            }
        }
        loop {
            // The drainer may close the open batch at this moment; then what was in it is the rest of a batch.
            let open = self.open.load(SeqCst);
            let free = if newest == open { open + 1 } else { open };
            let next = if record.is_some() { free + 1 } else { free };
            if next == open || self.open.compare_exchange(open, next, SeqCst, SeqCst).is_ok() {
                if let Some(record) = record {
                    closed.push_back(Closed { number: free, part: Part::NodeWide(record) });
                    note_logged(free);
                }
                break;
            }
        }
        drop(closed);
        self.schedule();
    }
}

#[inline]
const fn parity(number: u64) -> usize {
    (number & 1) as usize
}

/// Encoded effects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pending {
    /// One after the other.
    pub bytes: Vec<u8>,
    /// How many.
    pub entries: u32,
}

impl Pending {
    fn append(&mut self, other: &mut Self) {
        self.bytes.append(&mut other.bytes);
        self.entries += std::mem::take(&mut other.entries);
    }
}

#[derive(Debug, Default)]
struct Buffer {
    /// The batch that its entries belong to, if it has any.
    tag: u64,
    pending: Pending,
}

/// The pending buffers of one lane; under the lane's lock.
#[derive(Debug)]
pub struct PendingLog {
    tagging: Arc<Tagging>,
    lane: usize,
    wanted: bool,
    /// The batch of what is recorded while the lane is held; 0: nothing has been yet.
    tag: u64,
    buffers: [Buffer; 2],
}

impl PendingLog {
    pub(super) fn new(lane: usize, tagging: Arc<Tagging>) -> Self {
        Self { tagging, lane, wanted: false, tag: 0, buffers: Default::default() }
    }

    /// Whether effects are recorded from now on. What waits stays: it was executed.
    pub fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether effects are recorded.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Notes an effect that was just applied.
    #[inline]
    pub fn record(&mut self, effect: &Effect<'_>) {
        if self.wanted {
            self.put(effect);
        }
    }

    fn put(&mut self, effect: &Effect<'_>) {
        if self.tag == 0 {
            self.tag = self.tagging.enter(self.lane);
        }
        let buffer = &mut self.buffers[parity(self.tag)];
        if buffer.pending.entries == 0 {
            buffer.tag = self.tag;
            buffer.pending.bytes.reserve(ROOM);
        }
        codec::encode(effect, &mut buffer.pending.bytes);
        buffer.pending.entries += 1;
    }

    /// The batch that holds what was recorded since the lane was taken; 0: nothing was.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// The lane is let go: what is recorded when it is next held may belong to another batch.
    #[inline]
    pub(super) fn let_go(&mut self) {
        if self.tag != 0 {
            note_logged(self.tag);
            self.tag = 0;
        }
    }

    /// Takes the lane's part of a batch that is closed: `copy` gets it if it is small and the buffer stays warm, else it
    /// is returned. Says with it how many entries it has.
    pub fn take(&mut self, number: u64, copy: impl FnOnce(&[u8])) -> (u32, Option<Vec<u8>>) {
        let Buffer { tag, pending } = &mut self.buffers[parity(number)];
        if pending.entries == 0 || *tag > number {
            // A change of the whole node has collected it; what is there belongs to a batch that is still open.
            return (0, None);
        }
        debug_assert_eq!(*tag, number, "lane {}: an entry missed its batch", self.lane);
        let entries = std::mem::take(&mut pending.entries);
        if pending.bytes.capacity() > ROOM_KEPT_MAX {
            return (entries, Some(std::mem::take(&mut pending.bytes)));
        }
        copy(&pending.bytes);
        pending.bytes.clear();
        (entries, None)
    }

    /// What was recorded since this was last asked, where nobody drains.
    #[cfg(test)]
    pub fn turn(&mut self) -> &mut Vec<u8> {
        let tag = if self.tag == 0 { self.tagging.open() } else { self.tag };
        let pending = &mut self.buffers[parity(tag)].pending;
        pending.entries = 0;
        &mut pending.bytes
    }
}
