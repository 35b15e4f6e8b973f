//! The cluster state: a plain value, changed by one pure, total function.
//!
//! `apply(state, entry, command) -> (state, outcome, changed rows)`. No clock, no chance, no I/O (I1): time and random
//! ids travel inside commands. Every command is judged before anything is touched, so a rejection changes nothing but
//! the table of finished requests. A command is judged in one file of its own kind: [`members`], [`slots`],
//! [`failover`], [`planned`], [`settings`]; [`apply`] orders the steps; [`invariants`] says what must hold after each.

mod apply;
mod codes;
mod command;
mod failover;
mod history;
pub mod invariants;
mod members;
mod outcome;
mod planned;
mod planted;
mod requests;
mod settings;
mod slots;
mod snapshot;

#[cfg(test)]
mod tests;

pub use apply::{BATCH_MAX, Switches};
pub use command::{
    Body, Command, Consent, Draining, Fence, JoinRole, LeaseOver, NodeUpdate, Noted, Promote, Register,
    SlotRange,
};
pub use history::{Event, History, Subject};
pub use outcome::{Applied, Done, Outcome, Rejection};
pub use planted::{Bug, Planted};
pub use requests::REQUESTS_KEPT;
pub use settings::LoweredTtl;
pub use snapshot::{BadSnapshot, SNAPSHOT_FORMAT};

use capstan_proto::env::UnixMs;
use capstan_proto::ids::{GroupId, LeaderId, NodeId, RequestId, ShardId, Version};
use capstan_proto::topology::Topology;
use requests::Requests;

/// The most data nodes that one group knows.
pub const NODES_MAX: usize = 2000;
/// The most shards of a cluster.
pub const SHARDS_MAX: usize = 1000;
/// The most replicas of a shard.
pub const REPLICAS_MAX: usize = 32;

/// The one authoritative record of a cluster.
///
/// *Invariants:* those of [`invariants::well_formed`]. Its size is bounded: nodes, shards, replicas, settings, texts,
/// finished requests and events all have limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    topology: Topology,
    requests: Requests,
    history: History,
    lowered: Option<LoweredTtl>,
    /// The latest time that a command carried: the wall clocks of leaders differ, and this one never runs back.
    latest: UnixMs,
    /// How many shards were ever founded: the number of the newest.
    shards_founded: u32,
}

impl Default for State {
    fn default() -> Self {
        Self::remembering(REQUESTS_KEPT)
    }
}

impl State {
    /// An empty state that remembers this many finished requests. All servers of a group use the same number.
    #[must_use]
    pub fn remembering(requests: u32) -> Self {
        Self {
            topology: Topology::default(),
            requests: Requests::new(requests),
            history: History::default(),
            lowered: None,
            latest: UnixMs::default(),
            shards_founded: 0,
        }
    }

    /// Judges a command of the log entry with this index and leader id, and does it if it is accepted. Total: it
    /// never panics, whatever the command says (I1, I12).
    pub fn apply(&mut self, index: u64, leader: LeaderId, command: &Command) -> Applied {
        self.apply_with(Switches::default(), index, leader, command)
    }

    /// What data nodes, clients and tools see.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The version of the last change of the topology.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.topology.version
    }

    /// The group's identity, once it is founded.
    #[must_use]
    pub const fn group(&self) -> Option<GroupId> {
        self.topology.group
    }

    /// What was changed, when, by whom, why.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Whether the history holds this note of a node already.
    #[must_use]
    pub fn is_noted(&self, shard: ShardId, node: NodeId, what: Noted) -> bool {
        planned::is_noted(self, shard, node, what)
    }

    /// What became of a request, as long as it is remembered. A batch has no outcome of its own: ask for its members.
    #[must_use]
    pub fn outcome_of(&self, request: &RequestId) -> Option<&Outcome> {
        self.requests.find(request).map(|finished| &finished.outcome)
    }

    /// The TTL that was lowered last, for as long as the old one may still be in force (►10).
    #[must_use]
    pub const fn lowered_ttl(&self) -> Option<LoweredTtl> {
        self.lowered
    }

    /// The longest lease that any node may still hold, milliseconds (►10). `now` is the asker's wall clock.
    #[must_use]
    pub fn lease_ttl_max_ms(&self, now: UnixMs) -> u64 {
        let set = self.topology.lease_ttl_ms();
        match self.lowered {
            Some(lowered) if now < lowered.until => set.max(lowered.ttl_ms),
            Some(_) | None => set,
        }
    }
}
