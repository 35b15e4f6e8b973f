//! The in-memory log: the newest frames within a budget of bytes, and the starts of the epochs that the log has passed.
//!
//! It decides which positions are a prefix of this log (I6) and which frame may follow (I5): number = previous + 1, epoch
//! not below the previous one. The intuition: a position names everything before it, so a log that has begun epoch e at
//! number f holds the position (e, n) exactly if f <= n and n lies before the next epoch's start. Pure: its caller locks it.

use super::frame::Frame;
use capstan_proto::ids::{BatchNumber, Position, ShardEpoch};
use capstan_proto::rules::{Rule, Rules};
use std::collections::VecDeque;

/// So many epoch starts are remembered; a position in an older epoch is no prefix that can be shown.
pub const EPOCHS_MAX: usize = 64;

/// Where an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: ShardEpoch,
    /// The number of its first batch.
    pub first: BatchNumber,
}

/// The log does not hold what follows a position any more, or that position is not its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Too far back: copy everything.
    #[error("the log begins behind {0}")]
    TooOld(Position),
    /// Another history (I6).
    #[error("{0} is no prefix of this log")]
    Diverged(Position),
}

/// A frame that cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{got} cannot follow {last}")]
pub struct NotNext {
    /// The newest that is there.
    pub last: Position,
    /// What came.
    pub got: Position,
}

/// The batch with which a new primary opens its epoch, even an empty one, before it serves (►12): from then on its position is
/// above everything that the epochs before it have made. `next` is the number that its log goes on with.
#[must_use]
pub const fn opening(epoch: ShardEpoch, next: BatchNumber, rules: Rules) -> Option<Position> {
    if rules.on(Rule::EpochOpensWithBatch) { Some(Position { epoch, batch: next }) } else { None }
}

/// The newest part of a log.
///
/// # Invariants
/// - `frames` are numbered without a gap and end at `last`; `first` is the number that the oldest has or the next will.
/// - `starts` has growing epochs and non-decreasing numbers, and its last epoch is that of `last` unless it is empty.
#[derive(Debug)]
pub struct Ring {
    frames: VecDeque<Frame>,
    first: u64,
    last: Position,
    starts: VecDeque<EpochStart>,
    bytes: usize,
    budget: usize,
}

impl Ring {
    /// An empty log that has not begun.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            first: 1,
            last: Position::default(),
            starts: VecDeque::new(),
            bytes: 0,
            budget,
        }
    }

    /// The newest batch; (0, 0) before the first.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.last
    }

    /// What the frames that are held occupy.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number from which on frames are held.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Every epoch that the log has begun, oldest first.
    #[must_use]
    pub fn starts(&self) -> Vec<EpochStart> {
        self.starts.iter().copied().collect()
    }

    /// From now on this many bytes are kept.
    pub fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
        self.trim();
    }

    /// Whether the log up to `position` is a prefix of this one (I6).
    #[must_use]
    pub fn agrees(&self, position: Position) -> bool {
        if position == Position::default() {
            return true;
        }
        let number = position.batch;
        let Some(at) = self.starts.iter().position(|start| start.epoch == position.epoch) else {
            return false;
        };
        let begun = self.starts.get(at).is_some_and(|start| start.first <= number);
        // The numbers of an epoch end before the next one's begin.
        let ended = self.starts.get(at + 1).map_or(number > self.last.batch, |next| number >= next.first);
        begun && !ended
    }

    /// Whether a replica whose log ends at `position` goes on from there: its log is a prefix of this one (►15). A log that has
    /// not begun never is: the data that goes with it may be anything.
    #[must_use]
    pub fn continues(&self, position: Position, rules: Rules) -> bool {
        position != Position::default() && (self.agrees(position) || !rules.on(Rule::TailIsNotContinued))
    }

    /// The frames behind a position, oldest first: up to `bytes_max` bytes, but one at least if there is one.
    pub fn read_after(&self, position: Position, bytes_max: usize) -> Result<Vec<Frame>, Gone> {
        if !self.agrees(position) {
            return Err(Gone::Diverged(position));
        }
        let next = position.batch.0.saturating_add(1);
        let Some(skip) = next.checked_sub(self.first) else { return Err(Gone::TooOld(position)) };
        let mut bytes = 0;
        let wanted = self.frames.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let fits = |frame: &&Frame| {
            let first = bytes == 0;
            bytes += frame.bytes().len();
            first || bytes <= bytes_max
        };
        Ok(wanted.take_while(fits).cloned().collect())
    }

    /// Adds the next frame; its bytes stay as they are.
    pub fn append(&mut self, frame: Frame) -> Result<(), NotNext> {
        let (last, got) = (self.last, frame.position());
        if got.batch.0 != last.batch.0.saturating_add(1) || got.epoch < last.epoch {
            return Err(NotNext { last, got });
        }
        self.reach(got);
        self.bytes += frame.bytes().len();
        self.frames.push_back(frame);
        self.trim();
        Ok(())
    }

    /// The log goes on at `position`, and what led there is not in it: whoever is not there yet needs a copy.
    pub fn skip_to(&mut self, position: Position) {
        self.frames.clear();
        self.bytes = 0;
        self.first = position.batch.0.saturating_add(1);
        self.reach(position);
    }

    /// Everything is forgotten; the log begins behind `at`, and has passed these epochs.
    pub fn start_over(&mut self, at: Position, epochs: Vec<EpochStart>) {
        self.frames.clear();
        self.bytes = 0;
        self.first = at.batch.0.saturating_add(1);
        self.last = at;
        self.starts = epochs.into();
        self.starts.retain(|start| start.epoch <= at.epoch && start.first <= at.batch);
        if self.starts.back().is_none_or(|start| start.epoch != at.epoch) && at != Position::default() {
            self.starts.push_back(EpochStart { epoch: at.epoch, first: at.batch });
        }
        self.forget_old_epochs();
    }

    fn reach(&mut self, position: Position) {
        if self.starts.back().is_none_or(|start| start.epoch < position.epoch) {
            self.starts.push_back(EpochStart { epoch: position.epoch, first: position.batch });
            self.forget_old_epochs();
        }
        self.last = position;
    }

    fn forget_old_epochs(&mut self) {
        while self.starts.len() > EPOCHS_MAX {
            self.starts.pop_front();
        }
    }

    /// The newest frame stays whatever its size: replicas that are level have not got it yet.
    fn trim(&mut self) {
        while self.bytes > self.budget && self.frames.len() > 1 {
            if let Some(gone) = self.frames.pop_front() {
                self.bytes -= gone.bytes().len();
                self.first += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn at(epoch: u64, batch: u64) -> Position {
        Position { epoch: ShardEpoch(epoch), batch: BatchNumber(batch) }
    }

    fn frame(epoch: u64, batch: u64, body: usize) -> Frame {
        let mut room = BytesMut::zeroed(super::super::frame::HEAD);
        room.resize(super::super::frame::HEAD + body, 1);
        Frame::seal(room, at(epoch, batch), super::super::frame::Kind::Effects, 0)
    }

    fn numbers(frames: &[Frame]) -> Vec<u64> {
        frames.iter().map(Frame::number).collect()
    }

    #[test]
    fn a_frame_follows_only_if_its_number_is_the_next_and_its_epoch_not_older() {
        let mut ring = Ring::new(1 << 20);
        ring.append(frame(3, 1, 5)).expect("the first");
        for wrong in [(3, 1), (3, 3), (2, 2)] {
            let refused = ring.append(frame(wrong.0, wrong.1, 5));
            assert_eq!(refused, Err(NotNext { last: at(3, 1), got: at(wrong.0, wrong.1) }));
        }
        ring.append(frame(5, 2, 5)).expect("a newer epoch");
        assert_eq!(ring.last(), at(5, 2));
    }

    #[test]
    fn a_position_is_a_prefix_if_its_epoch_had_that_number_here() {
        let mut ring = Ring::new(1 << 20);
        for (epoch, batch) in [(1, 1), (1, 2), (4, 3), (4, 4), (4, 5)] {
            ring.append(frame(epoch, batch, 5)).expect("in order");
        }
        for good in [(0, 0), (1, 1), (1, 2), (4, 3), (4, 5)] {
            assert!(ring.agrees(at(good.0, good.1)), "{good:?}");
        }
        // (1, 3) is a tail that the primary of epoch 4 has never seen; (4, 6) is ahead; epoch 2 never was here.
        for diverged in [(1, 3), (4, 2), (4, 6), (2, 2), (5, 6)] {
            assert!(!ring.agrees(at(diverged.0, diverged.1)), "{diverged:?}");
            let gone = Gone::Diverged(at(diverged.0, diverged.1));
            assert_eq!(ring.read_after(at(diverged.0, diverged.1), 9), Err(gone));
        }
    }

    #[test]
    fn the_oldest_frames_leave_when_the_budget_is_used_up_and_the_newest_stays_whatever_its_size() {
        let mut ring = Ring::new(300);
        for batch in 1..=10 {
            ring.append(frame(1, batch, 60)).expect("in order");
        }
        assert!(ring.bytes() <= 300 && ring.first() == 8);
        assert_eq!(ring.read_after(at(1, 6), 1000), Err(Gone::TooOld(at(1, 6))));
        assert_eq!(numbers(&ring.read_after(at(1, 7), 1000).expect("held")), [8, 9, 10]);
        ring.append(frame(1, 11, 5000)).expect("in order");
        assert_eq!(numbers(&ring.read_after(at(1, 10), 10).expect("held")), [11]);
        assert_eq!(ring.read_after(at(1, 11), 10), Ok(vec![]));
    }

    #[test]
    fn reading_ends_at_the_bytes_that_are_wanted_but_gives_one_frame_at_least() {
        let mut ring = Ring::new(1 << 20);
        (1..=4).for_each(|batch| ring.append(frame(1, batch, 60)).expect("in order"));
        for (most, want) in [(1, 1), (100, 1), (200, 2), (299, 2), (1000, 4)] {
            assert_eq!(ring.read_after(Position::default(), most).expect("held").len(), want, "{most}");
        }
    }

    #[test]
    fn a_log_that_skips_a_number_sends_everybody_behind_it_to_a_copy() {
        let mut ring = Ring::new(1 << 20);
        (1..=4).for_each(|batch| ring.append(frame(1, batch, 5)).expect("in order"));
        ring.skip_to(at(1, 5));
        assert_eq!(ring.read_after(at(1, 4), 100), Err(Gone::TooOld(at(1, 4))));
        assert_eq!(ring.read_after(at(1, 5), 100), Ok(vec![]));
        ring.append(frame(1, 6, 5)).expect("goes on");
        assert_eq!(numbers(&ring.read_after(at(1, 5), 100).expect("held")), [6]);
    }

    #[test]
    fn a_copied_log_begins_behind_its_position_with_the_epochs_of_its_source() {
        let mut ring = Ring::new(1 << 20);
        ring.append(frame(1, 1, 5)).expect("the first");
        let starts = vec![
            EpochStart { epoch: ShardEpoch(2), first: BatchNumber(1) },
            EpochStart { epoch: ShardEpoch(6), first: BatchNumber(40) },
            EpochStart { epoch: ShardEpoch(9), first: BatchNumber(70) },
        ];
        ring.start_over(at(6, 50), starts);
        assert_eq!(ring.last(), at(6, 50));
        assert!(ring.agrees(at(2, 39)) && ring.agrees(at(6, 40)) && !ring.agrees(at(2, 40)));
        assert_eq!(ring.starts().len(), 2, "an epoch behind the position is not in the copy");
        ring.append(frame(9, 51, 5)).expect("goes on");
        ring.start_over(Position::default(), Vec::new());
        assert!(ring.starts().is_empty() && ring.append(frame(1, 1, 5)).is_ok());
    }

    proptest! {
        /// Two logs that share a history up to a fork: the longest common prefix is what both agree on (I6).
        #[test]
        fn a_replica_continues_exactly_if_its_log_is_a_prefix(
            shared in 0u64..20, ours in 0u64..20, theirs in 0u64..20, epochs in proptest::collection::vec(1u64..4, 60)
        ) {
            let (mut mine, mut other) = (Ring::new(1 << 20), Ring::new(1 << 20));
            let mut epoch = 1;
            for batch in 1..=shared {
                epoch += epochs[batch as usize] / 3;
                mine.append(frame(epoch, batch, 1)).expect("in order");
                other.append(frame(epoch, batch, 1)).expect("in order");
            }
            // After a fork each epoch has one primary: the two never use the same one again.
            (0..ours).for_each(|i| mine.append(frame(epoch + 1, shared + 1 + i, 1)).expect("in order"));
            (0..theirs).for_each(|i| other.append(frame(epoch + 2, shared + 1 + i, 1)).expect("in order"));
            for batch in 1..=shared + theirs {
                let read = other.read_after(Position::default(), usize::MAX).expect("held");
                let position = read[batch as usize - 1].position();
                prop_assert_eq!(mine.agrees(position), batch <= shared);
            }
        }
    }
}
