//! Failovers between real meta servers and the control path of real nodes. What log and replication will say is said
//! by the test: that a copy is complete, where a log stands, that a primary has handed over.

use super::harness::{Metas, Node, until};
use capstan_node::cluster::report::{HandedOver, WholeOf};
use capstan_node::core::NodeCore;
use capstan_proto::ids::{BatchNumber, NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::verb::Verb;
use capstan_proto::timing::{LEASE_TTL_DEFAULT_MS, LEASE_TTL_FLOOR_MS};
use capstan_proto::topology::{ShardPhase, ShardRow};
use std::sync::Arc;
use std::time::Duration;

const SHARD: ShardId = ShardId([7; 20]);
const TTL: Duration = Duration::from_millis(LEASE_TTL_FLOOR_MS);
/// The leader was elected, and the TTL lowered, just before: it waits for one lease of the old length (►5, ►10).
const GRACE: Duration = Duration::from_millis(LEASE_TTL_DEFAULT_MS);

struct Pair {
    metas: Metas,
    primary: Node,
    replica: Node,
    _dir: tempfile::TempDir,
}

impl Pair {
    /// A primary of all slots under the shortest lease, and its whole replica.
    async fn start() -> Self {
        let metas = Metas::start(3);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let primary = Node::start(&metas, dir.path().join("a"));
        let replica = Node::start(&metas, dir.path().join("b"));
        metas.set("cluster-node-timeout", &LEASE_TTL_FLOOR_MS.to_string()).await;
        metas.give_all_slots(primary.registered().await).await;
        let node = replica.registered().await;
        let shard = Some(SHARD.0.to_vec().into());
        let join = v1::JoinVerb { node: node.0.to_vec().into(), shard, new_shard: Vec::new().into() };
        metas.propose(Verb::Join(join)).await;
        until("the primary serves", || serves(&primary)).await;
        replica.core.log.start_over(at(1, 41), Vec::new());
        replica.core.report.set_whole_of(Some(WholeOf { shard: SHARD, epoch: ShardEpoch(1) }));
        until("the copy is known to be whole", || {
            primary.core.topology.load().nodes.get(&node).is_some_and(|row| row.whole)
        })
        .await;
        Self { metas, primary, replica, _dir: dir }
    }

    fn shard(&self) -> ShardRow {
        self.replica.core.topology.load().shards[&SHARD].clone()
    }

    async fn history(&self) -> String {
        let events = self.metas.history().await;
        events.iter().map(|e| format!("{}; {}; {}\n", e.what, e.why, e.evidence)).collect()
    }

    /// Waits until the history says something.
    async fn told(&self, what: &str) -> String {
        for _ in 0..500 {
            let history = self.history().await;
            if history.contains(what) {
                return history;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never told: {what}\n{}", self.history().await);
    }

    async fn fails_over(&self, kind: u32) {
        let shard = SHARD.0.to_vec().into();
        self.metas.propose(Verb::Failover(v1::FailoverVerb { shard, candidate: None, kind })).await;
    }
}

fn at(epoch: u64, batch: u64) -> Position {
    Position { epoch: ShardEpoch(epoch), batch: BatchNumber(batch) }
}

fn serves(node: &Node) -> bool {
    node.serves() && node.owns(0)
}

/// A primary that holds its clients when it sees an attempt, hands over, and lets them go when it sees the end.
fn hands_over(core: Arc<NodeCore>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let attempt = loop {
            let phase = core.topology.load().shards.get(&SHARD).map(|shard| shard.phase.clone());
            if let Some(ShardPhase::Planned { attempt, .. }) = phase {
                break attempt;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        core.report.set_handed_over(Some(HandedOver { attempt, position: at(1, 99) }));
        while core.topology.load().shards[&SHARD].epoch == ShardEpoch(1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        core.report.set_handed_over(None);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_of_death_promotes_the_whole_replica_at_once_and_the_history_says_why() {
    let mut pair = Pair::start().await;
    let id = pair.primary.id().await;
    let token = pair.primary.core.topology.load().nodes[&id].incarnation.token;
    pair.primary.end().await;
    let told = pair.replica.now();
    assert!(pair.metas.dead(id, token).await.known);
    until("the replica serves", || serves(&pair.replica)).await;
    let took = pair.replica.now().since(told);
    println!("from the supervisor's word to the first grant: {took:?}");
    assert!(took < Duration::from_secs(1), "no lease is waited for, yet it took {took:?}");
    pair.replica.core.report.served(pair.replica.now());
    let history = pair.told("served its first command of shard 1 in epoch 2").await;
    for word in [
        "the primary's process has ended",
        "witness: its supervisor",
        "at 1:41",
        "after the promotion was proposed: committed",
        "granted",
    ] {
        assert!(history.contains(word), "{word}:\n{history}");
    }
    assert_eq!(pair.shard().replicas, [id]);
    pair.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_proof_the_lease_is_waited_for_and_not_much_longer() {
    let mut pair = Pair::start().await;
    pair.primary.end().await;
    let stopped = pair.replica.now();
    until("the replica serves", || serves(&pair.replica)).await;
    let took = pair.replica.now().since(stopped);
    println!("from the end of the process to the first grant of its successor: {took:?}");
    assert!(took > TTL / 2 && took < GRACE + Duration::from_secs(1), "{took:?}");
    pair.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_done_when_the_primary_has_handed_over_and_its_hold_is_told() {
    let pair = Pair::start().await;
    let primary = hands_over(pair.primary.core.clone());
    pair.fails_over(0).await;
    until("the replica serves", || serves(&pair.replica)).await;
    primary.await.expect("it does not panic");
    assert_eq!((pair.shard().epoch, pair.shard().phase), (ShardEpoch(2), ShardPhase::Steady));
    // The node's own part in it (`handover.rs`) tells how long.
    let history = pair.told("held the clients of shard 1 for ").await;
    assert!(history.contains(" us in attempt 1"), "{history}");
    assert!(history.contains("planned failover 1") && history.contains("everything up to 1:99"), "{history}");
    until("the old primary has left", || !serves(&pair.primary)).await;
    pair.primary.stop().await;
    pair.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_does_not_hand_over_keeps_its_shard_when_the_attempt_is_ended() {
    let pair = Pair::start().await;
    pair.fails_over(0).await;
    let history = pair.told("ended planned failover 1 of shard 1 without a promotion").await;
    assert!(history.contains("did not hand over within"), "{history}");
    let core = &pair.primary.core;
    assert!(core.serving.covers(core.env.clock.boot()), "it never lost its lease");
    until("it has seen the end of the attempt", || serves(&pair.primary)).await;
    assert_eq!(pair.shard().primary, pair.primary.id().await);
    pair.primary.stop().await;
    pair.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_failover_waits_for_the_lease_of_a_primary_that_does_not_answer() {
    let pair = Pair::start().await;
    let begun = pair.replica.now();
    pair.fails_over(1).await;
    until("the replica serves", || {
        // The successor is asked first: if it serves now, the old one must have stopped before.
        let new = serves(&pair.replica);
        assert!(!(new && serves(&pair.primary)), "two serve at once (I4)");
        new
    })
    .await;
    let took = pair.replica.now().since(begun);
    println!("from the order to the first grant: {took:?}");
    assert!(took < GRACE + Duration::from_secs(1), "{took:?}");
    let history = pair.told("test consented to the loss; ").await;
    assert!(history.contains("ms for the primary to stop serving"), "{history}");
    pair.primary.stop().await;
    pair.replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_and_one_that_is_about_to_stop_hand_over_what_they_lead() {
    let pair = Pair::start().await;
    let hands = hands_over(pair.primary.core.clone());
    let id: NodeId = pair.primary.id().await;
    pair.metas.propose(Verb::Drain(v1::DrainVerb { node: id.0.to_vec().into(), end: false })).await;
    until("the replica serves", || serves(&pair.replica)).await;
    hands.await.expect("it does not panic");
    assert!(pair.told("the primary is drained").await.contains(&format!("node {id} is drained")));
    // The drained one is no candidate, so the other keeps the shard though it wants to stop.
    pair.replica.core.report.set_wants_handover(true);
    until("it is heard", || pair.replica.core.topology.load().shards[&SHARD].epoch == ShardEpoch(2)).await;
    pair.metas.propose(Verb::Drain(v1::DrainVerb { node: id.0.to_vec().into(), end: true })).await;
    pair.told("the primary is about to stop").await;
    pair.primary.stop().await;
    pair.replica.stop().await;
}
