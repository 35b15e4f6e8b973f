//! Meta servers that are lost while a primary dies: nothing is decided without a quorum, and everything afterwards.

use crate::cluster::{Asked, Cluster, DEFAULT, now, signal};
use crate::cuts::answer;
use crate::load::Load;
use crate::pauses::key_of;
use crate::wired::{Links, Wired};
use rustix::process::Signal;

#[test]
fn a_primary_that_dies_with_the_meta_leader_is_replaced_by_the_next_leader() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let before = cluster.shard(1);
    let (worker, leader) = (cluster.worker(before.primary), cluster.meta_leader());
    let leader = cluster.worker(leader);
    let killed = now();
    signal(leader, Signal::KILL);
    signal(worker, Signal::KILL);
    cluster.wait_for_another_primary(&before);
    cluster.wait_until_whole();
    load.wait_for(1000);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, killed);
    outcome.say("meta-leader-and-primary-killed", silence);
    // An election takes up to 1.3 s; the lease of 5 s is not waited for, the supervisor asks again.
    assert!(silence < 4000, "{silence} ms");
    let others = outcome
        .lost
        .keys()
        .filter(|key| !before.owns(capstan_proto::slot::Slot::of_key(key.as_bytes()).number()));
    assert_eq!(others.count(), 0, "keys of other shards were lost");
    cluster.nobody_served_twice();
}

#[test]
fn a_primary_that_dies_without_a_quorum_is_replaced_when_the_meta_servers_are_back() {
    let mut cluster = Wired::start(1, 1, Links::Direct);
    cluster.short_lease();
    let load = Load::start(&cluster.clients(), 4);
    let before = cluster.shard(1);
    let down = [cluster.meta_leader(), cluster.meta_followers()[0]];
    down.iter().for_each(|id| cluster.kill_meta(*id));
    // Only the process that serves: its supervisor goes on asking until somebody answers.
    let worker = cluster.worker(before.primary);
    signal(worker, Signal::KILL);
    cluster.wait_for_worker_other_than(before.primary, worker);
    let survivor = before.replicas[0];
    let key = key_of(&before, "down");
    cluster.wait("nobody writes", || {
        [before.primary, survivor].iter().all(|port| answer(*port, &key).starts_with('-'))
    });
    let back = now();
    down.iter().for_each(|id| cluster.start_meta(*id));
    cluster.wait_for_another_primary(&before);
    cluster.wait_until_whole();
    load.wait_for(500);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, back);
    outcome.say("no-quorum-then-back", silence);
    assert!(silence < 10_000, "{silence} ms after the quorum was back");
    let death = |event: &crate::cluster::Event| event.evidence.contains("supervisor saw");
    assert!(cluster.history().iter().any(death), "the supervisor gave up");
    cluster.nobody_served_twice();
}
