//! A new cluster state takes effect on this node, in the one order that is safe (►8).
//!
//! First the lease learns of it, and ends if the role does; then what `role.rs` says, with every affected lane locked
//! once; only then is the version in force, confirmed to the meta group, and good for grants that waited for it (►7).
//! Lanes and disk may block: both are touched off the control path's own thread, so that no heartbeat waits for them.

use super::life::Life;
use super::role::{self, Duty, Step};
use super::view::{Standing, View};
use crate::blocking::{self, Why};
use crate::core::NodeCore;
use crate::hold::Until;
use crate::log::Required;
use crate::replication::Receiver;
use capstan_proto::ids::{Incarnation, NodeId};
use capstan_proto::settings::{HOLD_LIMIT, MIN_REPLICAS_MAX_LAG, MIN_REPLICAS_TO_WRITE};
use capstan_proto::topology::Topology;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Clients wait no longer than this for a new primary's first lease, which one heartbeat brings where all is well.
const FIRST_LEASE_LIMIT: Duration = Duration::from_millis(500);

/// Shows a cluster state to clients and lanes. Blocks: every lane is locked once before this returns (►8).
pub fn show(core: &NodeCore, topology: Arc<Topology>, me: (NodeId, Option<Incarnation>), standing: Standing) {
    core.config.follow_cluster(&topology.settings);
    core.log.set_required(Required {
        replicas: topology.setting_number(MIN_REPLICAS_TO_WRITE),
        lag_max: Duration::from_secs(topology.setting_number(MIN_REPLICAS_MAX_LAG)),
    });
    core.install(View::new(topology, me.0, me.1, standing, core.env.clock.wall()));
    blocking::release_all(core, Why::SlotsLeft);
}

/// Installs what the watch brings, one state after the other, the newest only. Ends when the watch does.
pub async fn run(life: Arc<Life>, mut states: watch::Receiver<Arc<Topology>>) {
    let mut receiver = None;
    while states.changed().await.is_ok() {
        let topology = Arc::clone(&states.borrow_and_update());
        let version = topology.version;
        let duty = Duty::of(&topology, life.node, life.incarnation);
        let before = *life.duty.borrow();
        let lead = duty.lead();
        let lost = life.with_lease(|lease, _| {
            let before = lease.lead();
            lease.attempt_is(duty.attempt().map(|attempt| attempt.id));
            (lease.reach(version, lead), before != lead)
        });
        if let (lost, true) = lost {
            tracing::info!(%version, ?lead, lease_ended = lost, "the role of this node has changed");
            lead.iter().for_each(|lead| {
                life.report.epoch_begins(lead.epoch);
                life.core.replication.log_is_of(lead.shard);
            });
        }
        if !take_all(&life, &topology, &role::steps(&before, &duty), &mut receiver).await {
            // Without every lane locked nothing is in force: the lease runs out by itself.
            tracing::error!(%version, "a cluster state could not be installed");
            continue;
        }
        life.with_lease(|lease, _| lease.in_force(version));
        life.duty.send_replace(duty);
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

/// Takes the steps one after the other; false if one could not be taken: then none after it is.
async fn take_all(
    life: &Arc<Life>,
    topology: &Arc<Topology>,
    steps: &[Step],
    receiver: &mut Option<Receiver>,
) -> bool {
    for step in steps {
        if !take(life, topology, *step, receiver).await {
            return false;
        }
    }
    true
}

/// Takes one step of a change of roles; false if it could not be taken.
async fn take(
    life: &Arc<Life>,
    topology: &Arc<Topology>,
    step: Step,
    receiver: &mut Option<Receiver>,
) -> bool {
    let core = Arc::clone(&life.core);
    let done = match step {
        Step::StopReceiver => {
            if let Some(receiver) = receiver.take() {
                receiver.stop_and_join().await;
            }
            Some(())
        }
        Step::Receive(source) => {
            let started = Receiver::start(&core, source.shard, source.primary, source.epoch);
            *receiver = Some(started);
            Some(())
        }
        Step::OpenEpoch(epoch) => life.offload.run(move || core.log.open_epoch(epoch)).await,
        Step::Want(wanted) => life.offload.run(move || core.log.set_wanted(wanted)).await,
        Step::Hold => {
            let limit = Duration::from_millis(topology.setting_number(HOLD_LIMIT));
            core.hold.begin(core.env.clock.boot(), limit, Until::HandedOver);
            Some(())
        }
        Step::AwaitLease => {
            core.hold.begin(core.env.clock.boot(), FIRST_LEASE_LIMIT, Until::FirstLease);
            Some(())
        }
        Step::Lanes => {
            let (topology, me) = (Arc::clone(topology), (life.node, Some(life.incarnation)));
            life.offload.run(move || show(&core, topology, me, Standing::Live)).await
        }
        Step::StepDown => {
            let closed = life.offload.run(move || {
                core.log.step_down();
                core.sweep_replies();
            });
            closed.await
        }
    };
    done.is_some()
}
