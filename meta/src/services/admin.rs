//! The Admin service: what people and their scripts ask of the group.
//!
//! A change carries a request id of its sender and is done once, however often it is sent. A server that does not lead
//! names the one that does. An unknown outcome is said to be unknown ([`tonic::Code::Unknown`]); the same request id
//! asks again. Reads that must not be stale are confirmed by a quorum first.

use super::{FailoverKind, FailoverWish, read_status, refused};
use crate::host::{Host, Seated};
use crate::members::{self, Change};
use crate::state::{Body, Command, Done, Draining, Event, JoinRole, Outcome, Rejection, SlotRange};
use capstan_proto::ids::{LeaderId, NodeId, RequestId, ShardId, Version};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::{redirect, v1};
use capstan_proto::topology::SlotRun;
use std::sync::Arc;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

/// Events in one answer.
const EVENTS_MAX: usize = 10_000;

pub(crate) struct AdminService {
    host: Arc<Host>,
    /// Held by the one change of the members that is under way.
    changing: Mutex<()>,
}

impl AdminService {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, changing: Mutex::default() }
    }
}

fn bad(why: impl std::fmt::Display) -> Status {
    Status::invalid_argument(why.to_string())
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Status> {
    RequestId::from_slice(bytes).map_err(bad)
}

/// The command that a verb asks for, whatever the leader knows beside the state.
fn body(verb: v1::Verb) -> Result<Body, Status> {
    let verb = verb.verb.ok_or_else(|| bad("a request without a verb that this version knows"))?;
    Ok(match verb {
        v1::verb::Verb::Join(join) => {
            let node = NodeId::from_slice(&join.node).map_err(bad)?;
            let role = match join.shard {
                Some(shard) => JoinRole::Replica { shard: ShardId::from_slice(&shard).map_err(bad)? },
                None => JoinRole::Primary { new_shard: ShardId::from_slice(&join.new_shard).map_err(bad)? },
            };
            Body::Join { node, role }
        }
        v1::verb::Verb::AddSlots(add) => {
            let range = |run: v1::SlotRun| {
                let run = SlotRun::try_from(run)?;
                Ok(SlotRange { first: run.first, last: run.last })
            };
            let ranges: Result<Vec<SlotRange>, BadMessage> = add.runs.into_iter().map(range).collect();
            let shard = ShardId::from_slice(&add.shard).map_err(bad)?;
            Body::AddSlots { shard, ranges: ranges.map_err(bad)? }
        }
        v1::verb::Verb::Replicate(replicate) => Body::Replicate {
            node: NodeId::from_slice(&replicate.node).map_err(bad)?,
            shard: ShardId::from_slice(&replicate.shard).map_err(bad)?,
        },
        v1::verb::Verb::SetSetting(setting) => Body::SetSetting { name: setting.name, value: setting.value },
        v1::verb::Verb::Drain(drain) => Body::Drain {
            node: NodeId::from_slice(&drain.node).map_err(bad)?,
            what: if drain.end { Draining::Ends } else { Draining::Begins },
        },
        v1::verb::Verb::Failover(_) => return Err(bad("a failover is the leader's to decide")),
    })
}

fn wish(failover: &v1::FailoverVerb, who: &str) -> Result<FailoverWish, Status> {
    let kind = match failover.kind {
        0 => FailoverKind::Planned,
        1 => FailoverKind::Forced,
        other => return Err(bad(format!("a kind of failover that this version does not know: {other}"))),
    };
    Ok(FailoverWish {
        shard: ShardId::from_slice(&failover.shard).map_err(bad)?,
        candidate: failover.candidate.as_deref().map(NodeId::from_slice).transpose().map_err(bad)?,
        kind,
        who: who.to_owned(),
    })
}

/// What is to be proposed for a verb, or why nothing is.
type Judged = Result<(Option<LeaderId>, Body), Rejection>;

/// A failover is begun by the leader on what it knows of the replicas; it must have seen all that is committed.
async fn judge(seated: &Seated, verb: v1::Verb, who: &str) -> Result<Judged, Status> {
    let Some(v1::verb::Verb::Failover(failover)) = &verb.verb else {
        return Ok(Ok((None, body(verb)?)));
    };
    let wish = wish(failover, who)?;
    seated.raft.read_index().await.map_err(read_status)?;
    match seated.leases.failover(&wish) {
        Some(judged) => Ok(judged.map(|(leader, body)| (Some(leader), body))),
        None => Err(redirect::not_leader(seated.raft.leader_address().as_deref())),
    }
}

fn reply(outcome: &Outcome, repeated: bool, now: Version) -> v1::ProposeReply {
    match outcome {
        Outcome::Done { version, done } => {
            let mut note = String::new();
            if let Done::SettingStored { value, clamped_from: Some(asked) } = done {
                note = format!("{asked} is out of bounds: set to {value}");
            }
            let mut begun = 0;
            if let Done::AttemptBegun { attempt } = done {
                begun = attempt.0;
            }
            let version = Some(version.into());
            v1::ProposeReply {
                version,
                done: true,
                repeated,
                note,
                attempt: begun,
                ..v1::ProposeReply::default()
            }
        }
        Outcome::Rejected(why) => v1::ProposeReply {
            version: Some((&now).into()),
            done: false,
            rejected_code: why.code().to_owned(),
            rejected_why: why.to_string(),
            repeated,
            note: String::new(),
            attempt: 0,
        },
    }
}

fn event(event: &Event) -> v1::HistoryEvent {
    v1::HistoryEvent {
        version: Some((&event.version).into()),
        time_ms: event.time.0,
        who: event.who.clone(),
        what: event.what.clone(),
        why: event.why.clone(),
        evidence: event.evidence.clone(),
        subject: event.subject.to_string(),
    }
}

/// The events that were asked for, oldest first.
fn history(seated: &Seated, request: &v1::HistoryRequest) -> v1::HistoryReply {
    let state = seated.raft.state();
    let limit = match request.limit as usize {
        0 => EVENTS_MAX,
        limit => limit.min(EVENTS_MAX),
    };
    let about = |event: &&Event| {
        let shard = event.subject.shard.map(|shard| shard.to_string()).unwrap_or_default();
        let node = || event.subject.nodes.iter().any(|node| node.to_string() == request.node);
        (request.shard.is_empty() || shard == request.shard) && (request.node.is_empty() || node())
    };
    let events = match request.after_index {
        0 => {
            let mut newest: Vec<_> =
                state.history().iter().rev().filter(about).take(limit).map(event).collect();
            newest.reverse();
            newest
        }
        after => state.history().after(after).filter(about).take(limit).map(event).collect(),
    };
    v1::HistoryReply { events, version: Some((&state.version()).into()) }
}

fn state(seated: &Seated) -> v1::StateReply {
    let state = seated.raft.state();
    let (leader, age) = seated.raft.leader_now();
    v1::StateReply {
        version: Some((&state.version()).into()),
        rows: state.topology().rows().iter().map(Into::into).collect(),
        reports: seated.leases.reports(),
        leader: leader.map_or(0, |leader| leader.node.0),
        term: leader.map_or(0, |leader| leader.term),
        leader_since_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    }
}

fn change(change: Option<v1::change_members_request::Change>) -> Result<Change, Status> {
    use v1::change_members_request::Change as Wire;
    let numbered = |id: u64| (id != 0).then_some(id);
    Ok(match change.ok_or_else(|| bad("a change of the members that this version does not know"))? {
        Wire::Add(fresh) => Change::Add { id: numbered(fresh.id), address: fresh.address },
        Wire::Remove(id) => Change::Remove { id },
        Wire::Replace(replace) => {
            let fresh = replace.fresh.ok_or_else(|| bad("a replacement without the new server"))?;
            Change::Replace { old: replace.old, id: numbered(fresh.id), address: fresh.address }
        }
    })
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeReply>, Status> {
        let v1::ProposeRequest { request_id: id, author, verb } = request.into_inner();
        let id = request_id(&id)?;
        let seated = self.host.in_group()?;
        let raft = &seated.raft;
        let verb = verb.unwrap_or_default();
        // What a failover needs is decided anew each time, so its body differs: a request that is known is only answered.
        // Any other goes the whole way, where the same id with another body is refused.
        let decided_anew = matches!(verb.verb, Some(v1::verb::Verb::Failover(_)));
        if let Some(known) = raft.state().outcome_of(&id).filter(|_| decided_anew) {
            let ours = raft.leads().ok_or_else(|| redirect::not_leader(raft.leader_address().as_deref()));
            ours?;
            return Ok(Response::new(reply(known, true, raft.state().version())));
        }
        let (leader, body) = match judge(seated, verb, &author).await? {
            Ok(begun) => begun,
            Err(rejection) => {
                let refused = Outcome::Rejected(rejection);
                return Ok(Response::new(reply(&refused, false, raft.state().version())));
            }
        };
        let command = Command { request: id, author, at: self.host.env.clock.wall(), leader, body };
        let proposed = raft.submit(command).await.map_err(|error| refused(&error))?;
        Ok(Response::new(reply(&proposed.outcome, proposed.repeated, raft.state().version())))
    }

    async fn outcome(
        &self,
        request: Request<v1::OutcomeRequest>,
    ) -> Result<Response<v1::OutcomeReply>, Status> {
        let request = request_id(&request.into_inner().request_id)?;
        let raft = &self.host.in_group()?.raft;
        raft.read_index().await.map_err(read_status)?;
        let state = raft.state();
        let outcome = state.outcome_of(&request).map(|outcome| reply(outcome, true, state.version()));
        Ok(Response::new(v1::OutcomeReply { found: outcome.is_some(), outcome }))
    }

    async fn state(&self, request: Request<v1::StateRequest>) -> Result<Response<v1::StateReply>, Status> {
        let seated = self.host.in_group()?;
        if request.into_inner().linearizable {
            seated.raft.read_index().await.map_err(read_status)?;
        }
        Ok(Response::new(state(seated)))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryReply>, Status> {
        let seated = self.host.in_group()?;
        if request.get_ref().linearizable {
            seated.raft.read_index().await.map_err(read_status)?;
        }
        Ok(Response::new(history(seated, request.get_ref())))
    }

    async fn members(&self, _: Request<v1::MembersRequest>) -> Result<Response<v1::MembersReply>, Status> {
        Ok(Response::new(members::show(&self.host.in_group()?.raft).await))
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        let request = request.into_inner();
        request_id(&request.request_id)?;
        let wanted = change(request.change)?;
        let raft = &self.host.in_group()?.raft;
        raft.read_index().await.map_err(read_status)?;
        let busy = |_| Status::unavailable("another change of the meta servers is under way: ask again");
        let _changing = self.changing.try_lock().map_err(busy)?;
        tracing::info!(author = request.author, change = %wanted, "changing the meta servers");
        members::change(raft, &wanted).await?;
        tracing::info!(author = request.author, change = %wanted, "the meta servers are changed");
        Ok(Response::new(members::show(raft).await))
    }
}
