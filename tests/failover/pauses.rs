//! A primary that stands still for longer than its lease, and wakes up.

use crate::cluster::{Asked, Cluster, DEFAULT, TTL_FLOOR_MS, now, pause, signal};
use crate::load::Load;
use capstan_proto::slot::Slot;
use capstan_tests::wire::{Wire, encode};
use rustix::process::Signal;
use std::net::SocketAddr;

/// A failover by the end of a lease takes the lease, 1 % for the clock's rate, and a second (issue 4).
const FAILOVER_MS: u64 = TTL_FLOOR_MS + TTL_FLOOR_MS / 100 + 1000;

/// A key of these slots.
pub(crate) fn key_of(shard: &crate::cluster::Shard, prefix: &str) -> String {
    let mut keys = (0..).map(|number| format!("{prefix}-{number}"));
    keys.find(|key| shard.owns(Slot::of_key(key.as_bytes()).number())).expect("some key has such a slot")
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_primary_paused_beyond_its_lease_serves_nothing_and_acknowledges_nothing_afterwards() {
    let cluster = Cluster::with_short_lease(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let before = cluster.shard(1);
    let worker = cluster.worker(before.primary);
    let key = key_of(&before, "paused");
    let mut old = Wire::connect(address(before.primary)).expect("it listens");
    assert_eq!(old.ask(&["INCR", &key]).expect("it serves"), b":1\r\n");

    let paused = now();
    pause(worker);
    // What lies in its socket when it wakes up.
    old.send(&encode(&["INCR", &key])).expect("the kernel takes it");
    let after = cluster.wait_for_another_primary(&before);
    let mut new = Wire::connect(address(after.primary)).expect("it listens");
    assert_eq!(new.ask(&["INCR", &key]).expect("it serves"), b":2\r\n");
    signal(worker, Signal::CONT);

    // An error, or the end of the connection: never the 2 of a second writer.
    match old.reply() {
        Ok(reply) => assert!(reply.starts_with(b"-"), "the old primary acknowledged {reply:?}"),
        Err(end) => println!("the connection ended: {end}"),
    }
    let mut again = Wire::connect(address(before.primary)).expect("it listens");
    for command in [["INCR", &key], ["GET", &key]] {
        let reply = again.ask(&command).unwrap_or_else(|end| end.to_string().into_bytes());
        let refused = [&b"-MOVED"[..], b"-CLUSTERDOWN"].iter().any(|error| reply.starts_with(error));
        assert!(refused, "{}", String::from_utf8_lossy(&reply));
    }
    assert_eq!(new.ask(&["GET", &key]).expect("it serves"), b"$1\r\n2\r\n");
    cluster.wait_until_whole();
    load.wait_for(1000);
    let outcome = load.finish();
    let silence = outcome.longest_silence(&before, paused);
    outcome.say("paused", silence);
    assert!(silence < FAILOVER_MS, "{silence} ms");
    let others =
        outcome.lost.keys().filter(|key| !before.owns(Slot::of_key(key.as_bytes()).number())).count();
    assert_eq!(others, 0, "keys of other shards were lost");
    assert!(cluster.nobody_served_twice() > 1000);
}

#[test]
fn a_pause_within_the_lease_changes_nothing() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 4);
    let before = cluster.shard(1);
    let worker = cluster.worker(before.primary);
    pause(worker);
    // As long as another shard takes for some thousand commands; the lease is 5 s.
    let other = cluster.shard(2);
    let key = key_of(&other, "meanwhile");
    let mut client = Wire::connect(address(other.primary)).expect("it listens");
    for turn in 1..=5000 {
        assert_eq!(client.ask(&["INCR", &key]).expect("it serves"), format!(":{turn}\r\n").into_bytes());
    }
    signal(worker, Signal::CONT);
    load.wait_for(1000);
    let outcome = load.finish();
    assert_eq!(cluster.shard(1), before);
    assert_eq!(outcome.lost(), 0, "{:?}", outcome.lost);
    cluster.nobody_served_twice();
}
