//! Processes that are killed: the one that serves, its supervisor, both; and processes that must not be taken for them.

use crate::cluster::{Asked, Cluster, DEFAULT, alive, now, signal};
use crate::load::Load;
use capstan_tests::process::{free_port, wait_until};
use rustix::process::Signal;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A failover that waited for a lease would take longer than this.
const BLINK_MS: u64 = 1000;

#[test]
fn a_primary_killed_under_load_is_replaced_within_a_blink_by_the_word_of_its_supervisor() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let before = cluster.shard(1);
    let (node, worker) = (cluster.node(before.primary), cluster.worker(before.primary));
    let killed = now();
    signal(worker, Signal::KILL);
    let after = cluster.wait_for_another_primary(&before);
    cluster.wait("the next worker", || {
        cluster.0.serving().get(&before.primary).is_some_and(|now| *now != worker)
    });
    cluster.wait_until_whole();
    load.wait_for(1000);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, killed);
    outcome.say("worker-killed", silence);
    assert!(silence < BLINK_MS, "{silence} ms, which is no blink");
    let others = outcome.lost.keys().filter(|key| !owned(&before, key)).count();
    assert_eq!(others, 0, "keys of other shards were lost");
    let history = cluster.history();
    let died = format!("node {} died in life {}", node.id, node.incarnation);
    let death = history.iter().find(|event| event.what.starts_with(&died));
    assert!(
        death.is_some_and(|death| death.evidence.contains("supervisor")),
        "nobody told of the death: {history:#?}"
    );
    assert_eq!(after.replicas, [before.primary], "the killed one is its replica now");
    assert!(cluster.nobody_served_twice() > 1000);
}

fn owned(shard: &crate::cluster::Shard, key: &str) -> bool {
    shard.owns(capstan_proto::slot::Slot::of_key(key.as_bytes()).number())
}

#[test]
fn a_worker_that_loses_its_supervisor_hands_over_without_loss_and_ends() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let before = cluster.shard(1);
    let (worker, supervisor) = (cluster.worker(before.primary), cluster.supervisor(before.primary));
    let killed = now();
    signal(supervisor, Signal::KILL);
    cluster.wait_for_another_primary(&before);
    cluster.wait("the worker ends by itself", || !alive(worker));
    cluster.wait("another supervisor", || {
        cluster.0.supervisors().get(&before.primary).is_some_and(|now| *now != supervisor)
    });
    cluster.wait_until_whole();
    load.wait_for(1000);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, killed);
    outcome.say("supervisor-killed", silence);
    assert_eq!(outcome.lost(), 0, "I10: {:?}", outcome.lost);
    assert!(silence < BLINK_MS, "{silence} ms, which is no blink");
    cluster.nobody_served_twice();
}

#[test]
fn a_primary_killed_with_its_supervisor_is_proved_dead_by_the_next_life_in_its_folder() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let before = cluster.shard(1);
    let (worker, supervisor) = (cluster.worker(before.primary), cluster.supervisor(before.primary));
    let killed = now();
    signal(supervisor, Signal::KILL);
    signal(worker, Signal::KILL);
    cluster.wait_for_another_primary(&before);
    cluster.wait_until_whole();
    load.wait_for(1000);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, killed);
    outcome.say("both-killed", silence);
    // `dev` starts the next supervisor a moment later; the lease of 5 s is not waited for.
    assert!(silence < 3000, "{silence} ms: the lease was waited for");
    let proved = |event: &crate::cluster::Event| event.evidence.contains("holds the folder lock");
    assert!(cluster.history().iter().any(proved), "►13 by the folder's lock");
    cluster.nobody_served_twice();
}

/// A data node that the test starts itself, as a second process of some node.
fn second(cluster: &Cluster, dir: &Path, log: &Path) -> Child {
    let meta: Vec<String> = cluster.0.meta().iter().map(ToString::to_string).collect();
    let port = free_port().expect("a free port").to_string();
    let log = std::fs::File::create(log).expect("room");
    let mut command = Command::new(cluster.0.binary());
    command.args(["node", "--bind", "127.0.0.1", "--port", &port, "--meta", &meta.join(",")]);
    command.arg("--dir").arg(dir).arg("--secret-file").arg(cluster.0.secret_file());
    let output = log.try_clone().expect("a descriptor");
    command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().expect("the binary starts")
}

/// Kills what a test has started, with the worker below it.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_process_on_a_folder_is_refused_and_changes_nothing() {
    let cluster = Cluster::start(DEFAULT);
    let shard = cluster.shard(1);
    let (events, worker) = (cluster.history().len(), cluster.worker(shard.primary));
    let dir = cluster.0.folder().join(format!("node-{}", shard.primary));
    let log = cluster.0.folder().join("second.log");
    let mut second = Reaped(second(&cluster, &dir, &log));
    let mut code = None;
    cluster.wait("the second process ends", || {
        code = second.0.try_wait().expect("a child of ours");
        code.is_some()
    });
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(code.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains("is in use by another process"), "{said}");
    assert_eq!((cluster.history().len(), cluster.worker(shard.primary)), (events, worker));
    assert_eq!(cluster.shard(1), shard);
}

#[test]
fn a_copied_folder_started_elsewhere_proves_nobody_dead() {
    let cluster = Cluster::with_short_lease(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 4);
    let shard = cluster.shard(1);
    let node = cluster.node(shard.primary);
    let copy = cluster.0.folder().join("copy");
    std::fs::create_dir(&copy).expect("room");
    for file in ["identity", "cluster-state"] {
        let from = cluster.0.folder().join(format!("node-{}", shard.primary)).join(file);
        std::fs::copy(from, copy.join(file)).expect("room");
    }
    let log = cluster.0.folder().join("copy.log");
    let mut copied = Reaped(second(&cluster, &copy, &log));
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    cluster.wait("the copy asks to be registered", || said().contains("not registered yet"));
    // Two leases and more: enough for whatever waits for the end of one.
    let moved = || cluster.node(shard.primary) != node || cluster.shard(1).epoch != shard.epoch;
    assert!(!wait_until(Duration::from_secs(7), moved), "the copy took over\n{}", said());
    assert!(copied.0.try_wait().expect("a child of ours").is_none_or(|status| !status.success()));
    drop(copied);
    load.wait_for(1000);
    let outcome = load.finish();
    assert_eq!((outcome.lost(), outcome.unknown), (0, 0), "{outcome:?}");
    let died = |event: &crate::cluster::Event| event.what.contains(" died in life ");
    assert!(!cluster.history().iter().any(died), "a death was proved by a copy");
    cluster.nobody_served_twice();
}
