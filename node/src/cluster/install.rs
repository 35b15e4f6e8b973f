//! A new cluster state takes effect on this node, in the one order that is safe (►8).
//!
//! First the lease learns of it, and ends if the role does; then every affected lane is locked once; only then is the
//! version in force, confirmed to the meta group, and good for grants that waited for it (►7). Lanes and disk may
//! block: both are touched off the control path's own thread, so that no heartbeat waits for them.

use super::lease::Lead;
use super::life::Life;
use super::view::{Standing, View};
use crate::core::NodeCore;
use capstan_proto::ids::{Incarnation, NodeId};
use capstan_proto::topology::Topology;
use std::sync::Arc;
use tokio::sync::watch;

/// Shows a cluster state to clients and lanes. Blocks: every lane is locked once before this returns (►8).
pub fn show(core: &NodeCore, topology: Arc<Topology>, me: (NodeId, Option<Incarnation>), standing: Standing) {
    core.config.follow_cluster(&topology.settings);
    core.install(View::new(topology, me.0, me.1, standing, core.env.clock.wall()));
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
            lead.iter().for_each(|lead| life.report.epoch_begins(lead.epoch));
        }
        let (of_lanes, shown) = (Arc::clone(&life), Arc::clone(&topology));
        let locked = life
            .offload
            .run(move || {
                show(&of_lanes.core, shown, (of_lanes.node, Some(of_lanes.incarnation)), Standing::Live)
            })
            .await;
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
