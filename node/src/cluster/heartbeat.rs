//! The stream of heartbeats to the meta leader, and what its answers do to the lease.
//!
//! It decides when to send (every tenth of a TTL, and at once when something changed), and when a server that does not
//! answer is left for another. What a grant is worth is the lease's word (`lease.rs`). It runs on the control path's
//! own thread and waits for nothing but the network: no lane, script or disk can delay it (DESIGN 5).

use super::addresses;
use super::lease::{Grant, Lead, StreamNumber, Worth};
use super::life::Life;
use bytes::Bytes;
use capstan_proto::ids::{NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::v1::nodes_client::NodesClient;
use capstan_proto::rpc::{redirect, v1};
use capstan_proto::timing::{LEASE_TTL_CEILING_MS, LEASE_TTL_FLOOR_MS, heartbeat_every_ms};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Heartbeats that may wait for the connection. When it is full the connection does not move, or the next one tells
/// the news.
const QUEUE: usize = 16;
/// A server answers the request for a stream within this, or another is asked.
const OPEN_LIMIT: Duration = Duration::from_secs(1);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(50);
/// A server that has left so many heartbeats in a row unanswered is left.
const UNANSWERED_MAX: u32 = 3;
/// A watch that lags behind the grants for so many heartbeats is connected anew.
const LAG_MAX: u32 = 3;

/// Sends heartbeats until the life ends.
pub async fn run(life: Arc<Life>) {
    let mut number = 0;
    let mut said = String::new();
    loop {
        number += 1;
        let why = match open(&life).await {
            Ok(opened) => Stream::new(&life, StreamNumber(number), opened).beat().await,
            Err(why) => why,
        };
        if said != why {
            tracing::info!(why, "heartbeats go on with another connection");
            said = why;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Opened {
    address: String,
    up: mpsc::Sender<v1::HeartbeatRequest>,
    down: Streaming<v1::HeartbeatReply>,
}

async fn open(life: &Life) -> Result<Opened, String> {
    let (address, channel) = life.group.pick().map_err(|error| error.to_string())?;
    let (up, requests) = mpsc::channel(QUEUE);
    let mut client = NodesClient::new(channel);
    match tokio::time::timeout(OPEN_LIMIT, client.heartbeat(ReceiverStream::new(requests))).await {
        Ok(Ok(down)) => Ok(Opened { address, up, down: down.into_inner() }),
        Ok(Err(status)) => {
            life.group.failed(&address, &status);
            Err(format!("{address}: {}", redirect::reason(&status)))
        }
        Err(_) => {
            life.group.silent(&address);
            Err(format!("{address} does not answer"))
        }
    }
}

/// One stream to one server.
struct Stream<'a> {
    life: &'a Life,
    number: StreamNumber,
    address: String,
    up: mpsc::Sender<v1::HeartbeatRequest>,
    down: Streaming<v1::HeartbeatReply>,
    unanswered: u32,
    lagging: u32,
    refused: String,
}

impl<'a> Stream<'a> {
    fn new(life: &'a Life, number: StreamNumber, opened: Opened) -> Self {
        let Opened { address, up, down } = opened;
        Self { life, number, address, up, down, unanswered: 0, lagging: 0, refused: String::new() }
    }

    /// Sends and listens until the stream is of no use any more, and says why.
    async fn beat(mut self) -> String {
        let mut next = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            let mut due = false;
            tokio::select! {
                biased;
                () = &mut next => due = true,
                () = self.life.urge.notified() => {}
                () = self.life.report.urged() => {}
                reply = self.down.message() => {
                    match reply {
                        // The leader asks where this node stands: it hears that at once.
                        Ok(Some(reply)) if reply.ask => {}
                        Ok(Some(reply)) => {
                            self.heard(reply);
                            continue;
                        }
                        Ok(None) => {
                            self.life.group.silent(&self.address);
                            return format!("{} ended the stream", self.address);
                        }
                        Err(status) => {
                            self.life.group.failed(&self.address, &status);
                            return format!("{}: {}", self.address, redirect::reason(&status));
                        }
                    }
                }
            }
            let sent = self.send();
            if due && (self.unanswered >= UNANSWERED_MAX || !sent) {
                self.life.group.silent(&self.address);
                return format!("{} does not answer heartbeats", self.address);
            }
            if !due {
                continue;
            }
            // Only those are counted that leave time for an answer: news can come in several heartbeats at once.
            self.unanswered += 1;
            let ttl_ms = u64::try_from(self.life.ttl().as_millis()).unwrap_or(u64::MAX);
            let pause = Duration::from_millis(heartbeat_every_ms(ttl_ms));
            next = Box::pin(tokio::time::sleep(pause));
        }
    }

    /// Whether the connection took it.
    fn send(&mut self) -> bool {
        let life = self.life;
        let fresh = addresses::announced(&life.core);
        if **life.addresses.load() != fresh {
            life.addresses.store(Arc::new(fresh));
        }
        let Ok(place) = self.up.try_reserve() else { return false };
        life.note_health();
        // Numbered, and its instant noted, before the bytes leave (►4).
        let (sequence, reached, confirmed, claim) = life.with_lease(|lease, now| {
            let sequence = lease.send(self.number, now);
            (sequence, lease.reached(), lease.confirmed(), lease.claim())
        });
        let core = &life.core;
        let health = v1::Health {
            memory_bytes: core.lanes.memory() as u64,
            operations: core.stats.processed.load(Ordering::Relaxed),
            ..v1::Health::default()
        };
        place.send(v1::HeartbeatRequest {
            sequence,
            node: Bytes::copy_from_slice(&life.node.0),
            incarnation: Some((&life.incarnation).into()),
            version: Some((&reached).into()),
            confirmed: Some((&confirmed).into()),
            role: role(life, claim),
            shard: claim.map(|lead| Bytes::copy_from_slice(&lead.shard.0)).unwrap_or_default(),
            epoch: claim.map(|lead| lead.epoch.0).unwrap_or_default(),
            health: Some(health),
            addresses: Some((&**life.addresses.load()).into()),
            ..told(life, claim)
        });
        true
    }

    fn heard(&mut self, reply: v1::HeartbeatReply) {
        self.unanswered = 0;
        self.life.note_heard();
        self.life.group.leads(&self.address);
        self.life.set_ttl(reply.ttl_ms.clamp(LEASE_TTL_FLOOR_MS, LEASE_TTL_CEILING_MS));
        if self.refused != reply.refused_why {
            match reply.refused_why.as_str() {
                "" => tracing::info!("the meta leader grants again"),
                why => tracing::warn!(why, "the meta leader grants nothing"),
            }
            self.refused.clone_from(&reply.refused_why);
        }
        let grant = match reply.grant.map(grant).transpose() {
            Ok(grant) => grant,
            Err(error) => {
                tracing::error!(%error, address = self.address, "a grant that cannot be read");
                None
            }
        };
        let number = self.number;
        let (worth, reached) = self
            .life
            .with_lease(|lease, now| (lease.answered(number, reply.sequence, grant, now), lease.reached()));
        // A copy that has the version and only waits for a busy lane is no matter of the watch.
        let behind = grant.is_some_and(|grant| grant.version > reached);
        self.weigh(worth, behind);
    }

    fn weigh(&mut self, worth: Option<Worth>, behind: bool) {
        match worth {
            Some(Worth::Early) if behind => self.lagging += 1,
            Some(Worth::Early) => {}
            Some(Worth::Used(_)) | None => self.lagging = 0,
            Some(worth @ (Worth::Unasked | Worth::NotOurs | Worth::Over | Worth::GivenUp)) => {
                tracing::debug!(?worth, "a grant of no use");
            }
        }
        if self.lagging >= LAG_MAX {
            self.lagging = 0;
            self.life.rewatch.notify_one();
        }
    }
}

/// What there is to say beside the lease. The first command is told of the epoch that is claimed, and no other.
fn told(life: &Life, claim: Option<Lead>) -> v1::HeartbeatRequest {
    let report = &life.core.report;
    let told = report.told();
    let position = Some(life.core.log.last()).filter(|last| *last != Position::default());
    let now = life.core.env.clock.boot();
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let first = told.first_served.filter(|(epoch, _)| claim.is_some_and(|lead| lead.epoch == *epoch));
    v1::HeartbeatRequest {
        position: position.as_ref().map(Into::into),
        handed_over: told
            .handed_over
            .map(|over| v1::HandedOver { attempt: over.attempt.0, position: Some((&over.position).into()) }),
        whole_of: told.whole_of.map(|whole| Bytes::copy_from_slice(&whole.shard.0)).unwrap_or_default(),
        whole_epoch: told.whole_of.map(|whole| whole.epoch.0).unwrap_or_default(),
        wants_handover: report.wants_handover(),
        first_served: first
            .map(|(epoch, at)| v1::FirstServed { epoch: epoch.0, ago_us: micros(now.since(at)) }),
        held: told.held.map(|held| v1::Held {
            shard: Bytes::copy_from_slice(&held.shard.0),
            attempt: held.attempt.0,
            hold_us: micros(held.hold),
        }),
        ..v1::HeartbeatRequest::default()
    }
}

fn role(life: &Life, claim: Option<Lead>) -> u32 {
    let topology = life.core.topology.load();
    let member = topology.nodes.get(&life.node).is_some_and(|node| node.shard.is_some());
    match claim {
        Some(_) => 1,
        None if member && topology.led_by(life.node).is_none() => 2,
        None => 0,
    }
}

fn grant(grant: v1::Grant) -> Result<Grant, BadMessage> {
    Ok(Grant {
        node: NodeId::from_slice(&grant.node)?,
        incarnation: grant.incarnation.ok_or(BadMessage::Missing("incarnation"))?.try_into()?,
        lead: Lead { shard: ShardId::from_slice(&grant.shard)?, epoch: ShardEpoch(grant.epoch) },
        duration: Duration::from_millis(grant.duration_ms.min(LEASE_TTL_CEILING_MS)),
        version: grant.version.ok_or(BadMessage::Missing("version"))?.try_into()?,
    })
}
