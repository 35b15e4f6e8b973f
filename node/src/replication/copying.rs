//! A whole copy on its way into a shadow (►21), beside the old data, which goes on answering.
//!
//! A piece waits until its marker comes by in the log. The copy is complete when the primary has said how many pieces
//! there are and every one of them is in. The frames that came meanwhile are kept, the newest within [`RECENT_MAX`]: they
//! become this node's own log, so that other replicas can go on from here after a promotion.

use super::standing::CopyProgress;
use super::wire::{Piece, Start};
use super::{WINDOW, receiver::LinkError};
use crate::log::frame::{Frame, Kind};
use crate::log::{EpochStart, Log};
use crate::store::shadow::Shadow;
use crate::store::{Change, Lanes};
use capstan_proto::env::Boot;
use capstan_proto::ids::{BatchNumber, Position, ShardEpoch};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes of frames that are kept for this node's own log.
const RECENT_MAX: usize = 8 << 20;
/// A line about progress is logged this often.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// The copy.
pub(super) struct Copying {
    copy: u64,
    shadow: Shadow,
    waiting: BTreeMap<u64, Piece>,
    waiting_bytes: u64,
    taken_in: u64,
    pieces: Option<u64>,
    position: Position,
    /// The log of this node will begin behind this.
    kept_behind: Position,
    starts: Vec<EpochStart>,
    recent: VecDeque<Frame>,
    recent_bytes: usize,
    progress: CopyProgress,
    began: Boot,
    said: Boot,
}

impl Copying {
    pub(super) fn new(
        lanes: &Lanes,
        (copy, from, starts, keys): (u64, Position, Vec<Start>, u64),
        now: Boot,
    ) -> Self {
        let start = |(epoch, first)| EpochStart { epoch: ShardEpoch(epoch), first: BatchNumber(first) };
        tracing::info!(from = %from, keys, "taking in a whole copy from the primary");
        Self {
            copy,
            shadow: Shadow::of(lanes),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            taken_in: 0,
            pieces: None,
            position: from,
            kept_behind: from,
            starts: starts.into_iter().map(start).collect(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            progress: CopyProgress { keys_expected: keys, ..CopyProgress::default() },
            began: now,
            said: now,
        }
    }

    pub(super) const fn progress(&self) -> CopyProgress {
        self.progress
    }

    /// A piece came: it waits for its marker.
    pub(super) fn piece(&mut self, piece: Piece) -> Result<(), LinkError> {
        if piece.copy != self.copy || piece.number < self.taken_in {
            return Err(LinkError::OutOfPlace("a piece of another copy"));
        }
        // The primary keeps a window; one piece may be larger than that by itself.
        if self.waiting_bytes > WINDOW {
            return Err(LinkError::OutOfPlace("more pieces than the window takes"));
        }
        self.waiting_bytes += size(&piece);
        match self.waiting.insert(piece.number, piece) {
            None => Ok(()),
            Some(_) => Err(LinkError::OutOfPlace("a piece that came already")),
        }
    }

    /// The primary says how many pieces there are.
    pub(super) fn ends_after(&mut self, copy: u64, pieces: u64) -> Result<(), LinkError> {
        if copy != self.copy {
            return Err(LinkError::OutOfPlace("the end of another copy"));
        }
        self.pieces = Some(pieces);
        Ok(())
    }

    /// The next frame of the log.
    pub(super) fn frame(&mut self, frame: Frame) -> Result<(), LinkError> {
        let (last, got) = (self.position, frame.position());
        if got.batch != last.batch.next() || got.epoch < last.epoch {
            return Err(LinkError::NotNext(crate::log::NotNext { last, got }));
        }
        match frame.kind() {
            Kind::Effects => self.effects(&frame)?,
            Kind::NodeWide => self.shadow.apply_node_wide(frame.whole_node_change()?),
            Kind::EpochOpened => {}
        }
        self.position = got;
        self.keep(frame);
        Ok(())
    }

    fn effects(&mut self, frame: &Frame) -> Result<(), LinkError> {
        for effect in frame.entries() {
            let effect = effect?;
            if let Change::Marker { copy, piece } = effect.change {
                if copy == self.copy {
                    self.take_in(piece)?;
                }
            } else {
                self.shadow.apply(&effect);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, number: u64) -> Result<(), LinkError> {
        let Some(piece) = self.waiting.remove(&number) else {
            return Err(LinkError::OutOfPlace("a marker came before its piece"));
        };
        self.shadow.take_in(&piece.begins, &piece.effects).map_err(LinkError::Entry)?;
        self.taken_in += 1;
        self.waiting_bytes -= size(&piece);
        self.progress.bytes += size(&piece);
        self.progress.keys = self.shadow.keys();
        Ok(())
    }

    fn keep(&mut self, frame: Frame) {
        self.recent_bytes += frame.bytes().len();
        self.recent.push_back(frame);
        while self.recent_bytes > RECENT_MAX {
            let Some(gone) = self.recent.pop_front() else { break };
            self.recent_bytes -= gone.bytes().len();
            self.kept_behind = gone.position();
            let last = self.starts.last().map_or(ShardEpoch(0), |start| start.epoch);
            if gone.position().epoch > last {
                let (epoch, first) = (gone.position().epoch, gone.position().batch);
                self.starts.push(EpochStart { epoch, first });
            }
        }
    }

    /// Whether everything is in.
    pub(super) fn is_complete(&self) -> bool {
        self.pieces == Some(self.taken_in) && self.waiting.is_empty()
    }

    /// Puts the copy in the place of the data, and the log that goes with it in the place of the log, behind one barrier.
    /// Blocks.
    pub(super) fn swap(self, lanes: &Lanes, log: &Log, now: Boot) -> Result<Position, LinkError> {
        if !self.shadow.has_every_slot() {
            return Err(LinkError::OutOfPlace("the end of a copy that lacks slots"));
        }
        let Self { shadow, recent, kept_behind, starts, position, progress, began, .. } = self;
        let appended = shadow.swap_into(lanes, || {
            log.start_over(kept_behind, starts);
            recent.iter().try_for_each(|frame| log.append_received(frame))
        });
        appended.map_err(LinkError::NotNext)?;
        let seconds = now.since(began).as_secs_f64();
        let (keys, bytes) = (progress.keys, progress.bytes);
        tracing::info!(%position, keys, bytes, seconds, "the whole copy is complete and in force");
        Ok(position)
    }

    /// Logs how far it has come, now and then.
    pub(super) fn say(&mut self, now: Boot) {
        if now.since(self.said) < SAY_EVERY {
            return;
        }
        self.said = now;
        let seconds = now.since(self.began).as_secs_f64();
        let CopyProgress { keys, keys_expected, bytes } = self.progress;
        tracing::info!(
            keys,
            of = keys_expected,
            mib_per_second = format!("{:.1}", bytes as f64 / seconds / f64::from(1 << 20)),
            seconds_left = format!("{:.0}", seconds_left(keys, keys_expected, seconds)),
            "whole copy"
        );
    }
}

fn size(piece: &Piece) -> u64 {
    (piece.effects.len() + 2 * piece.begins.len()) as u64
}

/// At the pace so far.
fn seconds_left(done: u64, all: u64, seconds: f64) -> f64 {
    if done == 0 { f64::INFINITY } else { all.saturating_sub(done) as f64 * seconds / done as f64 }
}
