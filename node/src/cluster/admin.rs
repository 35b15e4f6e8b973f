//! The way from a client's command to the meta group: what CONFIG SET of a cluster-wide setting and CLUSTER FAILOVER
//! need.
//!
//! The command asks, whoever holds the connection to the meta group answers. An emulated node has nobody to ask: its
//! cluster-wide settings are its own.

use capstan_proto::env::BoxFuture;
use capstan_proto::ids::ShardId;

/// Why the meta group did not do what a client asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// It said no: nothing changed.
    #[error("{0}")]
    Rejected(String),
    /// It cannot be reached, or has no leader: nothing was proposed.
    #[error("the meta group cannot be asked: {0}")]
    Unreachable(String),
    /// The answer was lost: the change may or may not happen.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

/// How a client asks for a failover to the node that it speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverKind {
    /// The primary hands over: nothing acknowledged is lost.
    Planned,
    /// What this node lacks is given up; the primary's end is waited for all the same (I4).
    Forced,
}

/// Proposes changes to the meta group for this node's clients.
pub trait ClusterAdmin: Send + Sync + 'static {
    /// Sets a setting of the cluster to a value in its canonical form. Returns when it is committed and this node's
    /// copy of the cluster state has it.
    fn set_setting<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Makes this node a replica of a shard. Returns when it is committed and in force here.
    fn replicate(&self, shard: ShardId) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Begins a failover of a shard to this node. Returns when it is committed as begun, not when it is done.
    fn failover(&self, shard: ShardId, kind: FailoverKind) -> BoxFuture<'_, Result<(), AdminError>>;
}
