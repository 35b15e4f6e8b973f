//! A new cluster state takes effect on this node, in the one order that is safe (►8).
//!
//! First the lease learns of it, and ends if the role does; then every affected lane is locked once; only then is the
//! version in force, confirmed to the meta group, and good for grants that waited for it (►7). Lanes and disk may
//! block: both are touched off the control path's own thread, so that no heartbeat waits for them.

use super::lease::Lead;
use super::life::Life;
use crate::core::NodeCore;
use crate::store::Access;
use capstan_proto::ids::{NodeId, ShardId};
use capstan_proto::slot::Slot;
use capstan_proto::topology::Topology;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What a node may do with each slot, by a copy of the cluster state. Whether it may do it *now* is the lease's word.
pub fn access(topology: &Topology, me: NodeId) -> impl Fn(Slot) -> Access + '_ {
    let of = |shard: &ShardId| match topology.shards.get(shard) {
        Some(row) if row.primary == me => Access::Mine,
        Some(row) if row.replicas.contains(&me) => Access::Replica,
        Some(_) => Access::Elsewhere,
        None => Access::Unassigned,
    };
    let by_shard: BTreeMap<ShardId, Access> = topology.shards.keys().map(|id| (*id, of(id))).collect();
    move |slot| {
        let owner = topology.owner(slot);
        owner.and_then(|shard| by_shard.get(&shard).copied()).unwrap_or(Access::Unassigned)
    }
}

/// Shows a cluster state to clients and lanes. Blocks: every lane is locked once before this returns.
pub fn show(core: &NodeCore, topology: &Arc<Topology>, me: NodeId) {
    core.topology.store(Arc::clone(topology));
    core.config.follow_cluster(&topology.settings);
    core.lanes.set_access(access(topology, me));
}

/// Installs what the watch brings, one state after the other, the newest only. Ends when the watch does.
pub async fn run(life: Arc<Life>, mut states: watch::Receiver<Arc<Topology>>) {
    while states.changed().await.is_ok() {
        let topology = Arc::clone(&states.borrow_and_update());
        let version = topology.version;
        let lead = Lead::of(&topology, life.node, life.incarnation);
        let lost = life.with_lease(|lease, _| {
            let before = lease.lead();
            (lease.reach(version, lead), before != lead)
        });
        if let (lost, true) = lost {
            tracing::info!(%version, ?lead, lease_ended = lost, "the role of this node has changed");
        }
        let (of_lanes, shown) = (Arc::clone(&life), Arc::clone(&topology));
        let locked = life.offload.run(move || show(&of_lanes.core, &shown, of_lanes.node)).await;
        if locked.is_none() {
            // Without every lane locked nothing is in force: the lease runs out by itself.
            tracing::error!(%version, "a cluster state could not be installed");
            continue;
        }
        life.with_lease(|lease, _| lease.in_force(version));
        life.in_force.send_replace(version);
        life.urge.notify_one();
        let folder = life.folder.clone();
        let kept = life.offload.run(move || folder.keep_cluster_state(&topology)).await;
        if let Some(Err(error)) = kept {
            // A copy for the next start only: the node goes on, the next state is tried again.
            tracing::error!(%error, "the cluster state is not on disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{AttemptId, ConfigEpoch, Incarnation, ShardEpoch, SpawnToken};
    use capstan_proto::topology::{Row, ShardPhase, ShardRow, SlotRun};

    #[test]
    fn a_slot_is_ours_a_replicas_elsewhere_or_unassigned_as_the_state_says() {
        let (me, other) = (NodeId([1; 20]), NodeId([2; 20]));
        let shard = |byte, primary, replicas| ShardRow {
            id: ShardId([byte; 20]),
            number: 1,
            primary,
            incarnation: Incarnation { counter: 1, token: SpawnToken([1; 16]) },
            epoch: ShardEpoch(1),
            config_epoch: ConfigEpoch(1),
            replicas,
            phase: ShardPhase::Steady,
            last_attempt: AttemptId(0),
            floor: None,
        };
        let mut topology = Topology::default();
        topology.set(Row::Shard(shard(1, me, vec![])));
        topology.set(Row::Shard(shard(2, other, vec![me])));
        topology.set(Row::Shard(shard(3, other, vec![])));
        let slot = |n| Slot::new(n).expect("a slot");
        for byte in 1..=4u8 {
            let at = slot(u16::from(byte));
            topology.set(Row::Slots(SlotRun { first: at, last: at, owner: Some(ShardId([byte; 20])) }));
        }
        let access = access(&topology, me);
        let seen: Vec<Access> = (0..=4).map(|n| access(slot(n))).collect();
        let want = [Access::Unassigned, Access::Mine, Access::Replica, Access::Elsewhere, Access::Unassigned];
        assert_eq!(seen, want);
    }
}
