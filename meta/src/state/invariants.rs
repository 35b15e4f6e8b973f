//! What must hold of every state, and between a state and the next: I2, I3, and that every reference leads somewhere.
//!
//! Checked by tests after each command, and on snapshots that are read back. It repairs nothing.

use super::{NODES_MAX, REPLICAS_MAX, SHARDS_MAX, State};
use capstan_proto::ids::{NodeId, ShardId};
use capstan_proto::settings::{ClusterSetting, HISTORY_LENGTH};
use capstan_proto::slot::Slot;
use capstan_proto::topology::{ShardRow, Topology};
use std::collections::BTreeSet;

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// I2: an owner that is no shard.
    #[error("I2: slot {0} belongs to shard {1}, which does not exist")]
    OwnerUnknown(Slot, ShardId),
    /// I2: a shard whose primary is no node of it.
    #[error("I2: the primary {1} of shard {0} is no member of it")]
    PrimaryNoMember(ShardId, NodeId),
    /// I2: a node in two shards, or twice in one.
    #[error("I2: node {0} is a member twice")]
    MemberTwice(NodeId),
    /// A replica that does not know its shard, or a node whose shard does not know it.
    #[error("node {0} and its shard disagree about its membership")]
    MembershipOneSided(NodeId),
    /// Replicas stand in id order.
    #[error("the replicas of shard {0} are out of order, or too many")]
    ReplicasUnordered(ShardId),
    /// ►14: an attempt that has no number of its own, or a candidate that is no replica.
    #[error("shard {0} is in an attempt that does not fit it")]
    AttemptUnfit(ShardId),
    /// ►1: two shards with one config epoch, or one beyond the highest handed out.
    #[error("the config epoch of shard {0} is not its own")]
    ConfigEpochShared(ShardId),
    /// A shard number beyond those founded, or twice.
    #[error("the number of shard {0} is not its own")]
    NumberShared(ShardId),
    /// A shard under epoch 0, or a row under another key.
    #[error("shard {0} was never founded properly")]
    ShardUnfounded(ShardId),
    /// A row under another key than its own.
    #[error("node {0} stands under another id")]
    NodeMisplaced(NodeId),
    /// A setting that could not have been set.
    #[error("setting {0} holds a value that it does not take")]
    SettingUnfit(String),
    /// A drained node that is none.
    #[error("node {0} is drained and does not exist")]
    DrainedUnknown(NodeId),
    /// Beyond a limit on the size of the state.
    #[error("more {0} than the state may hold")]
    TooMany(&'static str),
    /// I3: a shard epoch that does not grow.
    #[error("I3: shard {0} went back in its epoch, or changed its primary without a new one")]
    EpochNotGrown(ShardId),
    /// I9: no command moves a slot.
    #[error("I2: slot {0} changed its owner")]
    SlotMoved(Slot),
    /// Nothing removes these yet.
    #[error("{0} vanished")]
    Vanished(String),
    /// ►13: a life that came back, or one that skipped a number.
    #[error("node {0} went back in its lives")]
    LifeNotGrown(NodeId),
    /// The version, the highest config epoch or the last attempt went back.
    #[error("{0} went back")]
    WentBack(&'static str),
}

/// Whether `after` may follow `before` by one log entry.
pub fn check(before: &State, after: &State) -> Result<(), Broken> {
    well_formed(after)?;
    let (old, new) = (&before.topology, &after.topology);
    if new.version < old.version {
        return Err(Broken::WentBack("the version"));
    }
    if new.config_epoch < old.config_epoch {
        return Err(Broken::WentBack("the config epoch"));
    }
    if old.group.is_some() && new.group != old.group {
        return Err(Broken::Vanished("the group's identity".to_owned()));
    }
    for (id, was) in &old.shards {
        let now = new.shards.get(id).ok_or_else(|| Broken::Vanished(format!("shard {id}")))?;
        check_shard(was, now)?;
    }
    for (id, was) in &old.nodes {
        let now = new.nodes.get(id).ok_or_else(|| Broken::Vanished(format!("node {id}")))?;
        let (was_life, now_life) = (was.incarnation, now.incarnation);
        if now_life != was_life && now_life.counter <= was_life.counter {
            return Err(Broken::LifeNotGrown(*id));
        }
        if now_life == was_life && was.dead && !now.dead {
            return Err(Broken::LifeNotGrown(*id));
        }
    }
    // Until migrations exist, an owner is for ever (I9).
    match Slot::all().find(|slot| old.owner(*slot).is_some() && old.owner(*slot) != new.owner(*slot)) {
        Some(slot) => Err(Broken::SlotMoved(slot)),
        None => Ok(()),
    }
}

/// I3, ►1, ►14 for one shard.
fn check_shard(was: &ShardRow, now: &ShardRow) -> Result<(), Broken> {
    let same_primary = (was.primary, was.incarnation) == (now.primary, now.incarnation);
    if now.epoch < was.epoch || (now.epoch == was.epoch) != same_primary {
        return Err(Broken::EpochNotGrown(was.id));
    }
    if now.config_epoch < was.config_epoch || now.last_attempt < was.last_attempt {
        return Err(Broken::WentBack("an epoch or attempt of a shard"));
    }
    Ok(())
}

/// Whether a state is one that `apply` could have made.
pub fn well_formed(state: &State) -> Result<(), Broken> {
    let topology = &state.topology;
    for slot in Slot::all() {
        match topology.owner(slot) {
            Some(owner) if !topology.shards.contains_key(&owner) => {
                return Err(Broken::OwnerUnknown(slot, owner));
            }
            Some(_) | None => {}
        }
    }
    members(topology)?;
    numbers(state)?;
    if let Some(stranger) = topology.drained.iter().find(|node| !topology.nodes.contains_key(node)) {
        return Err(Broken::DrainedUnknown(*stranger));
    }
    for (name, value) in &topology.settings {
        let accepted = ClusterSetting::find(name).and_then(|row| row.check(value).ok());
        if accepted.is_none_or(|accepted| accepted.value != *value) {
            return Err(Broken::SettingUnfit(name.clone()));
        }
    }
    let limits = [
        ("nodes", topology.nodes.len(), NODES_MAX as u64),
        ("shards", topology.shards.len(), SHARDS_MAX as u64),
        ("finished requests", state.requests.len(), u64::from(state.requests.limit())),
        ("events", state.history.len(), topology.setting_number(HISTORY_LENGTH)),
    ];
    match limits.into_iter().find(|(_, len, most)| *len as u64 > *most) {
        Some((what, _, _)) => Err(Broken::TooMany(what)),
        None => Ok(()),
    }
}

/// I2: each shard exactly one primary, each node at most one place.
fn members(topology: &Topology) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    for (id, shard) in &topology.shards {
        let member = |node: &NodeId| topology.nodes.get(node).is_some_and(|row| row.shard == Some(*id));
        if !member(&shard.primary) {
            return Err(Broken::PrimaryNoMember(*id, shard.primary));
        }
        for node in shard.replicas.iter().chain([&shard.primary]) {
            if !seen.insert(*node) {
                return Err(Broken::MemberTwice(*node));
            }
            if !member(node) {
                return Err(Broken::MembershipOneSided(*node));
            }
        }
        if !shard.replicas.is_sorted() || shard.replicas.len() > REPLICAS_MAX {
            return Err(Broken::ReplicasUnordered(*id));
        }
        if let Some((attempt, candidate)) = shard.phase.planned()
            && (attempt != shard.last_attempt || !shard.replicas.contains(&candidate))
        {
            return Err(Broken::AttemptUnfit(*id));
        }
    }
    for (id, node) in &topology.nodes {
        if node.id != *id {
            return Err(Broken::NodeMisplaced(*id));
        }
        if node.shard.is_some() && !seen.contains(id) {
            return Err(Broken::MembershipOneSided(*id));
        }
    }
    Ok(())
}

/// ►1: config epochs and shard numbers are handed out once.
fn numbers(state: &State) -> Result<(), Broken> {
    let topology = &state.topology;
    let (mut epochs, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (id, shard) in &topology.shards {
        if shard.id != *id || shard.epoch.0 == 0 {
            return Err(Broken::ShardUnfounded(*id));
        }
        if shard.config_epoch > topology.config_epoch || !epochs.insert(shard.config_epoch) {
            return Err(Broken::ConfigEpochShared(*id));
        }
        if shard.number == 0 || shard.number > state.shards_founded || !numbers.insert(shard.number) {
            return Err(Broken::NumberShared(*id));
        }
    }
    Ok(())
}
