//! A shard's log on this node: numbered batches in memory, made here by a primary or received by a replica (DESIGN 7).
//!
//! 1. Lanes record effects, tagged with the open batch (`store/log.rs`).
//! 2. [`batcher`] closes the batch, drains the lanes and seals a [`frame`].
//! 3. The frame goes to the [`ring`] and to every [`follower`] that is level; then replies that wait for it may leave
//!    (`release.rs`).
//!
//! A replica's log comes from its primary ([`Log::append_received`]); when it is promoted it goes on where that ended,
//! with a batch that opens its epoch (►12). Invariant: while a log is wanted, or a replica follows, [`Log::last`]
//! names everything that this node's data holds; a node that has served without a log says so by beginning anew.

pub mod arena;
pub mod batcher;
pub mod follower;
pub mod frame;
mod required;
pub mod ring;

pub use follower::{Follower, FollowerOut};
pub use frame::{Frame, FrameError, Kind};
pub use required::Required;
pub use ring::{EpochStart, Gone, NotNext};

use crate::store::Lanes;
use batcher::Drain;
pub use batcher::Drained;
use capstan_proto::env::Clock;
use capstan_proto::ids::{BatchNumber, Incarnation, NodeId, Position, ShardEpoch};
use capstan_proto::rules::Rules;
use follower::Slot;
use parking_lot::Mutex;
use ring::Ring;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::sync::Notify;

/// Whether effects are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Nobody would read it: nothing is logged.
    No,
    /// This node is the primary of a shard with a replica.
    Yes,
}

/// The log in memory and who follows it; one short lock.
struct Shared {
    ring: Ring,
    followers: Vec<Arc<Slot>>,
}

/// The log of the shard that this node belongs to.
#[allow(missing_debug_implementations)]
pub struct Log {
    lanes: Arc<Lanes>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    drain: Mutex<Drain>,
    /// Taken after the drain's lock if both are.
    shared: Mutex<Shared>,
    /// The newest batch whose bytes were handed to every replica that takes them.
    sent: AtomicU64,
    /// A long command holds the lane that the drain needs next.
    waits_for_lane: AtomicBool,
    /// A follower came, went, or acknowledged something.
    progress: Notify,
    required: required::Cells,
}

impl Log {
    /// An empty log over these lanes, of at most `budget` bytes.
    #[must_use]
    pub fn new(lanes: Arc<Lanes>, clock: Arc<dyn Clock>, rules: Rules, budget: usize) -> Self {
        Self {
            lanes,
            clock,
            rules,
            drain: Mutex::new(Drain::new(budget)),
            shared: Mutex::new(Shared { ring: Ring::new(budget), followers: Vec::new() }),
            sent: AtomicU64::new(0),
            waits_for_lane: AtomicBool::new(false),
            progress: Notify::new(),
            required: required::Cells::default(),
        }
    }

    /// The newest batch of this node's own log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.shared.lock().ring.last()
    }

    /// Every epoch that the log holds or has passed, oldest first; bounded.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochStart> {
        self.shared.lock().ring.starts()
    }

    /// Whether a replica whose log ends at `position` goes on from there ([`Ring::continues`], ►15).
    #[must_use]
    pub fn continues(&self, position: Position) -> bool {
        self.shared.lock().ring.continues(position, self.rules)
    }

    /// The frames behind a position, oldest first: up to `bytes_max` bytes, one at least if there is one.
    pub fn read_after(&self, position: Position, bytes_max: usize) -> Result<Vec<Frame>, Gone> {
        self.shared.lock().ring.read_after(position, bytes_max)
    }

    /// The number of the oldest frame that is held, and the bytes of all: for INFO.
    #[must_use]
    pub fn held(&self) -> (u64, usize) {
        let shared = self.shared.lock();
        (shared.ring.first(), shared.ring.bytes())
    }

    /// A replica received the next batch: number = previous + 1, epoch not older (I5). Its bytes are kept unchanged.
    pub fn append_received(&self, frame: &Frame) -> Result<(), NotNext> {
        self.shared.lock().ring.append(frame.clone())
    }

    /// A replica was copied whole: its log begins behind `at`.
    pub fn start_over(&self, at: Position, epochs: Vec<EpochStart>) {
        self.shared.lock().ring.start_over(at, epochs);
    }

    /// This many bytes are kept from now on (`repl-backlog-size`).
    pub fn set_budget(&self, budget: usize) {
        self.shared.lock().ring.set_budget(budget);
    }

    /// A new primary opens its epoch with a batch before it serves ([`ring::opening`], ►12). Blocks until no lane is held:
    /// not for I/O workers.
    pub fn open_epoch(&self, epoch: ShardEpoch) {
        self.settled(|drain, _| {
            drain.epoch = epoch;
            if let Some(position) = ring::opening(epoch, BatchNumber(drain.next), self.rules) {
                self.publish(drain, Frame::epoch_opened(position));
                self.lanes.tagging().set_open(drain.next);
            }
        });
    }

    /// Whether effects are recorded from now on. A log that goes on after a time without one has a gap, which sends
    /// every replica to a whole copy. Blocks until no lane is held: not for I/O workers.
    pub fn set_wanted(&self, wanted: Wanted) {
        self.settled(|drain, all| {
            let wanted = wanted == Wanted::Yes;
            if wanted && drain.has_gap {
                let position = Position { epoch: drain.epoch, batch: BatchNumber(drain.next) };
                self.skip(drain, position);
                self.lanes.tagging().set_open(drain.next);
            }
            drain.has_gap = !wanted;
            all.iter_mut().for_each(|lane| lane.pending_log().want(wanted));
        });
    }

    /// This node is no primary any more: nothing is recorded, nobody follows it, and its log ends with what its data
    /// holds. Without a log the data has no position: it begins anew. Blocks: not for I/O workers.
    pub fn step_down(&self) {
        self.settled(|drain, all| {
            all.iter_mut().for_each(|lane| lane.pending_log().want(false));
            let mut shared = self.shared.lock();
            shared.followers.drain(..).for_each(|slot| slot.end());
            if std::mem::take(&mut drain.has_gap) {
                shared.ring.start_over(Position::default(), Vec::new());
            }
        });
        self.progress.notify_waiters();
    }

    /// Everything that was recorded so far is sealed; says where the log ends then. Blocks: not for I/O workers.
    #[must_use]
    pub fn seal(&self) -> Position {
        self.settled(|_, _| ());
        self.last()
    }

    /// Whether everything up to this batch was handed to the replicas that take it: the gate of asynchronous replies.
    #[inline]
    #[must_use]
    pub fn is_sent(&self, batch: u64) -> bool {
        batch <= self.sent.load(SeqCst)
    }

    /// Registers a replica for direct sends. It gets nothing from the batcher before [`Follower::level_from`]. Dropped,
    /// it is gone.
    pub fn follow(self: &Arc<Self>, who: NodeId, incarnation: Incarnation, out: FollowerOut) -> Follower {
        let slot = Arc::new(Slot::new(who, incarnation, out));
        let mut shared = self.shared.lock();
        // One that came back before its old connection was given up counts once.
        shared.followers.extract_if(.., |earlier| earlier.is_of(who)).for_each(|earlier| earlier.end());
        shared.followers.push(slot.clone());
        drop(shared);
        self.progress.notify_waiters();
        Follower::new(self.clone(), slot)
    }
}

#[cfg(test)]
mod tests;
