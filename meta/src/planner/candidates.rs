//! Who could take over a shard, and who is best.
//!
//! A candidate is a whole replica in its present life that is not proved dead (►3) and not below the floor. A drained
//! node is one only where no other copy is left: to lose data would be worse than to disobey for a while.

use super::View;
use capstan_proto::ids::{NodeId, Position};
use capstan_proto::topology::{NodeRow, ShardRow};
use std::time::Duration;

/// A replica that has not been heard of for longer is not chosen for a planned failover: two heartbeats and a half.
const RECENT: Duration = Duration::from_millis(1250);

/// Where a candidate says that it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub node: NodeId,
    /// The newest batch in its log; the lowest of all if it said none.
    pub position: Position,
}

/// The candidates of a failover, in id order.
#[must_use]
pub fn of<'a>(view: &View<'a>, shard: &ShardRow) -> Vec<&'a NodeRow> {
    let whole = replicas(view, shard).filter(|row| row.whole && !row.dead);
    let (drained, free): (Vec<_>, Vec<_>) = whole.partition(|row| view.topology.drained.contains(&row.id));
    if free.is_empty() { drained } else { free }
}

/// The best replica for a planned failover: heard of lately, and the one with the highest position.
#[must_use]
pub fn best(view: &View<'_>, shard: &ShardRow) -> Option<NodeId> {
    let free = replicas(view, shard).filter(|row| why_not(view, shard, row).is_none());
    highest(free.filter_map(|row| standing(view, row.id))).map(|standing| standing.node)
}

/// Why a replica cannot be chosen for a planned failover; nothing if it can.
#[must_use]
pub fn why_not(view: &View<'_>, shard: &ShardRow, row: &NodeRow) -> Option<&'static str> {
    let said = view.present(row.id);
    if row.dead {
        return Some("its process has ended");
    }
    if view.topology.drained.contains(&row.id) {
        return Some("it is drained");
    }
    if !row.whole {
        return Some("it has no complete copy yet");
    }
    if said.is_none_or(|said| view.now.since(said.received) > RECENT) {
        return Some("it has not been heard of lately");
    }
    let below = |floor| standing(view, row.id).is_none_or(|standing| standing.position < floor);
    shard.floor.is_some_and(below).then_some("it is below the floor of the shard")
}

/// Where a replica said that it stands, in its present life.
#[must_use]
pub fn standing(view: &View<'_>, node: NodeId) -> Option<Standing> {
    view.present(node).map(|said| Standing { node, position: said.position.unwrap_or_default() })
}

/// The one with the highest position; of equals the one with the lowest id, so that every look says the same.
#[must_use]
pub fn highest(standings: impl Iterator<Item = Standing>) -> Option<Standing> {
    standings.max_by_key(|standing| (standing.position, std::cmp::Reverse(standing.node)))
}

/// Every replica's name and what keeps it from taking over, for those who asked for one.
#[must_use]
pub fn all_refused(view: &View<'_>, shard: &ShardRow) -> String {
    if shard.replicas.is_empty() {
        return "it has none".to_owned();
    }
    let one = |row: &NodeRow| why_not(view, shard, row).map(|why| format!("node {}: {why}", row.id));
    replicas(view, shard).filter_map(one).collect::<Vec<_>>().join("; ")
}

fn replicas<'a>(view: &View<'a>, shard: &ShardRow) -> impl Iterator<Item = &'a NodeRow> {
    let topology = view.topology;
    shard.replicas.iter().filter_map(move |id| topology.nodes.get(id)).collect::<Vec<_>>().into_iter()
}
