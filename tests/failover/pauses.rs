//! A primary that stands still for longer than its lease, and wakes up.

use crate::cluster::{Asked, Cluster, DEFAULT, Shard, now, pause, signal};
use crate::faults::{Fault, judge, rounds};
use crate::load::Load;
use capstan_proto::slot::Slot;
use capstan_tests::wire::{Wire, encode};
use rustix::process::Signal;
use std::net::SocketAddr;

/// A key of these slots.
pub(crate) fn key_of(shard: &Shard, prefix: &str) -> String {
    let mut keys = (0..).map(|number| format!("{prefix}-{number}"));
    keys.find(|key| shard.owns(Slot::of_key(key.as_bytes()).number())).expect("some key has such a slot")
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A reply; nothing if the connection has ended instead. Silence is neither.
pub(crate) fn ended_or(reply: std::io::Result<Vec<u8>>) -> Option<Vec<u8>> {
    let silent = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
    match reply {
        Ok(reply) => Some(reply),
        Err(end) => {
            assert!(!silent.contains(&end.kind()), "the client was told nothing: {end}");
            None
        }
    }
}

/// Pauses whoever leads beyond its lease, and looks at what it does when it wakes up behind its successor.
fn pauses(cluster: &Cluster, load: &Load, before: &Shard, key: &str) -> (Fault, Shard) {
    let worker = cluster.worker(before.primary);
    let mut old = Wire::connect(address(before.primary)).expect("it listens");
    assert_eq!(old.ask(&["INCR", &format!("{{{key}}}")]).expect("it serves"), b":1\r\n");
    pause(worker);
    let paused = now();
    // What lies in its socket when it wakes up.
    old.send(&encode(&["INCR", key])).expect("the kernel takes it");
    let (fault, after) = Fault::answered(cluster, before, paused, key);
    signal(worker, Signal::CONT);

    // An error, or the end of the connection: never the 1 or the 2 of a second writer.
    if let Some(reply) = ended_or(old.reply()) {
        assert!(reply.starts_with(b"-"), "the old primary acknowledged {reply:?}");
    }
    let mut again = Wire::connect(address(before.primary)).expect("it listens");
    for command in [["INCR", key], ["GET", key]] {
        let reply = again.ask(&command).unwrap_or_else(|end| end.to_string().into_bytes());
        let refused = [&b"-MOVED"[..], b"-CLUSTERDOWN"].iter().any(|error| reply.starts_with(error));
        assert!(refused, "{}", String::from_utf8_lossy(&reply));
    }
    let mut new = Wire::connect(address(after.primary)).expect("it listens");
    assert_eq!(new.ask(&["GET", key]).expect("it serves"), b"$1\r\n1\r\n");
    (fault.heals(cluster, load, &after, key), after)
}

#[test]
fn a_primary_paused_beyond_its_lease_serves_nothing_and_acknowledges_nothing_afterwards() {
    let cluster = Cluster::with_short_lease(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let first = cluster.shard(1);
    let mut before = first.clone();
    let mut faults = Vec::new();
    for round in rounds() {
        let (fault, after) = pauses(&cluster, &load, &before, &key_of(&before, &format!("paused-{round}")));
        faults.push(fault);
        before = after;
    }
    let outcome = load.finish();
    judge("paused", &outcome, &first, &faults);
    let others = outcome.lost.keys().filter(|key| !first.owns(Slot::of_key(key.as_bytes()).number())).count();
    assert_eq!(others, 0, "keys of other shards were lost");
    assert!(cluster.nobody_served_twice() > 1000);
}

#[test]
fn a_pause_within_the_lease_changes_nothing() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 4);
    let begun = now();
    // A primary that was founded a moment ago is given the time of a lease anyway.
    cluster.wait("the primaries are no longer young", || now() - begun > 5_500_000_000);
    let before = cluster.shard(1);
    let worker = cluster.worker(before.primary);
    pause(worker);
    let paused = now();
    // For three fifths of the lease, which is 5 s; another shard goes on.
    let other = cluster.shard(2);
    let key = key_of(&other, "meanwhile");
    let mut client = Wire::connect(address(other.primary)).expect("it listens");
    for turn in 1..=5000 {
        assert_eq!(client.ask(&["INCR", &key]).expect("it serves"), format!(":{turn}\r\n").into_bytes());
    }
    cluster.wait("three seconds are over", || now() - paused > 3_000_000_000);
    signal(worker, Signal::CONT);
    load.wait_for(1000);
    let outcome = load.finish();
    assert_eq!(cluster.shard(1), before);
    assert_eq!(outcome.lost(), 0, "{:?}", outcome.lost);
    cluster.nobody_served_twice();
}
