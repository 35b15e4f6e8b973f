//! A primary that is about to stop lets a replica serve in its place first (DESIGN 6, planned): it tells the meta group
//! with its heartbeats, and waits for the new cluster state, within a bound.
//!
//! It decides how long waiting makes sense: not without a whole replica, not when the meta group has fallen silent, not
//! beyond the hold limit and a margin. It promotes nobody and lets nothing go: the meta group plans, the lease and the log
//! hold and release. What is not handed over in time ends as a killed process would, without loss of what was replicated.

use super::life::Life;
use capstan_proto::ids::NodeId;
use capstan_proto::timing::HEARTBEAT_MAX_MS;
use capstan_proto::topology::Topology;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Beyond the hold limit: planning, two commits, and the way of the new state to this node.
pub const MARGIN: Duration = Duration::from_secs(3);
/// A meta group that has answered no heartbeat for so long plans nothing either.
const SILENT_AFTER: Duration = Duration::from_millis(3 * HEARTBEAT_MAX_MS);
/// A client that has not been heard of for so long has found the new primary.
const QUIET: Duration = Duration::from_millis(200);
/// Clients that go on coming (those that only look, for instance) are not waited for longer.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// How often the bounds are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The bound that holds whatever the settings say: the server's own, should this file not come to an end.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Returns when a hand-over was wanted and is done, or there is no point in waiting for it.
pub async fn when_wanted(life: &Life) {
    let mut in_force = life.in_force.subscribe();
    life.core.stopping.wanted().await;
    let clock = &life.core.env.clock;
    let begun = clock.boot();
    let mut asked = false;
    let why = loop {
        let topology = life.core.topology.load_full();
        // Only what is in force in every lane: commands that were held are answered by then.
        let installed = *in_force.borrow_and_update() >= topology.version;
        let now = clock.boot();
        if installed && topology.led_by(life.node).is_none() {
            break "it leads no shard";
        }
        if installed && !has_heir(&topology, life.node) {
            break "no whole replica lives";
        }
        if now.since(begun) > limit(&topology) {
            break "it took too long";
        }
        if now.since(life.heard().max(begun)) > SILENT_AFTER {
            break "the meta group is silent";
        }
        if !asked {
            asked = true;
            tracing::info!("asks the meta group for a replica to serve in its place");
            life.report.set_wants_handover(true);
        }
        tokio::select! {
            biased;
            // Its sender lives as long as the life.
            _ = in_force.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    let took_ms = clock.boot().since(begun).as_millis();
    tracing::info!(why, asked, took_ms, "the hand-over is over");
    if asked && life.core.topology.load().led_by(life.node).is_none() {
        linger(life).await;
    }
}

/// Tells clients where to go until none comes any more. A connection that is closed while a command is on its way leaves its
/// client without an answer, and without knowing whether it was done.
async fn linger(life: &Life) {
    let (clock, processed) = (&life.core.env.clock, &life.core.stats.processed);
    // Held commands are answered when the hold ends.
    life.core.hold.passed(&**clock).await;
    let begun = clock.boot();
    let (mut count, mut quiet_since) = (processed.load(Ordering::Relaxed), begun);
    while clock.boot().since(quiet_since) < QUIET && clock.boot().since(begun) < LINGER_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = processed.load(Ordering::Relaxed);
        if now != count {
            (count, quiet_since) = (now, clock.boot());
        }
    }
}

/// How long a hand-over is waited for.
fn limit(topology: &Topology) -> Duration {
    let hold = Duration::from_millis(topology.setting_number("hold-limit"));
    hold.saturating_add(MARGIN).min(LONGEST)
}

/// Whether the shard that a node leads has a replica that could lead it.
fn has_heir(topology: &Topology, node: NodeId) -> bool {
    let Some(shard) = topology.led_by(node) else { return false };
    let rows = shard.replicas.iter().filter_map(|replica| topology.nodes.get(replica));
    rows.into_iter().any(|row| row.whole && !row.dead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{AttemptId, ConfigEpoch, Incarnation, ShardEpoch, ShardId, SpawnToken};
    use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow};

    const SHARD: ShardId = ShardId([9; 20]);
    const LIFE: Incarnation = Incarnation { counter: 1, token: SpawnToken([1; 16]) };

    fn topology(whole: bool, dead: bool) -> Topology {
        let row = |id, whole, dead| NodeRow {
            id: NodeId([id; 20]),
            incarnation: LIFE,
            place: ProcessPlace::default(),
            addresses: Addresses::default(),
            shard: Some(SHARD),
            dead,
            whole,
            software: String::new(),
        };
        let mut topology = Topology::default();
        topology.set(Row::Node(row(1, true, false)));
        topology.set(Row::Node(row(2, whole, dead)));
        topology.set(Row::Shard(ShardRow {
            id: SHARD,
            number: 1,
            primary: NodeId([1; 20]),
            incarnation: LIFE,
            epoch: ShardEpoch(1),
            config_epoch: ConfigEpoch(1),
            replicas: vec![NodeId([2; 20])],
            phase: ShardPhase::Steady,
            last_attempt: AttemptId(0),
            floor: None,
        }));
        topology
    }

    #[test]
    fn only_a_whole_replica_that_lives_is_an_heir() {
        let heir = |whole, dead, node| has_heir(&topology(whole, dead), NodeId([node; 20]));
        assert!(heir(true, false, 1));
        assert!(!heir(false, false, 1) && !heir(true, true, 1));
        assert!(!heir(true, false, 2), "a replica hands nothing over");
    }

    #[test]
    fn the_bound_follows_the_hold_limit_and_has_an_end_of_its_own() {
        let mut topology = topology(true, false);
        assert_eq!(limit(&topology), Duration::from_millis(2000) + MARGIN);
        topology.set(Row::Setting { name: "hold-limit".into(), value: "86400000".into() });
        assert_eq!(limit(&topology), LONGEST);
    }
}
