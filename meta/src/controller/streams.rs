//! The heartbeat streams of the nodes: one a life, bounded in number and in what waits on each.
//!
//! It decides when a stream ends: a message that cannot be read, a life that opens another, silence, or this server not
//! leading any more (then the next leader is named). It refuses to judge a heartbeat.

use super::Controller;
use super::book::Report;
use crate::lease::{Heartbeat, StreamId};
use crate::planner::Said;
use crate::services::{HeartbeatReplies, Heartbeats};
use crate::state::NODES_MAX;
use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Incarnation, LeaderId, NodeId, Position, ShardEpoch, ShardId, Version};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::{redirect, v1};
use capstan_proto::topology::Addresses;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Streams at once: each node has one, and a few strangers may try.
const STREAMS_MAX: usize = NODES_MAX + 256;
/// Answers that may wait for one node's connection.
const REPLIES_MAX: usize = 8;
/// A stream on which nothing comes for so long is closed; a living node sends twice a second.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// The longest text that a heartbeat may carry.
const TEXT_MAX: usize = 512;

type Reply = Result<v1::HeartbeatReply, Status>;

struct Open {
    life: Option<(NodeId, Incarnation)>,
    replies: mpsc::Sender<Reply>,
    /// Dropped with this row: the reader ends.
    _reader: oneshot::Sender<()>,
}

/// All open streams of this server.
#[derive(Default)]
pub(super) struct Streams {
    numbered: u64,
    open: BTreeMap<StreamId, Open>,
}

impl Streams {
    fn add(&mut self, replies: mpsc::Sender<Reply>, reader: oneshot::Sender<()>) -> Option<StreamId> {
        if self.open.len() >= STREAMS_MAX {
            return None;
        }
        self.numbered += 1;
        let stream = StreamId(self.numbered);
        self.open.insert(stream, Open { life: None, replies, _reader: reader });
        Some(stream)
    }

    /// A life speaks on this stream: its earlier ones are closed, and no other life may speak on it.
    fn speaks(&mut self, stream: StreamId, life: (NodeId, Incarnation)) -> bool {
        let Some(open) = self.open.get_mut(&stream) else { return false };
        match open.life {
            Some(known) => known == life,
            None => {
                open.life = Some(life);
                self.open.retain(|other, open| *other == stream || open.life != Some(life));
                true
            }
        }
    }

    /// Sends an answer. A connection that takes none is closed: its node connects anew.
    pub(super) fn reply(&mut self, stream: StreamId, reply: v1::HeartbeatReply) {
        let taken = self.open.get(&stream).is_some_and(|open| open.replies.try_send(Ok(reply)).is_ok());
        if !taken {
            self.open.remove(&stream);
        }
    }

    /// Sends a question to the streams of these nodes. One that is full has answers waiting, so it beats anyway.
    fn ask(&mut self, nodes: &[NodeId], ask: &v1::HeartbeatReply) {
        for open in self.open.values() {
            if open.life.is_some_and(|(node, _)| nodes.contains(&node)) {
                let _ = open.replies.try_send(Ok(ask.clone()));
            }
        }
    }

    fn close(&mut self, stream: StreamId, why: Option<Status>) {
        if let (Some(open), Some(why)) = (self.open.remove(&stream), why) {
            // A connection that takes nothing more is closed all the same.
            let _ = open.replies.try_send(Err(why));
        }
    }
}

/// A heartbeat, read.
struct Beat {
    heartbeat: Heartbeat,
    /// Its number and its arrival are the taker's to fill in.
    said: Said,
    last: v1::HeartbeatRequest,
}

impl Controller {
    /// Takes one node's stream.
    pub(super) fn open_stream(
        &self,
        mine: LeaderId,
        heartbeats: Heartbeats,
    ) -> Result<HeartbeatReplies, Status> {
        let (replies, answers) = mpsc::channel(REPLIES_MAX);
        let (reader, closed) = oneshot::channel();
        let stream = self.streams.lock().add(replies, reader);
        let stream =
            stream.ok_or_else(|| Status::resource_exhausted("too many heartbeat streams are open"))?;
        let me = self.me.clone();
        tokio::spawn(async move {
            let reading = read(&me, mine, stream, heartbeats);
            let why = tokio::select! {
                biased;
                why = reading => why,
                // Closed from here, and told why already.
                _ = closed => None,
            };
            if let Some(controller) = me.upgrade() {
                controller.streams.lock().close(stream, why);
                controller.with_book(mine, |book, _| book.table.stream_closed(stream));
            }
        });
        Ok(Box::pin(ReceiverStream::new(answers)))
    }

    /// Asks lives for a heartbeat at once. Who has no stream open sends one soon anyway.
    pub(super) fn ask(&self, mine: LeaderId, nodes: &[NodeId]) {
        if nodes.is_empty() {
            return;
        }
        let ttl_ms = self.raft.state().topology().lease_ttl_ms();
        let ask = v1::HeartbeatReply { ask: true, ttl_ms, ..v1::HeartbeatReply::default() };
        if self.raft.leads() == Some(mine) {
            self.streams.lock().ask(nodes, &ask);
        }
    }

    /// This server does not lead any more: every node is told who does.
    pub(super) fn close_streams(&self) {
        let leader = self.raft.leader_address();
        let mut streams = self.streams.lock();
        for (_, open) in std::mem::take(&mut streams.open) {
            let _ = open.replies.try_send(Err(redirect::not_leader(leader.as_deref())));
        }
    }

    fn take(&self, mine: LeaderId, stream: StreamId, request: v1::HeartbeatRequest) -> Result<(), Status> {
        let beat = beat(stream, request).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let life = (beat.heartbeat.node, beat.heartbeat.incarnation);
        if !self.streams.lock().speaks(stream, life) {
            return Err(Status::invalid_argument("another life speaks on this stream"));
        }
        let not_leader = || redirect::not_leader(self.raft.leader_address().as_deref());
        if self.raft.leads() != Some(mine) {
            return Err(not_leader());
        }
        let taken = self.with_book(mine, |book, now| {
            let known = self.raft.state().topology().nodes.contains_key(&life.0);
            let mut stirs = false;
            if known {
                let refused = book.reports.remove(&life.0).map(|old| old.refused).unwrap_or_default();
                let Beat { said, last, .. } = beat;
                book.beats += 1;
                let said = Said { received: now, number: book.beats, ..said };
                stirs =
                    !book.asked.is_empty() || book.said.get(&life.0).is_none_or(|old| differs(old, &said));
                book.said.insert(life.0, said);
                book.reports.insert(life.0, Report { last, refused });
            }
            book.table.arrived(beat.heartbeat, now);
            stirs
        });
        self.heartbeat_came.notify_one();
        if taken.ok_or_else(not_leader)? {
            self.stirred.notify_one();
        }
        Ok(())
    }
}

async fn read(
    me: &std::sync::Weak<Controller>,
    mine: LeaderId,
    stream: StreamId,
    mut heartbeats: Heartbeats,
) -> Option<Status> {
    loop {
        let request = match tokio::time::timeout(SILENCE_MAX, heartbeats.next()).await {
            Ok(Some(Ok(request))) => request,
            Ok(Some(Err(_)) | None) => return None,
            Err(_) => return Some(Status::deadline_exceeded("no heartbeat came")),
        };
        let controller = me.upgrade()?;
        if let Err(why) = controller.take(mine, stream, request) {
            return Some(why);
        }
    }
}

/// Checks a heartbeat once; whatever is too long or missing refuses it (I12).
fn beat(stream: StreamId, mut last: v1::HeartbeatRequest) -> Result<Beat, BadMessage> {
    let health = last.health.take().unwrap_or_default();
    if health.busy_command.len() > TEXT_MAX {
        return Err(BadMessage::Field { field: "busy command", why: "it is too long".to_owned() });
    }
    last.health = Some(health);
    let addresses: Addresses = last.addresses.clone().unwrap_or_default().try_into()?;
    if addresses.ip.len() > TEXT_MAX || addresses.hostname.len() > TEXT_MAX {
        return Err(BadMessage::Field { field: "addresses", why: "they are too long".to_owned() });
    }
    let incarnation = last.incarnation.clone().ok_or(BadMessage::Missing("incarnation"))?;
    let confirmed: Version = last.confirmed.unwrap_or_default().try_into()?;
    let claim = match last.shard.is_empty() {
        true => None,
        false => Some((ShardId::from_slice(&last.shard)?, ShardEpoch(last.epoch))),
    };
    let incarnation: Incarnation = incarnation.try_into()?;
    let node = NodeId::from_slice(&last.node)?;
    let heartbeat = Heartbeat { stream, sequence: last.sequence, node, incarnation, claim, confirmed };
    let said = said(&last, incarnation, addresses, claim)?;
    Ok(Beat { heartbeat, said, last })
}

/// What the planner decides on.
fn said(
    last: &v1::HeartbeatRequest,
    incarnation: Incarnation,
    addresses: Addresses,
    claim: Option<(ShardId, ShardEpoch)>,
) -> Result<Said, BadMessage> {
    let handed_over = |over: &v1::HandedOver| {
        let position = over.position.ok_or(BadMessage::Missing("position"))?;
        Ok::<_, BadMessage>((AttemptId(over.attempt), Position::try_from(position)?))
    };
    let whole_of = match last.whole_of.is_empty() {
        true => None,
        false => Some((ShardId::from_slice(&last.whole_of)?, ShardEpoch(last.whole_epoch))),
    };
    let held = |held: &v1::Held| {
        Ok::<_, BadMessage>((ShardId::from_slice(&held.shard)?, AttemptId(held.attempt), held.hold_us))
    };
    let served = |first: v1::FirstServed| (ShardEpoch(first.epoch), Duration::from_micros(first.ago_us));
    Ok(Said {
        incarnation,
        received: Boot(0),
        number: 0,
        addresses,
        claim,
        position: last.position.map(Position::try_from).transpose()?,
        handed_over: last.handed_over.as_ref().map(handed_over).transpose()?,
        whole_of,
        wants_handover: last.wants_handover,
        first_served: last.first_served.map(served),
        held: last.held.as_ref().map(held).transpose()?,
    })
}

/// Whether a heartbeat says something that the acting part should hear of at once.
fn differs(old: &Said, new: &Said) -> bool {
    old.incarnation != new.incarnation
        || old.handed_over != new.handed_over
        || old.whole_of != new.whole_of
        || old.wants_handover != new.wants_handover
        || old.held != new.held
        || old.first_served.map(|(epoch, _)| epoch) != new.first_served.map(|(epoch, _)| epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_heartbeat_that_is_short_of_a_field_or_too_long_is_refused() {
        let whole = v1::HeartbeatRequest {
            sequence: 1,
            node: Bytes::from_static(&[1; 20]),
            incarnation: Some(v1::Incarnation { counter: 1, token: Bytes::from_static(&[1; 16]) }),
            ..v1::HeartbeatRequest::default()
        };
        assert!(beat(StreamId(1), whole.clone()).is_ok());
        let health = v1::Health { busy_command: "x".repeat(TEXT_MAX + 1), ..v1::Health::default() };
        for broken in [
            v1::HeartbeatRequest { node: Bytes::from_static(b"short"), ..whole.clone() },
            v1::HeartbeatRequest { incarnation: None, ..whole.clone() },
            v1::HeartbeatRequest { shard: Bytes::from_static(b"short"), ..whole.clone() },
            v1::HeartbeatRequest { health: Some(health), ..whole.clone() },
        ] {
            assert!(beat(StreamId(1), broken).is_err());
        }
    }

    #[test]
    fn a_life_that_opens_another_stream_loses_its_first_and_nobody_speaks_for_another_life() {
        let mut streams = Streams::default();
        let mut open = || {
            let (replies, answers) = mpsc::channel(1);
            let (reader, closed) = oneshot::channel();
            (streams.add(replies, reader).expect("there is room"), answers, closed)
        };
        let (first, _answers, mut closed) = open();
        let (second, _others, _closed) = open();
        let life = |counter| {
            let token = capstan_proto::ids::SpawnToken([counter as u8; 16]);
            (NodeId([1; 20]), Incarnation { counter, token })
        };
        assert!(streams.speaks(first, life(1)) && streams.speaks(first, life(1)));
        assert!(!streams.speaks(first, life(2)));
        assert!(streams.speaks(second, life(1)));
        assert!(!streams.speaks(first, life(1)));
        assert!(closed.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    }
}
