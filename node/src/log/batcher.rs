//! The batcher: closes the open batch, drains the lanes that have something in it, seals it, hands it on.
//!
//! One task per node, woken by the first lane that becomes dirty; it lets the connections that are ready run once
//! (`yield_now`), so that a batch holds what all of them did, like Redis' beforeSleep. A lane that a long command holds
//! delays the batch, not the worker: the drain is a state that is taken up again when the lane's turn comes. The order
//! of raising and taking, and why tags are exact, stand in `store/log.rs`.

use super::arena::Arena;
use super::follower::{Pushed, Slot};
use super::frame::{BODY_MAX, Frame, Kind};
use super::{Log, Shared};
use crate::core::NodeCore;
use crate::store::log::{LaneBits, Part};
use crate::store::{Busy, Held};
use capstan_proto::ids::{BatchNumber, Position, ShardEpoch};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// What the drain remembers between two visits.
pub(super) struct Drain {
    /// The epoch of what is sealed.
    pub(super) epoch: ShardEpoch,
    /// The number of the next frame.
    pub(super) next: u64,
    /// Data has changed without a log since the last frame.
    pub(super) has_gap: bool,
    /// `next` is closed and being drained; else the arena is empty.
    begun: bool,
    /// The lanes still to visit for it.
    left: LaneBits,
    entries: u32,
    /// Bytes of it: more than fit into a frame are counted only.
    body: usize,
    arena: Arena,
    targets: Vec<Arc<Slot>>,
}

impl Drain {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            epoch: ShardEpoch(0),
            next: 1,
            has_gap: false,
            begun: false,
            left: LaneBits::default(),
            entries: 0,
            body: 0,
            arena: Arena::new(budget),
            targets: Vec::new(),
        }
    }

    fn begin(&mut self, left: LaneBits) {
        if !self.begun {
            self.arena.begin();
            (self.begun, self.entries, self.body) = (true, 0, 0);
        }
        self.left = left;
    }

    fn add(&mut self, entries: u32, bytes: &[u8]) {
        self.entries = self.entries.saturating_add(entries);
        self.body += bytes.len();
        if self.body <= BODY_MAX {
            self.arena.extend(bytes);
        }
    }

    /// The batch as a frame, if it is not longer than a frame can be. A number was given away for it: an empty batch is
    /// a frame too.
    fn finish(&mut self) -> Finished {
        self.begun = false;
        let position = Position { epoch: self.epoch, batch: BatchNumber(self.next) };
        if self.body > BODY_MAX {
            self.arena.abandon();
            return Finished::TooLong(position);
        }
        Finished::Frame(Frame::seal(self.arena.finish(), position, Kind::Effects, self.entries))
    }
}

enum Finished {
    Frame(Frame),
    TooLong(Position),
}

/// How far a drain came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was recorded before is in the log.
    All,
    /// A long command holds a lane: go on at its turn.
    Waiting(Busy),
    /// Somebody else is draining, who will schedule the batcher again.
    Taken,
}

impl Log {
    /// Drains until nothing waits. Never blocks for more than a worker's hold of a lane.
    pub fn drain(&self) -> Drained {
        let Some(mut drain) = self.drain.try_lock() else { return Drained::Taken };
        loop {
            if let Err(busy) = self.visit(&mut drain) {
                return Drained::Waiting(busy);
            }
            self.seal_closed(&mut drain);
            let next = drain.next;
            if self.lanes.tagging().open() != next {
                // A change of the whole node came in between: its batches are closed now.
                continue;
            }
            match self.lanes.tagging().close(next) {
                Some(left) => drain.begin(left),
                None if self.lanes.tagging().open() != next => {}
                None => return Drained::All,
            }
        }
    }

    /// The newest batch that was sent, if there is more to do and nothing but the batcher to wait for.
    #[must_use]
    pub fn work(&self) -> Option<u64> {
        let has_work = !self.waits_for_lane.load(SeqCst) && self.lanes.tagging().has_work();
        has_work.then(|| self.sent.load(SeqCst))
    }

    /// Visits the lanes that are left of the batch that is closed.
    fn visit(&self, drain: &mut Drain) -> Result<(), Busy> {
        while let Some(lane) = drain.left.first() {
            let mut held = self.lanes.enter(lane)?;
            drain.left.remove(lane);
            let number = drain.next;
            let (entries, whole) = held.pending_log().take(number, |bytes| drain.add(0, bytes));
            drop(held);
            drain.add(entries, whole.as_deref().unwrap_or_default());
        }
        Ok(())
    }

    /// Ends the batch that was drained, and those that a change of the whole node has closed.
    fn seal_closed(&self, drain: &mut Drain) {
        loop {
            let number = drain.next;
            match self.lanes.tagging().next_closed(number).map(|closed| closed.part) {
                Some(Part::Effects(pending)) => {
                    drain.begin(LaneBits::default());
                    drain.add(pending.entries, &pending.bytes);
                }
                // It stands alone under its number: nothing of a batch can have been begun.
                Some(Part::NodeWide(record)) => {
                    let position = Position { epoch: drain.epoch, batch: BatchNumber(number) };
                    self.publish(drain, Frame::node_wide(position, record));
                }
                None if drain.begun => self.finish(drain),
                None => return,
            }
        }
    }

    fn finish(&self, drain: &mut Drain) {
        match drain.finish() {
            Finished::Frame(frame) => self.publish(drain, frame),
            Finished::TooLong(position) => {
                tracing::warn!(%position, "a batch is longer than a frame can be: replicas are copied anew");
                self.skip(drain, position);
            }
        }
    }

    /// Makes a change that needs every lane, with everything that was recorded sealed before it. Blocks: not for I/O
    /// workers.
    pub(super) fn settled(&self, change: impl FnOnce(&mut Drain, &mut [Held<'_>])) {
        let mut drain = self.drain.lock();
        let mut all = self.lanes.lock_all();
        self.settle(&mut drain, &mut all);
        change(&mut drain, &mut all);
        drop((all, drain));
        // The batcher may have come by meanwhile and found the drain taken; and replies may leave.
        self.lanes.tagging().schedule();
    }

    /// Everything that was recorded becomes frames. The caller holds every lane, so nothing more can be.
    fn settle(&self, drain: &mut Drain, all: &mut [Held<'_>]) {
        let tagging = self.lanes.tagging();
        self.lanes.close_batch(all);
        // What was left of a batch in the middle is among the closed.
        drain.left = LaneBits::default();
        self.seal_closed(drain);
        // Whatever this node was meanwhile, its log goes on where it ends: a replica's was received, or copied.
        drain.next = self.shared.lock().ring.last().batch.0 + 1;
        tagging.set_open(drain.next);
    }

    /// The log gets a new end: everybody who takes frames directly is sent it, the others are told.
    pub(super) fn publish(&self, drain: &mut Drain, frame: Frame) {
        let number = frame.number();
        let mut targets = std::mem::take(&mut drain.targets);
        {
            let mut shared = self.shared.lock();
            let Shared { ring, followers } = &mut *shared;
            if let Err(error) = ring.append(frame.clone()) {
                // Cannot be: numbers are given here. Whoever follows must not go on from a hole.
                tracing::error!(%error, "the log's own frame does not follow");
                ring.skip_to(frame.position());
            }
            targets.extend(followers.iter().cloned());
        }
        // The order in which a follower gets frames is kept by the drain's lock, not by that of the log.
        for slot in targets.drain(..) {
            match slot.push(&frame) {
                Pushed::Taken => {}
                Pushed::NotLevel | Pushed::Blocked | Pushed::Fallen => slot.tell(),
            }
        }
        drain.targets = targets;
        drain.next = number + 1;
        self.sent.store(number, SeqCst);
        self.progress.notify_waiters();
    }

    /// A number without a frame: whoever is not past it needs a copy.
    pub(super) fn skip(&self, drain: &mut Drain, position: Position) {
        let mut shared = self.shared.lock();
        shared.ring.skip_to(position);
        shared.followers.iter().for_each(|slot| slot.fall());
        drop(shared);
        drain.next = position.batch.0 + 1;
        self.sent.store(position.batch.0, SeqCst);
        self.progress.notify_waiters();
    }
}

/// Drains whenever something was recorded, and lets the replies go that waited for it. Runs until it is dropped.
pub async fn run(core: Arc<NodeCore>) {
    let tagging = core.lanes.tagging().clone();
    loop {
        tagging.scheduled().await;
        // What is ready to run records into the same batch.
        tokio::task::yield_now().await;
        tagging.unschedule();
        while let Drained::Waiting(busy) = core.log.drain() {
            core.release(core.log.sent());
            core.log.waits_for_lane.store(true, SeqCst);
            core.lanes.turn(busy).await;
            core.log.waits_for_lane.store(false, SeqCst);
        }
        core.release(core.log.sent());
    }
}
