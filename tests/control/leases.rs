//! A node and its lease, while meta servers come and go.

use super::harness::{Metas, Node, until};
use capstan_proto::rules::Rules;
use capstan_proto::timing::LEASE_TTL_FLOOR_MS;
use std::time::Duration;

/// A primary of all slots under the shortest lease.
async fn primary(metas: &Metas, dir: &tempfile::TempDir) -> Node {
    primary_under(Rules::ALL, metas, dir).await
}

/// The same, keeping to these rules.
pub(crate) async fn primary_under(rules: Rules, metas: &Metas, dir: &tempfile::TempDir) -> Node {
    let node = Node::under(rules, metas, dir.path().join("node"));
    let id = node.registered().await;
    metas.set("cluster-node-timeout", &LEASE_TTL_FLOOR_MS.to_string()).await;
    metas.give_all_slots(id).await;
    until("the node serves", || node.serves() && node.owns(0)).await;
    node
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_its_lease_within_a_second_of_joining() {
    let (metas, dir) = (Metas::start(1), folder());
    let node = Node::start(&metas, dir.path().join("node"));
    let id = node.registered().await;
    assert!(!node.serves(), "nothing is served before there is a shard");
    metas.give_all_slots(id).await;
    let joined = node.now();
    until("the node serves", || node.serves() && node.owns(0) && node.owns(16383)).await;
    let took = node.now().since(joined);
    assert!(took < Duration::from_secs(1), "{took:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_while_the_meta_leader_is_replaced() {
    let (mut metas, dir) = (Metas::start(3), folder());
    let node = primary(&metas, &dir).await;
    let old = metas.stop_leader().await;
    let stopped = node.now();
    let lease_then = node.core.serving.until();
    // Until a lease of the next leader has come, the node must never have been without one.
    let ttl = Duration::from_millis(LEASE_TTL_FLOOR_MS);
    until("a lease that only the next leader can have granted", || {
        assert!(node.serves(), "no lease {:?} after the leader stopped", node.now().since(stopped));
        node.core.serving.until() > lease_then.after(ttl)
    })
    .await;
    assert_ne!(metas.state().await.leader, old);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_meta_server_a_node_serves_to_the_end_of_its_lease_and_recovers_by_itself() {
    let (mut metas, dir) = (Metas::start(1), folder());
    let node = primary(&metas, &dir).await;
    tokio::task::block_in_place(|| metas.stop_all());
    let ends = node.core.serving.until();
    let left = ends.since(node.now());
    assert!(left <= Duration::from_millis(LEASE_TTL_FLOOR_MS), "{left:?}");
    until("the end of the lease", || {
        let before = node.now();
        let serves = node.serves();
        let after = node.now();
        assert_eq!(node.core.serving.until(), ends, "nobody can have extended it");
        assert!(serves || after >= ends, "it stopped {:?} early", ends.since(after));
        assert!(!serves || before < ends, "it went on {:?} too long", before.since(ends));
        !serves
    })
    .await;
    assert!(node.owns(0), "it is still the primary, without a lease");
    metas.start_all();
    until("it serves again", || node.serves()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_life_of_a_primary_in_the_same_folder_serves_in_a_new_epoch_without_waiting_for_a_lease() {
    let (metas, dir) = (Metas::start(1), folder());
    let node = primary(&metas, &dir).await;
    let (id, shard) = (node.registered().await, node.core.topology.load().shards.clone());
    node.stop().await;
    let again = Node::start(&metas, dir.path().join("node"));
    let started = again.now();
    until("it serves again", || again.serves() && again.owns(0)).await;
    let took = again.now().since(started);
    assert_eq!(again.id().await, id);
    let topology = again.core.topology.load_full();
    let (before, after) = (shard.values().next().expect("one"), topology.led_by(id).expect("it leads"));
    assert_eq!(after.epoch, before.epoch.next());
    assert_eq!(after.incarnation.counter, before.incarnation.counter + 1);
    assert!(
        took < Duration::from_millis(LEASE_TTL_FLOOR_MS),
        "proved by the folder's lock, yet it took {took:?}"
    );
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_folder_waits_for_ever_while_the_first_node_lives() {
    let (metas, dir) = (Metas::start(1), folder());
    let node = primary(&metas, &dir).await;
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).expect("fresh");
    std::fs::copy(dir.path().join("node/identity"), copy.join("identity")).expect("copied");
    let second = Node::start(&metas, copy);
    let first_lease = node.core.serving.until();
    let ttl = Duration::from_millis(LEASE_TTL_FLOOR_MS);
    // Long enough that the lease of then would be over: the first node must have gone on getting grants.
    until("a lease later", || {
        assert!(node.serves(), "the living node lost its lease to a copy");
        assert!(!second.serves());
        node.core.serving.until() > first_lease.after(ttl)
    })
    .await;
    assert!(!node.has_ended());
    second.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_the_cluster_is_in_force_here_when_its_sender_gets_the_answer() {
    let (metas, dir) = (Metas::start(1), folder());
    let node = primary(&metas, &dir).await;
    let admin = node.core.admin.get().expect("registered").clone();
    admin.set_setting("cluster-node-timeout", "4000").await.expect("committed");
    assert_eq!(node.core.topology.load().lease_ttl_ms(), 4000);
    assert!(admin.set_setting("cluster-node-timeout", "nonsense").await.is_err());
    node.stop().await;
}
