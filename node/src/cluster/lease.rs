//! Until when this node may serve, as the node itself counts it (DESIGN 5).
//!
//! It decides what a grant is worth: it counts from the instant at which the heartbeat was *sent* (►4), is used only by
//! the life, shard and epoch that it names, and only once the version that it was computed from is in force here (►7).
//! A version is in force, and may be confirmed, when every lane that it affects was locked once since (►8). The
//! intuition: whatever is late, lost or repeated can only make a lease shorter than the meta leader believes. It
//! refuses to read clocks, to send anything and to touch a lane: `control.rs` and `heartbeat.rs` do.

use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Incarnation, NodeId, ShardEpoch, ShardId, Version};
use capstan_proto::rules::{Rule, Rules};
use capstan_proto::topology::Topology;
use std::collections::VecDeque;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How many unanswered heartbeats are remembered. A lease holds ten heartbeats, so an older one is worth nothing.
pub const PENDING_MAX: usize = 32;
/// How many grants may wait for their version. Each is at most one TTL old.
pub const EARLY_MAX: usize = 16;

/// One connection to a meta server, numbered by the node; answers of another one are not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamNumber(pub u64);

/// The shard that this node's copy of the state makes it the primary of, in its present life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lead {
    /// The shard.
    pub shard: ShardId,
    /// Since which promotion.
    pub epoch: ShardEpoch,
}

impl Lead {
    /// Reads off a copy of the cluster state what a life of a node leads: nothing if another life was promoted.
    #[must_use]
    pub fn of(topology: &Topology, node: NodeId, incarnation: Incarnation) -> Option<Self> {
        let row = topology.nodes.get(&node).filter(|row| row.incarnation == incarnation && !row.dead)?;
        let shard = topology.led_by(row.id).filter(|shard| shard.incarnation == incarnation)?;
        Some(Self { shard: shard.id, epoch: shard.epoch })
    }
}

/// A grant as it came from a meta server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// For which node.
    pub node: NodeId,
    /// For which of its lives.
    pub incarnation: Incarnation,
    /// For which shard and epoch.
    pub lead: Lead,
    /// How long, from the instant at which the heartbeat was sent.
    pub duration: Duration,
    /// The version of the cluster state that it was computed from.
    pub version: Version,
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// The lease lasts at least until then.
    Used(Boot),
    /// It waits for its version to be in force here (►7).
    Early,
    /// It answers no heartbeat that is open.
    Unasked,
    /// It is for another node, life, shard or epoch than this node's own copy says.
    NotOurs,
    /// It was over before it could be used.
    Over,
    /// The node has given its lease up: it does not move, or has handed over (►14).
    GivenUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    stream: StreamNumber,
    sequence: u64,
    sent: Boot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Early {
    version: Version,
    until: Boot,
}

/// The lease of one life of a node.
///
/// # Invariants
/// - `until` comes from a grant for exactly `lead` in this life, computed from a version at or below `in_force`.
/// - `in_force <= reached`; `lead` is what the copy at `reached` says.
/// - While `handed_over` is set, `until` is not: only the committed end of the attempt brings a lease back (►14).
/// - When `lead` changes, `until` and all early grants are void: a new epoch begins with a fresh lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeLease {
    node: NodeId,
    incarnation: Incarnation,
    rules: Rules,
    sequence: u64,
    pending: VecDeque<Pending>,
    lead: Option<Lead>,
    reached: Version,
    in_force: Version,
    early: Vec<Early>,
    until: Option<Boot>,
    given_up: bool,
    handed_over: Option<AttemptId>,
}

impl NodeLease {
    /// A life that has just registered: it holds nothing and knows nothing.
    #[must_use]
    pub const fn new(node: NodeId, incarnation: Incarnation, rules: Rules) -> Self {
        Self {
            node,
            incarnation,
            rules,
            sequence: 0,
            pending: VecDeque::new(),
            lead: None,
            reached: Version { generation: 0, index: 0 },
            in_force: Version { generation: 0, index: 0 },
            early: Vec::new(),
            until: None,
            given_up: false,
            handed_over: None,
        }
    }

    /// Notes that a heartbeat is about to be sent, and numbers it. Must be called *before* the bytes leave (►4).
    pub fn send(&mut self, stream: StreamNumber, now: Boot) -> u64 {
        self.sequence += 1;
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending { stream, sequence: self.sequence, sent: now });
        self.sequence
    }

    /// What the next heartbeat claims to lead. A node that has given up claims nothing.
    #[must_use]
    pub fn claim(&self) -> Option<Lead> {
        self.lead.filter(|_| !self.given_up)
    }

    /// The version that this node confirms to the meta group: every affected lane was locked once since (►8).
    #[must_use]
    pub fn confirmed(&self) -> Version {
        if self.rules.on(Rule::CheckUnderLaneLock) { self.in_force } else { self.reached }
    }

    /// The version that this node's copy of the state has reached, in force or not.
    #[must_use]
    pub const fn reached(&self) -> Version {
        self.reached
    }

    /// The answer to a heartbeat has come. `None`: it was refused, or there was nothing to grant; a lease that is held
    /// lasts until its end all the same, the leader counts it.
    pub fn answered(
        &mut self,
        stream: StreamNumber,
        sequence: u64,
        grant: Option<Grant>,
        now: Boot,
    ) -> Option<Worth> {
        let open = self.pending.iter().position(|p| p.stream == stream && p.sequence == sequence);
        let sent = open.and_then(|at| self.pending.remove(at)).map(|p| p.sent);
        let grant = grant?;
        Some(match sent {
            None => Worth::Unasked,
            Some(sent) => self.weigh(&grant, sent, now),
        })
    }

    fn weigh(&mut self, grant: &Grant, sent: Boot, now: Boot) -> Worth {
        let ours = grant.node == self.node && grant.incarnation == self.incarnation;
        if !ours || self.lead != Some(grant.lead) {
            return Worth::NotOurs;
        }
        if self.given_up || self.handed_over.is_some() {
            return Worth::GivenUp;
        }
        let counted_from = if self.rules.on(Rule::LeaderCountsLonger) { sent } else { now };
        let until = counted_from.after(grant.duration);
        if until <= now {
            return Worth::Over;
        }
        if grant.version > self.in_force && self.rules.on(Rule::GrantWaitsForVersion) {
            self.keep_early(Early { version: grant.version, until }, now);
            return Worth::Early;
        }
        Worth::Used(self.extend(until))
    }

    fn extend(&mut self, until: Boot) -> Boot {
        let until = self.until.map_or(until, |held| held.max(until));
        self.until = Some(until);
        until
    }

    fn keep_early(&mut self, early: Early, now: Boot) {
        self.early.retain(|e| e.until > now);
        if self.early.len() == EARLY_MAX {
            self.early.remove(0);
        }
        self.early.push(early);
    }

    /// This node's copy has reached a version, by which it leads `lead`; the lanes do not know yet. A role that is left
    /// loses its lease here, so before any lane changes. Returns whether the lease was lost.
    pub fn reach(&mut self, version: Version, lead: Option<Lead>) -> bool {
        if version < self.reached {
            return false;
        }
        self.reached = version;
        if self.lead == lead {
            return false;
        }
        self.lead = lead;
        self.early.clear();
        self.until.take().is_some()
    }

    /// Every lane that `version` affects was locked once since it took effect (►8): it is in force, and grants that
    /// waited for it are used (►7).
    pub fn in_force(&mut self, version: Version) {
        self.in_force = self.in_force.max(version.min(self.reached));
        let in_force = self.in_force;
        let ripe = self.early.iter().filter(|e| e.version <= in_force).map(|e| e.until).max();
        self.early.retain(|e| e.version > in_force);
        if let Some(until) = ripe {
            self.extend(until);
        }
    }

    /// Whether the node's own machinery moves: `stuck_since` is when the first of its parts that have work (log writer,
    /// batcher, watch) stopped moving. After half a TTL the lease is given up, and none is taken until all move again.
    /// Returns whether the node holds itself fit to serve.
    pub fn note_health(&mut self, stuck_since: Option<Boot>, ttl: Duration, now: Boot) -> bool {
        self.given_up = stuck_since.is_some_and(|since| now.since(since) >= ttl / 2);
        if self.given_up {
            self.give_up();
        }
        !self.given_up
    }

    /// Ends the lease at once, for instance because the process stops. Answers that are under way are worth nothing.
    pub fn give_up(&mut self) {
        self.until = None;
        self.early.clear();
        self.pending.clear();
    }

    /// This primary has handed over under an attempt: it serves nothing more, and takes no grant, until it sees that the
    /// attempt has ended by a committed command (►14).
    pub fn hand_over(&mut self, attempt: AttemptId) {
        self.handed_over = Some(attempt);
        self.give_up();
    }

    /// By the newest copy of the state this attempt is under way, or none: what was handed over under another one has
    /// come to its end.
    pub fn attempt_is(&mut self, attempt: Option<AttemptId>) {
        if self.handed_over != attempt {
            self.handed_over = None;
        }
    }

    /// The instant from which nothing may be executed or answered any more; `None`: already so.
    #[must_use]
    pub fn until(&self) -> Option<Boot> {
        self.until
    }

    /// Whether a command may be executed now.
    #[must_use]
    pub fn holds(&self, now: Boot) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// What this node leads by its newest copy, whether it holds a lease or not.
    #[must_use]
    pub const fn lead(&self) -> Option<Lead> {
        self.lead
    }
}
