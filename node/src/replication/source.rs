//! A primary copies everything to a replica, piece by piece, under way (►21): between two pieces the lanes are free.
//!
//! Each piece is taken, and marked in the log, under one hold of its lane (`store/slot_stream.rs`); it leaves before any
//! frame that can hold its marker, because this session alone sends on the connection until the copy ends. What has been
//! sent and is not taken in yet stays within [`WINDOW`], so neither side's memory grows with the data. A replica that is
//! too slow for the log falls out of it, and starts over.

use super::WINDOW;
use super::session::{Session, SessionError};
use super::wire::{Answer, Message, Piece, Start};
use crate::cluster::life::Offload;
use crate::store::Lane;
use crate::store::slot_stream::{self, Budget, Place, Taken};
use capstan_proto::env::Boot;
use capstan_proto::ids::Position;
use capstan_proto::rules::Rule;
use capstan_proto::slot::Slot;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A line about progress is logged this often.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// A copy works so long before it rests.
const WORK: Duration = Duration::from_millis(1);
/// And rests no longer than this, whatever it waited for.
const REST_MAX: Duration = Duration::from_millis(4);

/// How far a copy is.
struct Progress {
    copy: u64,
    position: Position,
    pieces: u64,
    keys: u64,
    bytes: u64,
    keys_all: u64,
    began: Boot,
    said: Boot,
}

/// How long a copy has worked without a rest, and what clients had had executed by then.
struct Pace {
    since: Boot,
    processed: u64,
}

impl Session<'_> {
    /// Copies everything; says up to where the log was sent meanwhile.
    pub(super) async fn copy(&self) -> Result<Position, SessionError> {
        let (log, lanes) = (&self.core.log, &self.core.lanes);
        let now = self.core.env.clock.boot();
        let (copy, from, keys) = (self.core.env.random.u64(), log.last(), self.count_keys().await);
        let starts = log.epochs().iter().map(|start| -> Start { (start.epoch.0, start.first.0) }).collect();
        let answer = Message::Answer(Answer::Copy { copy, from, starts, keys });
        self.out.send(answer.to_bytes()?).await?;
        tracing::info!(replica = %self.hello.node, keys, %from, "copying everything to a replica");
        let mut progress = Progress {
            copy,
            position: from,
            pieces: 0,
            keys: 0,
            bytes: 0,
            keys_all: keys,
            began: now,
            said: now,
        };
        let mut pace = Pace { since: now, processed: 0 };
        for lane in 0..lanes.count() {
            let mut place = Place::default();
            while let Some(taken) = self.take(lane, &mut place, &progress).await {
                self.send_piece(taken, &mut progress).await?;
                self.keep_window(&mut progress).await?;
                self.rest(&mut pace).await;
            }
        }
        let end = Message::CopyEnd { copy, pieces: progress.pieces };
        self.out.send(end.to_bytes()?).await?;
        let seconds = self.core.env.clock.boot().since(now).as_secs_f64();
        let Progress { keys, bytes, .. } = progress;
        tracing::info!(replica = %self.hello.node, keys, bytes, seconds, "everything is copied to a replica");
        Ok(progress.position)
    }

    async fn count_keys(&self) -> u64 {
        let mut keys = 0;
        for number in 0..self.core.lanes.count() {
            let of_lane =
                |lane: &mut Lane| lane.databases().iter().map(|database| database.keys).sum::<u64>();
            keys += self.hold(number, of_lane).await;
        }
        keys
    }

    /// Takes a lane's next piece and marks it under the same hold (►21).
    async fn take(&self, number: usize, place: &mut Place, progress: &Progress) -> Option<Taken> {
        let mark = (progress.copy, progress.pieces);
        let under_hold = self.core.env.rules.on(Rule::MarkerBeginsCopy);
        let of_hold = under_hold.then_some(mark);
        let taken = self.hold(number, |lane| take_marked(lane, place, Budget::OF_A_HOLD, of_hold)).await?;
        let taken = if taken.is_empty() { self.take_long(number, place, of_hold).await? } else { taken };
        if !under_hold {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.hold(number, |lane| put_mark(lane, mark)).await;
        }
        Some(taken)
    }

    /// As [`Self::take`], where a collection comes that takes long: off the workers, and others wait for their turn.
    async fn take_long(&self, number: usize, place: &mut Place, mark: Option<Mark>) -> Option<Taken> {
        let (lanes, mut there) = (Arc::clone(&self.core.lanes), *place);
        let taking = Offload::of(&self.core.env).run(move || {
            let mut lane = lanes.lock_long(number);
            let taken = take_marked(&mut lane, &mut there, Budget::OF_A_LONG_HOLD, mark);
            drop(lane);
            (taken, there)
        });
        let (taken, reached) = taking.await?;
        *place = reached;
        taken
    }

    /// Holds a lane for a moment, once no long command does.
    async fn hold<T>(&self, number: usize, act: impl FnOnce(&mut Lane) -> T) -> T {
        let lanes = &self.core.lanes;
        loop {
            let busy = match lanes.enter(number) {
                Ok(mut lane) => return act(&mut lane),
                Err(busy) => busy,
            };
            lanes.turn(busy).await;
        }
    }

    async fn send_piece(&self, taken: Taken, progress: &mut Progress) -> Result<(), SessionError> {
        progress.bytes += (taken.effects.len() + 2 * taken.begins.len()) as u64;
        progress.keys += taken.keys;
        let (copy, number) = (progress.copy, progress.pieces);
        let piece = Piece { copy, number, begins: taken.begins, effects: taken.effects.into() };
        progress.pieces += 1;
        self.out.send(Message::Piece(piece).to_bytes()?).await?;
        self.say(progress);
        Ok(())
    }

    /// Sends the log as far as it is, and waits while more than a window of pieces is under way.
    async fn keep_window(&self, progress: &mut Progress) -> Result<(), SessionError> {
        loop {
            progress.position = self.catch_up(progress.position).await?;
            if progress.bytes - self.copied.load(Relaxed).min(progress.bytes) <= WINDOW {
                // Others on this worker have their turn between two pieces.
                tokio::task::yield_now().await;
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.follower.changed() => {}
                () = self.heard.notified() => {}
            }
        }
    }

    /// Leaves the processor to others for twice as long as it was used, if clients are served meanwhile: a copy that takes
    /// all of it is over sooner, and clients wait behind it.
    async fn rest(&self, pace: &mut Pace) {
        let (clock, stats) = (&self.core.env.clock, &self.core.stats);
        let worked = clock.boot().since(pace.since);
        if worked < WORK {
            return;
        }
        let processed = stats.processed.load(Relaxed);
        if processed != pace.processed {
            tokio::time::sleep((2 * worked).min(REST_MAX)).await;
        }
        *pace = Pace { since: clock.boot(), processed: stats.processed.load(Relaxed) };
    }

    fn say(&self, progress: &mut Progress) {
        let now = self.core.env.clock.boot();
        if now.since(progress.said) < SAY_EVERY {
            return;
        }
        progress.said = now;
        let seconds = now.since(progress.began).as_secs_f64();
        let left =
            progress.keys_all.saturating_sub(progress.keys) as f64 * seconds / progress.keys.max(1) as f64;
        tracing::info!(
            replica = %self.hello.node,
            keys = progress.keys,
            of = progress.keys_all,
            mib_per_second = format!("{:.1}", progress.bytes as f64 / seconds / f64::from(1 << 20)),
            seconds_left = format!("{left:.0}"),
            "copying"
        );
    }
}

/// A copy and one of its pieces.
type Mark = (u64, u64);

/// Takes a piece, and marks it if there is something in it.
fn take_marked(lane: &mut Lane, place: &mut Place, budget: Budget, mark: Option<Mark>) -> Option<Taken> {
    let taken = slot_stream::take(lane, place, budget)?;
    if let Some(mark) = mark.filter(|_| !taken.is_empty()) {
        put_mark(lane, mark);
    }
    Some(taken)
}

fn put_mark(lane: &mut Lane, (copy, piece): Mark) {
    // Any slot of the lane will do: a piece belongs to its lane.
    let slot = lane.slot_at(0).map_or_else(|| Slot::of_key(b""), |(slot, _)| slot);
    lane.mark(slot, copy, piece);
}
