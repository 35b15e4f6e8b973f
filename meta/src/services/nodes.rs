//! The Nodes service: lives of data nodes register here; their heartbeats go to the lease table.
//!
//! It decides one thing: what a registration must wait for (►13). A first life, a life that knows its predecessor dead,
//! and one that holds the predecessor's folder go straight to the state machine, which judges again; any other waits
//! until the lease table says that the old life holds no lease any more.

use super::{EndOfLife, HeartbeatReplies, read_status, refused};
use crate::host::{Host, Seated};
use crate::raft::{MetaRaft, ProposeError};
use crate::state::{Body, Command, Done, LeaseOver, Outcome, Register, Rejection};
use capstan_proto::ids::{GroupId, Incarnation, LeaderId, NodeId, RequestId, SpawnToken};
use capstan_proto::rpc::v1;
use capstan_proto::rules::Rule;
use capstan_proto::topology::NodeRow;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// After a refusal that time can lift, ask again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(250);

pub(crate) struct NodesService(pub(crate) Arc<Host>);

/// A registration as it was asked for, checked.
struct Asked {
    register: Register,
    group: Option<GroupId>,
}

fn read(request: v1::RegisterRequest) -> Result<Asked, Status> {
    let bad = |why: &dyn std::fmt::Display| Status::invalid_argument(format!("registration: {why}"));
    let missing = |what: &str| bad(&format!("without {what}"));
    let group = match request.group.is_empty() {
        true => None,
        false => Some(GroupId::from_slice(&request.group).map_err(|why| bad(&why))?),
    };
    let register = Register {
        node: NodeId::from_slice(&request.node).map_err(|why| bad(&why))?,
        token: SpawnToken::from_slice(&request.token).map_err(|why| bad(&why))?,
        last: request.last.map(Incarnation::try_from).transpose().map_err(|why| bad(&why))?,
        place: request.place.ok_or_else(|| missing("place"))?.try_into().map_err(|why| bad(&why))?,
        addresses: request
            .addresses
            .ok_or_else(|| missing("addresses"))?
            .try_into()
            .map_err(|why| bad(&why))?,
        software: request.software,
        lease_over: None,
    };
    Ok(Asked { register, group })
}

/// The present life of a node, if the new one must wait for the end of its lease.
fn to_wait_for<'a>(register: &Register, present: Option<&'a NodeRow>) -> Option<&'a NodeRow> {
    let present = present?;
    let same = present.incarnation.token == register.token;
    (!same && !present.dead && !register.place.proves_end_of(&present.place)).then_some(present)
}

fn wait(raft: &MetaRaft, at_least: Duration, why: String) -> v1::RegisterReply {
    let wait_ms = u64::try_from(at_least.as_millis()).unwrap_or(u64::MAX).max(1);
    v1::RegisterReply {
        group: raft.state().group().map(|group| group.0.to_vec().into()).unwrap_or_default(),
        wait_ms,
        wait_why: why,
        ..v1::RegisterReply::default()
    }
}

impl NodesService {
    async fn register_here(&self, seated: &Seated, asked: Asked) -> Result<v1::RegisterReply, Status> {
        let Asked { mut register, group } = asked;
        let raft = &seated.raft;
        raft.read_index().await.map_err(read_status)?;
        let state = raft.state();
        if let (Some(theirs), Some(ours)) = (group, state.group().filter(|ours| group != Some(*ours))) {
            return Err(Status::failed_precondition(format!(
                "this node belongs to meta group {theirs}, this is group {ours}: give it the right --meta, or an \
                 empty --dir (►20)"
            )));
        }
        let present = state.topology().nodes.get(&register.node);
        let mut waited_for: Option<(Incarnation, LeaderId)> = None;
        let waits = self.0.env.rules.on(Rule::DeathNeedsProof);
        if let Some(present) = to_wait_for(&register, present).filter(|_| waits) {
            let life = present.incarnation;
            match seated.leases.end_of_life(register.node, life) {
                EndOfLife::Wait { at_least, why } => return Ok(wait(raft, at_least, why)),
                EndOfLife::Over { leader, evidence } => {
                    register.lease_over = Some(LeaseOver { incarnation: life, evidence });
                    waited_for = Some((life, leader));
                }
            }
        }
        drop(state);
        let node = register.node;
        let mut request = [0; 16];
        self.0.env.random.fill(&mut request);
        let command = Command {
            request: RequestId(request),
            author: format!("node {node}"),
            at: self.0.env.clock.wall(),
            leader: waited_for.map(|(_, leader)| leader),
            body: Body::Register(register),
        };
        let answer = raft.propose(command).await;
        if let Some((life, _)) = waited_for
            && !matches!(answer, Err(ProposeError::Unknown(_)))
        {
            seated.leases.settled(node, life);
        }
        reply(raft, node, answer.map_err(|error| refused(&error))?)
    }
}

impl NodesService {
    /// ►13: the word of a supervisor that saw its child end.
    async fn dead_here(
        &self,
        seated: &Seated,
        node: NodeId,
        token: SpawnToken,
    ) -> Result<v1::DeadReply, Status> {
        let mut request = [0; 16];
        self.0.env.random.fill(&mut request);
        let command = Command {
            request: RequestId(request),
            author: format!("supervisor of node {node}"),
            at: self.0.env.clock.wall(),
            leader: None,
            body: Body::Dead { node, token },
        };
        let raft = &seated.raft;
        let outcome = raft.propose(command).await.map_err(|error| refused(&error))?;
        let version = Some((&raft.state().version()).into());
        match outcome {
            Outcome::Done { .. } => Ok(v1::DeadReply { known: true, why: String::new(), version }),
            // Unknown, or another life is registered: that token's life is not the present one, so nothing is to end.
            Outcome::Rejected(why) => Ok(v1::DeadReply { known: false, why: why.to_string(), version }),
        }
    }
}

fn reply(raft: &MetaRaft, node: NodeId, outcome: Outcome) -> Result<v1::RegisterReply, Status> {
    let state = raft.state();
    let group = state.group().map(|group| group.0.to_vec().into()).unwrap_or_default();
    match outcome {
        Outcome::Done { version, done: Done::Registered { incarnation } } => Ok(v1::RegisterReply {
            incarnation: Some((&incarnation).into()),
            group,
            version: Some((&version).into()),
            ..v1::RegisterReply::default()
        }),
        Outcome::Done { done, .. } => {
            Err(Status::internal(format!("a registration was answered with {done:?}")))
        }
        Outcome::Rejected(why @ (Rejection::MustWait { .. } | Rejection::ForeignLeader { .. })) => {
            Ok(wait(raft, ASK_AGAIN, why.to_string()))
        }
        Outcome::Rejected(why) => Ok(v1::RegisterReply {
            group,
            rejected_code: why.code().to_owned(),
            rejected_why: why.to_string(),
            current: state.topology().nodes.get(&node).map(|row| (&row.incarnation).into()),
            ..v1::RegisterReply::default()
        }),
    }
}

#[tonic::async_trait]
impl v1::nodes_server::Nodes for NodesService {
    type HeartbeatStream = HeartbeatReplies;

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterReply>, Status> {
        let asked = read(request.into_inner())?;
        self.register_here(self.0.in_group()?, asked).await.map(Response::new)
    }

    async fn dead(&self, request: Request<v1::DeadRequest>) -> Result<Response<v1::DeadReply>, Status> {
        let request = request.into_inner();
        let bad = |why: &dyn std::fmt::Display| Status::invalid_argument(format!("death: {why}"));
        let node = NodeId::from_slice(&request.node).map_err(|why| bad(&why))?;
        let token = SpawnToken::from_slice(&request.token).map_err(|why| bad(&why))?;
        self.dead_here(self.0.in_group()?, node, token).await.map(Response::new)
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::HeartbeatRequest>>,
    ) -> Result<Response<HeartbeatReplies>, Status> {
        let heartbeats = Box::pin(request.into_inner());
        self.0.in_group()?.leases.heartbeat(heartbeats).await.map(Response::new)
    }
}
