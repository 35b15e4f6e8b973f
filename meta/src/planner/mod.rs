//! What the meta leader should propose next, given the applied state, its lease table and the nodes' reports.
//!
//! Pure: it returns decisions, `controller` stops, looks again and proposes (►6). Level-triggered: each call looks at
//! everything, so that nothing depends on an event having been seen. One file a kind of decision: [`failover`] puts a
//! replica in the place of a primary that has ended, [`restart`] a new life in the place of one of which no copy is
//! left, [`planned`] begins and ends attempts, [`news`] is what nodes say of themselves, [`candidates`] who could take
//! over. It refuses to decide anything twice: what is proposed and not settled is the caller's `busy`.

pub mod candidates;
pub mod failover;
pub mod news;
pub mod planned;
pub mod restart;
#[cfg(test)]
pub(crate) mod scene;

use crate::lease::Holder;
use crate::state::{Body, Consent, Fence};
use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Incarnation, NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::topology::{Addresses, ShardRow, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a node said in its last heartbeat to this leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Said {
    /// In which life.
    pub incarnation: Incarnation,
    /// When it came.
    pub received: Boot,
    /// The how manieth heartbeat of all it was: what was asked before one is answered by it.
    pub number: u64,
    /// How it can be reached.
    pub addresses: Addresses,
    /// The shard and epoch that it leads by its own copy of the state.
    pub claim: Option<(ShardId, ShardEpoch)>,
    /// The newest batch in its log.
    pub position: Option<Position>,
    /// It holds its clients under this attempt and executes nothing more; its log ends here (►14).
    pub handed_over: Option<(AttemptId, Position)>,
    /// It holds a complete copy, taken from the primary of this epoch (►3).
    pub whole_of: Option<(ShardId, ShardEpoch)>,
    /// It is about to stop and asks for a planned failover.
    pub wants_handover: bool,
    /// It executed the first command of this epoch so long before the heartbeat.
    pub first_served: Option<(ShardEpoch, Duration)>,
    /// Its clients were held under this attempt for so many microseconds.
    pub held: Option<(ShardId, AttemptId, u64)>,
}

/// Candidates were asked where they stand, after granting to the old holder had stopped (►6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Whom granting was stopped for.
    pub old: Holder,
    /// When.
    pub at: Boot,
    /// Heartbeats up to this number came before.
    pub after: u64,
}

/// What is decided on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The applied state, read after this leader was confirmed.
    pub topology: &'a Topology,
    /// The last heartbeat of each node.
    pub said: &'a BTreeMap<NodeId, Said>,
    /// Shards with a proposal whose outcome is not known, or that are left alone for a moment.
    pub busy: &'a BTreeSet<ShardId>,
    /// Shards whose primary's lease this leader counts as over.
    pub over: &'a BTreeSet<ShardId>,
    /// Shards whose primary was promoted so lately that it may not have asked for its lease yet.
    pub young: &'a BTreeSet<ShardId>,
    /// Shards whose candidates were asked.
    pub asked: &'a BTreeMap<ShardId, Asked>,
    /// Since when this leader knows of the attempt under way.
    pub attempts: &'a BTreeMap<ShardId, (AttemptId, Boot)>,
    /// The leader's clock.
    pub now: Boot,
}

impl View<'_> {
    /// The last heartbeat of a node, if its present life sent it.
    #[must_use]
    pub fn present(&self, node: NodeId) -> Option<&Said> {
        let row = self.topology.nodes.get(&node)?;
        self.said.get(&node).filter(|said| said.incarnation == row.incarnation)
    }
}

/// The life that a shard's row makes its primary.
#[must_use]
pub const fn holder(shard: &ShardRow) -> Holder {
    Holder { node: shard.primary, incarnation: shard.incarnation, shard: shard.id, epoch: shard.epoch }
}

/// A promotion to be proposed, once granting to `old` has stopped (►6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The life that served, whose end the fence speaks of.
    pub old: Holder,
    /// Who takes over.
    pub candidate: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// How far its log has come.
    pub position: Position,
    /// How it is known that `old` serves no more.
    pub fence: Fence,
    /// The planned failover that this ends.
    pub attempt: Option<AttemptId>,
    /// What lifts the checks of wholeness.
    pub consent: Consent,
    /// For the history.
    pub why: String,
    /// For the history.
    pub evidence: String,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Granting to a holder is to stop, and the candidates are to say where they stand (►6).
    Ask {
        /// The holder.
        old: Holder,
        /// How it is known, or expected, that it serves no more.
        fence: Fence,
        /// Whom to ask.
        candidates: Vec<NodeId>,
    },
    /// Nobody answered, or the holder is back: granting may go on, nothing was proposed.
    GiveUp(Holder),
    /// Granting to a holder is to stop although it is alive: a forced failover waits for its lease's end.
    Stop(Holder),
    /// A shard gets a primary.
    Promote(Box<Promotion>),
    /// A planned failover begins or ends.
    Attempt {
        /// The shard.
        shard: ShardId,
        /// `BeginPlanned` or `EndAttempt`.
        body: Body,
    },
    /// A node says something new of itself.
    News {
        /// The node.
        node: NodeId,
        /// `Update` or `Note`.
        body: Body,
    },
}

/// Everything that should be done now.
#[must_use]
pub fn plan(view: &View<'_>) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for shard in view.topology.shards.values().filter(|shard| !view.busy.contains(&shard.id)) {
        let decision = planned::plan(view, shard)
            .or_else(|| failover::plan(view, shard))
            .or_else(|| restart::plan(view, shard));
        decisions.extend(decision);
    }
    decisions.extend(news::plan(view));
    decisions
}

/// The earliest instant after now at which time alone may change what [`plan`] says; leases aside, the table knows.
#[must_use]
pub fn next_deadline(view: &View<'_>) -> Option<Boot> {
    let asked = view.asked.values().flat_map(failover::deadlines);
    let attempts = view.topology.shards.values().filter_map(|shard| planned::deadline(view, shard));
    asked.chain(attempts).filter(|at| *at > view.now).min()
}

/// How long ago a node's last heartbeat came, for the history.
fn last_heartbeat(view: &View<'_>, old: Holder) -> String {
    match view.said.get(&old.node).filter(|said| said.incarnation == old.incarnation) {
        Some(said) => format!("last heartbeat {} ms before", view.now.since(said.received).as_millis()),
        None => "no heartbeat of it came to this leader".to_owned(),
    }
}
