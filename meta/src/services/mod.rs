//! The RPC services of a meta server: thin shells that check what arrives, ask [`crate::raft::MetaRaft`] or the lease
//! table, and answer. They decide nothing.

mod admin;
mod nodes;
mod raft;
mod watch;

pub(crate) use admin::AdminService;
pub(crate) use nodes::NodesService;
pub(crate) use raft::RaftService;
pub(crate) use watch::WatchService;

use crate::raft::{ProposeError, ReadError};
use crate::state::{Body, Rejection};
use capstan_proto::env::BoxFuture;
use capstan_proto::ids::{Incarnation, LeaderId, NodeId, ShardId};
use capstan_proto::rpc::{redirect, v1};
use std::pin::Pin;
use std::time::Duration;
use tokio_stream::Stream;
use tonic::Status;

/// The answers of a heartbeat stream.
pub type HeartbeatReplies = Pin<Box<dyn Stream<Item = Result<v1::HeartbeatReply, Status>> + Send>>;
/// The heartbeats of one life of a node.
pub type Heartbeats = Pin<Box<dyn Stream<Item = Result<v1::HeartbeatRequest, Status>> + Send>>;

/// What the lease table says when a new life of a node wants to register (►6, ►13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOfLife {
    /// The old life holds no lease, and none is granted to it any more until [`NodeLeases::settled`].
    Over {
        /// The leader id that the table belongs to (►2).
        leader: LeaderId,
        /// What it rests on, for the history.
        evidence: String,
    },
    /// It may still hold one.
    Wait {
        /// Ask again after this long.
        at_least: Duration,
        /// Why, for the log of the node that waits.
        why: String,
    },
}

/// A failover that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverWish {
    /// Of which shard.
    pub shard: ShardId,
    /// To which replica; the leader chooses if none is named.
    pub candidate: Option<NodeId>,
    /// How.
    pub kind: FailoverKind,
    /// Who asks.
    pub who: String,
}

/// How a failover is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverKind {
    /// The candidate catches up first: nothing acknowledged is lost (I10).
    Planned,
    /// What the candidate lacks is given up.
    Forced,
}

/// What the services need of the lease table. `controller` implements it.
pub trait NodeLeases: Send + Sync + 'static {
    /// One life's heartbeat stream, as long as this server leads.
    fn heartbeat(&self, heartbeats: Heartbeats) -> BoxFuture<'_, Result<HeartbeatReplies, Status>>;

    /// Stops granting to a life, and says whether its lease is over.
    fn end_of_life(&self, node: NodeId, incarnation: Incarnation) -> EndOfLife;

    /// The registration that [`NodeLeases::end_of_life`] was asked for was committed, or rejected: after a rejection
    /// the old life may get grants again. Not called when the outcome is unknown.
    fn settled(&self, node: NodeId, incarnation: Incarnation);

    /// The command that begins a failover which somebody asks for, and the leader id under which it was decided (►2);
    /// or why there can be none. Nothing if this server does not lead.
    fn failover(&self, wish: &FailoverWish) -> Option<Result<(LeaderId, Body), Rejection>>;

    /// What is known of each node beside the cluster state.
    fn reports(&self) -> Vec<v1::NodeReport>;
}

/// What an asker is told when a proposal has no outcome.
fn refused(error: &ProposeError) -> Status {
    match error {
        ProposeError::NotLeader { leader } => redirect::not_leader(leader.as_deref()),
        ProposeError::Busy => Status::unavailable(error.to_string()),
        ProposeError::Unknown(_) => Status::unknown(error.to_string()),
        ProposeError::Stopping => Status::unavailable(error.to_string()),
    }
}

/// What an asker is told when a read is not confirmed.
fn read_status(error: ReadError) -> Status {
    match error {
        ReadError::NotLeader { leader } => redirect::not_leader(leader.as_deref()),
        ReadError::NoQuorum | ReadError::Stopping => Status::unavailable(error.to_string()),
    }
}
