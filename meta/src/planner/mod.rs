//! What the meta leader should propose next, given the applied state, its lease table and the nodes' reports.
//!
//! Pure: it returns decisions, `controller` stops, looks again and proposes (►6). Level-triggered: each call looks at
//! everything, so that nothing depends on an event having been seen. One file a kind of decision: [`restart`] puts a
//! new life in the place of one that has ended; failover to replicas stands beside it, in the same
//! [`Decision::Promote`]. It refuses to decide anything twice: what is proposed and not settled is the caller's `busy`.

pub mod restart;

use crate::lease::Holder;
use crate::state::{Consent, Fence};
use capstan_proto::ids::{Incarnation, NodeId, Position, ShardId};
use capstan_proto::topology::{Addresses, Topology};
use std::collections::{BTreeMap, BTreeSet};

/// What a node said in its last heartbeat to this leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// In which life.
    pub incarnation: Incarnation,
    /// How it can be reached.
    pub addresses: Addresses,
}

/// What is decided on.
#[derive(Debug)]
pub struct View<'a> {
    /// The applied state, read after this leader was confirmed.
    pub topology: &'a Topology,
    /// The last heartbeat of each node.
    pub said: &'a BTreeMap<NodeId, Said>,
    /// Shards with a proposal whose outcome is not known.
    pub busy: &'a BTreeSet<ShardId>,
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
    /// What lifts the checks of wholeness.
    pub consent: Consent,
    /// For the history.
    pub why: String,
    /// For the history.
    pub evidence: String,
}

/// Something to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A shard gets a primary.
    Promote(Box<Promotion>),
    /// A node is reached elsewhere than the state says.
    Update {
        /// The node.
        node: NodeId,
        /// The life that says so.
        incarnation: Incarnation,
        /// Where it is reached.
        addresses: Addresses,
    },
}

/// Everything that should be proposed now.
#[must_use]
pub fn plan(view: &View<'_>) -> Vec<Decision> {
    let promotions = restart::plan(view).into_iter().map(|promotion| Decision::Promote(Box::new(promotion)));
    promotions.chain(moved(view)).collect()
}

/// Nodes whose heartbeats name other addresses than their row.
fn moved(view: &View<'_>) -> Vec<Decision> {
    let moved = view.said.iter().filter(|(node, said)| {
        let row = view.topology.nodes.get(*node);
        row.is_some_and(|row| {
            row.incarnation == said.incarnation && !row.dead && row.addresses != said.addresses
        })
    });
    let update = |(node, said): (&NodeId, &Said)| Decision::Update {
        node: *node,
        incarnation: said.incarnation,
        addresses: said.addresses.clone(),
    };
    moved.map(update).collect()
}
