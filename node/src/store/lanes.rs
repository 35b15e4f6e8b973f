//! All lanes of a node and their locks.
//!
//! An I/O worker never blocks on a lane (DESIGN 12): it tries, spins briefly, and if a long command holds the lane it
//! gives the connection up until [`Lanes::turn`] comes. Between workers the hold is microseconds, so there a worker may
//! park for a moment when the holder has been preempted.

use super::effect::NodeWide;
use super::hash::Hasher;
use super::lane::{Access, Lane, SlotTable};
use super::log::{Order, Tagging};
use super::raw::prefetch;
use super::reclaim::Reclaimer;
use capstan_proto::slot::{SLOTS, Slot};
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tokio::sync::Notify;

/// The number of lanes when nobody chose another.
pub const LANES_DEFAULT: usize = 64;
/// More lanes than this help nobody: a lane would have 16 slots.
pub const LANES_MAX: usize = 1024;
/// How often a worker looks again before it gives up on a lane.
const SPINS: usize = 128;

/// A lane and its lock, alone on its cache lines.
#[repr(align(128))]
struct Padded {
    lane: Mutex<Lane>,
    /// A long command holds the lane.
    long: AtomicBool,
    /// Told when it no longer does.
    turn: Notify,
    /// The address of the lane's slot tables, which never move: known without the lock, and only for prefetching.
    tables: usize,
}

/// A lane that is held until this is dropped.
#[allow(missing_debug_implementations)]
pub struct Held<'a> {
    lane: MutexGuard<'a, Lane>,
    padded: &'a Padded,
    long: bool,
}

impl Held<'_> {
    /// Lets a thread that is parked for the lane have it for a moment; what was read before may have changed then.
    pub fn bump(&mut self) {
        self.lane.log.let_go();
        MutexGuard::bump(&mut self.lane);
    }
}

impl Deref for Held<'_> {
    type Target = Lane;

    #[inline]
    fn deref(&self) -> &Lane {
        &self.lane
    }
}

impl DerefMut for Held<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lane.log.let_go();
        if self.long {
            // Told a moment before the lock is free: who tries at once parks for that moment.
            self.padded.long.store(false, Ordering::Release);
            self.padded.turn.notify_waiters();
        }
    }
}

/// The lanes of a node.
#[allow(missing_debug_implementations)]
pub struct Lanes {
    lanes: Box<[Padded]>,
    databases: usize,
    hasher: Hasher,
    reclaimer: Arc<Reclaimer>,
    memory: Arc<AtomicI64>,
    tagging: Arc<Tagging>,
}

/// A lane that a long command holds: wait for its [`Lanes::turn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// Which lane.
    pub lane: usize,
}

impl Lanes {
    /// `lanes` is rounded to a power of two between 1 and [`LANES_MAX`]. No slot is assigned yet.
    #[must_use]
    pub fn new(lanes: usize, databases: usize, seed: u64) -> Self {
        Self::with_order(lanes, databases, seed, Order::default())
    }

    pub(crate) fn with_order(lanes: usize, databases: usize, seed: u64, order: Order) -> Self {
        let tagging = Arc::new(Tagging::new(order));
        let lanes = lanes.clamp(1, LANES_MAX).next_power_of_two();
        let databases = databases.clamp(1, 256);
        let hasher = Hasher::seeded(seed);
        let reclaimer = Arc::new(Reclaimer::start());
        let memory = Arc::new(AtomicI64::new(0));
        let padded = |number| {
            let (hasher, reclaimer, memory) = (hasher.clone(), reclaimer.clone(), memory.clone());
            let lane = Lane::new(number, lanes, databases, hasher, reclaimer, (memory, tagging.clone()));
            let tables = lane.tables_address();
            Padded { lane: Mutex::new(lane), long: AtomicBool::new(false), turn: Notify::new(), tables }
        };
        let built = (0..lanes).map(padded).collect();
        Self { lanes: built, databases, hasher, reclaimer, memory, tagging }
    }

    /// Empty lanes like these, whose tables can be exchanged for theirs: same hashes, same accounts.
    pub(super) fn alike(&self) -> Vec<Lane> {
        let alike = |number| {
            let (hasher, reclaimer, memory) =
                (self.hasher.clone(), self.reclaimer.clone(), self.memory.clone());
            Lane::new(number, self.count(), self.databases, hasher, reclaimer, (memory, self.tagging.clone()))
        };
        (0..self.count()).map(alike).collect()
    }

    /// How many lanes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// How many databases a key can be in.
    #[must_use]
    pub const fn databases(&self) -> usize {
        self.databases
    }

    /// The lane of a slot.
    #[inline]
    #[must_use]
    pub fn of(&self, slot: Slot) -> usize {
        slot.index() & (self.lanes.len() - 1)
    }

    /// The hash of a key in its slot's table.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// What entries and tables occupy, at most 16 KiB a lane off.
    #[must_use]
    pub fn memory(&self) -> usize {
        usize::try_from(self.memory.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What was deleted and is still to be freed in the background.
    #[must_use]
    pub fn memory_pending(&self) -> usize {
        self.reclaimer.pending()
    }

    /// To be called every [`Reclaimer::TICK`]: see there.
    pub fn reclaim_tick(&self) {
        self.reclaimer.tick();
    }

    /// Free memory goes back to the system now, in the background: see [`Reclaimer::give_back`].
    pub fn give_memory_back(&self) {
        self.reclaimer.give_back();
    }

    /// Takes a lane, however long that takes: for threads that may block.
    pub fn lock(&self, lane: usize) -> Held<'_> {
        let padded = &self.lanes[lane];
        Held { lane: padded.lane.lock(), padded, long: false }
    }

    /// Takes a lane for a command that may hold it for more than a millisecond: connections give up on it until its
    /// turn. Not for I/O workers.
    pub fn lock_long(&self, lane: usize) -> Held<'_> {
        let mut held = self.lock(lane);
        held.long = true;
        held.padded.long.store(true, Ordering::Release);
        held
    }

    /// Takes a lane only if it is free at this moment.
    #[inline]
    #[must_use]
    pub fn try_lock(&self, lane: usize) -> Option<Held<'_>> {
        let padded = &self.lanes[lane];
        padded.lane.try_lock().map(|lane| Held { lane, padded, long: false })
    }

    /// Takes a lane for an I/O worker.
    #[inline]
    pub fn enter(&self, lane: usize) -> Result<Held<'_>, Busy> {
        match self.try_lock(lane) {
            Some(held) => Ok(held),
            None => self.enter_contended(lane),
        }
    }

    #[cold]
    fn enter_contended(&self, lane: usize) -> Result<Held<'_>, Busy> {
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if let Some(held) = self.try_lock(lane) {
                return Ok(held);
            }
            if self.lanes[lane].long.load(Ordering::Acquire) {
                return Err(Busy { lane });
            }
        }
        // Another worker holds it for microseconds, or was preempted holding it: parking beats spinning on.
        Ok(self.lock(lane))
    }

    /// Waits until the long command that holds a lane lets go of it.
    pub async fn turn(&self, busy: Busy) {
        let padded = &self.lanes[busy.lane];
        let turn = padded.turn.notified();
        tokio::pin!(turn);
        // Enlist first, then look: a release in between cannot be missed.
        turn.as_mut().enable();
        if padded.long.load(Ordering::Acquire) {
            turn.await;
        }
    }

    /// Takes every lane, in ascending order. May block: not for I/O workers.
    #[must_use]
    pub fn lock_all(&self) -> Vec<Held<'_>> {
        (0..self.lanes.len()).map(|lane| self.lock_long(lane)).collect()
    }

    /// The open batch and who has something in it.
    #[must_use]
    pub const fn tagging(&self) -> &Arc<Tagging> {
        &self.tagging
    }

    /// Applies a node-wide record: all lanes are held, in ascending order, which is the barrier that it needs. May
    /// block: not for I/O workers.
    pub fn apply_node_wide(&self, record: NodeWide) {
        let mut all = self.lock_all();
        self.apply_node_wide_held(all.iter_mut().map(|held| &mut **held), record);
    }

    /// As [`Self::apply_node_wide`], for a caller that holds every lane.
    pub fn apply_node_wide_held<'h>(&self, all: impl Iterator<Item = &'h mut Lane>, record: NodeWide) {
        let mut lanes: Vec<&mut Lane> = all.collect();
        lanes.iter_mut().for_each(|lane| lane.apply_node_wide(record));
        if lanes.iter().any(|lane| lane.log.is_wanted()) {
            self.tagging.collect(lanes.into_iter().map(|lane| &mut lane.log), Some(record));
        }
    }

    /// Closes the open batch, with all lanes held: nothing is recorded into it any more.
    pub fn close_batch(&self, all: &mut [Held<'_>]) {
        self.tagging.collect(all.iter_mut().map(|held| &mut held.log), None);
    }

    /// Asks for the lock and the table's head of a slot that will be looked up in a moment.
    #[inline]
    pub fn prefetch_slot(&self, slot: Slot) {
        let padded = &self.lanes[self.of(slot)];
        prefetch(padded);
        let at = padded.tables + (slot.index() >> self.lanes.len().trailing_zeros()) * size_of::<SlotTable>();
        prefetch(std::ptr::without_provenance::<SlotTable>(at));
    }

    /// The first half of a lookup, for a command that will run soon.
    #[inline]
    pub fn prefetch_entry(&self, slot: Slot, hash: u64) {
        if let Some(lane) = self.try_lock(self.of(slot)) {
            lane.prefetch_entry(slot, hash);
        }
    }

    /// Says for each slot what this node may do with it. Every affected lane is locked once before this returns, so
    /// no command that was checked against the old answer is still running (►8). May block: not for I/O workers.
    pub fn set_access(&self, access: impl Fn(Slot) -> Access) {
        for number in 0..self.lanes.len() {
            let mut lane = self.lock(number);
            for slot in (number..usize::from(SLOTS)).step_by(self.lanes.len()) {
                let Some(slot) = Slot::new(slot as u16) else { continue };
                let wanted = access(slot);
                if lane.slot(slot).access() != wanted {
                    lane.set_access(slot, wanted);
                }
            }
        }
    }
}
