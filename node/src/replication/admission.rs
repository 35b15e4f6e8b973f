//! Whether a node that dials is served as a replica, and from where. Pure.
//!
//! Only a replica of the shard that this node leads, in its present life, by a node that leads it in the newest epoch
//! that either of both knows (I5). One that knows less than we do, or more, asks again in a moment.

use super::wire::{Hello, Refusal};
use crate::cluster::lease::Lead;
use crate::cluster::view::View;
use capstan_proto::ids::{Incarnation, NodeId, ShardId};

/// Judges a replica's first words. What it may be sent is what this node makes as this lead.
pub fn judge(hello: &Hello, view: &View) -> Result<Lead, Refusal> {
    if view.topology().group != Some(hello.group) {
        return Err(Refusal::OtherGroup);
    }
    let shard = view.topology().shards.get(&hello.shard).filter(|shard| view.leads(shard));
    let Some(shard) = shard else { return Err(Refusal::NotPrimary) };
    if shard.epoch != hello.epoch {
        return Err(Refusal::OtherEpoch);
    }
    match is_replica(view, hello.shard, hello.node, hello.incarnation) {
        true => Ok(Lead { shard: shard.id, epoch: shard.epoch }),
        false => Err(Refusal::NoReplica),
    }
}

/// Whether a replica has heard of a promotion that this node has not heard of.
#[must_use]
pub fn is_ahead(hello: &Hello, view: &View) -> bool {
    let topology = view.topology();
    topology.group == Some(hello.group)
        && topology.shards.get(&hello.shard).is_none_or(|shard| shard.epoch < hello.epoch)
}

/// Whether a session may go on: everything that it was judged by still holds.
#[must_use]
pub fn still_holds(hello: &Hello, lead: Lead, view: &View) -> bool {
    judge(hello, view) == Ok(lead)
}

fn is_replica(view: &View, shard: ShardId, node: NodeId, incarnation: Incarnation) -> bool {
    let topology = view.topology();
    let listed = topology.shards.get(&shard).is_some_and(|shard| shard.replicas.contains(&node));
    let row = topology.nodes.get(&node);
    listed && row.is_some_and(|row| row.incarnation == incarnation && !row.dead)
}
