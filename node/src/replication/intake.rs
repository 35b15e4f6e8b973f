//! What a replica does with what its primary sends: keep it, apply it, say how far it came.
//!
//! A frame is appended to this node's own log, which demands the next number and no older epoch (I6), and then applied;
//! during a copy it goes to the shadow instead (`copying.rs`). A frame of another epoch than the one that this link was
//! opened under is refused (I5). An entry that cannot be applied makes the data a prefix of nothing: it is complete no
//! more, and the next link asks for a whole copy.

use super::apply;
use super::copying::Copying;
use super::receiver::{LinkError, Target};
use super::wire::{Ack, Answer, Message, Received};
use crate::cluster::life::Offload;
use crate::cluster::report::WholeOf;
use crate::core::NodeCore;
use crate::log::frame::{Frame, Kind};
use capstan_proto::ids::Position;
use std::sync::Arc;

/// What the link is in.
enum State {
    /// The primary has not answered yet.
    Asked,
    /// Frames are appended and applied; behind `level` the data is complete for this epoch, if that is not said yet.
    Following { level: Option<Position> },
    /// They go to a shadow.
    Copying(Box<Copying>),
}

/// One link's incoming side.
pub(super) struct Intake<'a> {
    core: &'a Arc<NodeCore>,
    target: Target,
    state: State,
    copied: u64,
    /// The primary has asked for an acknowledgement.
    asked: bool,
}

impl<'a> Intake<'a> {
    pub(super) const fn new(core: &'a Arc<NodeCore>, target: Target) -> Self {
        Self { core, target, state: State::Asked, copied: 0, asked: false }
    }

    /// How far this replica has come: batches count only where they are applied to data that is in force.
    pub(super) fn ack(&self) -> Ack {
        let number = match &self.state {
            State::Following { .. } => self.core.log.last().batch.0,
            State::Asked | State::Copying(_) => 0,
        };
        Ack { number, clock_ms: super::standing::clock_ms(self.core), copied: self.copied }
    }

    /// Whether the primary has asked for an acknowledgement since this was last called.
    pub(super) const fn take_ask(&mut self) -> bool {
        std::mem::replace(&mut self.asked, false)
    }

    /// Takes in one thing that came.
    pub(super) async fn take(&mut self, received: Received) -> Result<(), LinkError> {
        match received {
            Received::Frame(frame) => self.frame(frame).await,
            Received::Message(Message::Answer(answer)) => self.answer(answer),
            Received::Message(Message::Piece(piece)) => self.copying()?.piece(piece),
            Received::Message(Message::CopyEnd { copy, pieces }) => {
                self.copying()?.ends_after(copy, pieces)?;
                self.complete().await
            }
            Received::Message(Message::Echo { clock_ms }) => {
                self.core.replication.with_link(|link| link.echoed_ms = link.echoed_ms.max(clock_ms));
                Ok(())
            }
            Received::Message(Message::Ask) => {
                self.asked = true;
                Ok(())
            }
            Received::Message(Message::Hello(_) | Message::Ack(_)) => {
                Err(LinkError::OutOfPlace("a message of a replica"))
            }
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), LinkError> {
        if !matches!(self.state, State::Asked) {
            return Err(LinkError::OutOfPlace("a second answer"));
        }
        match answer {
            Answer::Continue { level } => {
                self.state = State::Following { level: Some(level) };
                self.reach();
            }
            Answer::Copy { copy, from, starts, keys } => {
                let now = self.core.env.clock.boot();
                let copying = Copying::new(&self.core.lanes, (copy, from, starts, keys), now);
                self.core.replication.with_link(|link| link.copying = Some(copying.progress()));
                self.state = State::Copying(Box::new(copying));
            }
            Answer::Refused(refusal) => return Err(LinkError::Refused(refusal)),
        }
        self.core.replication.with_link(|link| link.up = true);
        Ok(())
    }

    fn copying(&mut self) -> Result<&mut Copying, LinkError> {
        match &mut self.state {
            State::Copying(copying) => Ok(copying),
            State::Asked | State::Following { .. } => Err(LinkError::OutOfPlace("a part of no copy")),
        }
    }

    async fn frame(&mut self, frame: Frame) -> Result<(), LinkError> {
        if frame.position().epoch > self.target.epoch {
            return Err(LinkError::NewerEpoch(frame.position()));
        }
        match &mut self.state {
            State::Asked => Err(LinkError::OutOfPlace("a frame before the answer")),
            State::Following { .. } => {
                self.core.log.append_received(&frame).map_err(LinkError::NotNext)?;
                self.apply(&frame).await?;
                self.reach();
                Ok(())
            }
            State::Copying(copying) => {
                copying.frame(frame)?;
                copying.say(self.core.env.clock.boot());
                let progress = copying.progress();
                self.copied = progress.bytes;
                self.core.replication.with_link(|link| link.copying = Some(progress));
                self.complete().await
            }
        }
    }

    async fn apply(&self, frame: &Frame) -> Result<(), LinkError> {
        let lanes = &self.core.lanes;
        match frame.kind() {
            Kind::EpochOpened => Ok(()),
            Kind::NodeWide => {
                let record = frame.whole_node_change().map_err(|error| self.distrust(error.into()))?;
                let lanes = Arc::clone(lanes);
                let applied = Offload::of(&self.core.env).run(move || lanes.apply_node_wide(record)).await;
                applied.ok_or(LinkError::Stopping)
            }
            Kind::Effects => {
                let applied = apply::body(lanes, frame.body()).await;
                applied.map_err(|unfinished| self.distrust(LinkError::Unfinished(unfinished)))
            }
        }
    }

    /// A batch that is in the log could not be applied as a whole: the data is no longer what the log says.
    fn distrust(&self, error: LinkError) -> LinkError {
        tracing::error!(%error, "a batch that cannot be applied: this replica needs a whole copy");
        self.core.log.start_over(Position::default(), Vec::new());
        self.core.report.set_whole_of(None);
        error
    }

    /// Says once that the data is complete for this epoch, when that is so.
    fn reach(&mut self) {
        if let State::Following { level } = &mut self.state
            && level.is_some_and(|level| self.core.log.last() >= level)
        {
            *level = None;
            let Target { shard, epoch, .. } = self.target;
            tracing::info!(position = %self.core.log.last(), %epoch, "this replica holds everything");
            self.core.report.set_whole_of(Some(WholeOf { shard, epoch }));
        }
    }

    /// Swaps the copy in, if it is complete.
    async fn complete(&mut self) -> Result<(), LinkError> {
        if !matches!(&self.state, State::Copying(copying) if copying.is_complete()) {
            return Ok(());
        }
        let State::Copying(copying) = std::mem::replace(&mut self.state, State::Asked) else { return Ok(()) };
        let core = Arc::clone(self.core);
        let now = core.env.clock.boot();
        let swapped =
            Offload::of(&self.core.env).run(move || copying.swap(&core.lanes, &core.log, now)).await;
        let position = swapped.ok_or(LinkError::Stopping)??;
        self.core.replication.with_link(|link| link.copying = None);
        self.state = State::Following { level: Some(position) };
        self.reach();
        Ok(())
    }
}
