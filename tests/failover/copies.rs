//! Copies: replicas that die while they are made, and a cluster that is stopped as a whole.

use crate::cluster::{Asked, Cluster, Shard, signal};
use crate::load::{KEYS_EACH, Load, counter};
use crate::pauses::address;
use capstan_tests::dev::Shape;
use capstan_tests::wire::{Wire, encode, number};
use rustix::process::Signal;

/// So many keys that a copy takes long enough to be interrupted.
const KEYS: usize = 200_000;
/// Clients that write meanwhile.
const CLIENTS: u64 = 4;
/// Commands sent before their replies are read.
const AT_ONCE: usize = 1000;

/// Writes keys to the primary of the only shard.
fn fill(primary: u16) {
    let mut client = Wire::connect(address(primary)).expect("it listens");
    let value = "v".repeat(200);
    for first in (0..KEYS).step_by(AT_ONCE) {
        let keys = (first..first + AT_ONCE).map(|key| format!("key-{key}"));
        let batch: Vec<u8> = keys.flat_map(|key| encode(&["SET", &key, &value])).collect();
        client.send(&batch).expect("sent");
        for _ in 0..AT_ONCE {
            assert_eq!(client.reply().expect("a reply"), b"+OK\r\n");
        }
    }
}

/// What each counter of the load is, as this primary has it.
fn counters(port: u16) -> Vec<Vec<u8>> {
    let mut client = Wire::connect(address(port)).expect("it listens");
    let names = (0..CLIENTS).flat_map(|client| (0..KEYS_EACH).map(move |key| counter(client, key)));
    names.map(|name| client.ask(&["GET", &name]).expect("an answer")).collect()
}

fn keys(port: u16) -> i64 {
    let mut client = Wire::connect(address(port)).expect("it listens");
    number(&client.ask(&["DBSIZE"]).expect("an answer")).expect("a number")
}

#[test]
fn a_replica_killed_while_it_is_copied_becomes_whole_in_the_end() {
    let cluster = Cluster::start(Shape { shards: 1, replicas: 1, meta: 3 });
    let shard = cluster.shard(1);
    fill(shard.primary);
    let load = Load::start(&cluster.0.nodes(), CLIENTS);
    let replica = shard.replicas[0];
    for _ in 0..5 {
        let (life, worker) = (cluster.node(replica).incarnation, cluster.worker(replica));
        signal(worker, Signal::KILL);
        cluster.wait("the next life of the replica", || {
            cluster.nodes().iter().any(|node| node.port == replica && node.incarnation > life)
        });
        // Its copy has begun, or is about to.
        cluster.wait("the next process is listed", || {
            cluster.0.serving().get(&replica).is_some_and(|now| *now != worker)
        });
    }
    cluster.wait_until_whole();
    assert_eq!(cluster.shard(1), shard, "a replica's death changed the shard");
    let outcome = load.finish();
    assert_eq!((outcome.lost(), outcome.unknown), (0, 0), "{outcome:?}");
    let (wanted, values) = (keys(shard.primary), counters(shard.primary));
    cluster.wait("the replica has every key", || keys(replica) == wanted);
    signal(cluster.worker(shard.primary), Signal::KILL);
    let after = cluster.wait_for_another_primary(&shard);
    assert_eq!((after.primary, keys(replica)), (replica, wanted));
    assert_eq!(counters(replica), values, "what was written during the copies");
}

#[test]
fn a_cluster_that_is_stopped_and_started_is_the_same_and_says_what_is_lost() {
    let mut cluster = Cluster::start(crate::cluster::DEFAULT);
    let before = cluster.shards();
    let mut client = Wire::connect(address(before[0].primary)).expect("it listens");
    assert!(client.ask(&["PING"]).is_ok());
    drop(client);
    let nodes: Vec<_> = cluster.nodes().into_iter().map(|node| (node.id, node.port)).collect();
    cluster.0.stop().expect("it stops");
    cluster.0.restart().expect("it starts again");
    let same = |shards: &[Shard]| -> Vec<_> {
        shards
            .iter()
            .map(|shard| (shard.id.clone(), shard.primary, shard.replicas.clone(), shard.slots.clone()))
            .collect()
    };
    let after = cluster.shards();
    assert_eq!(same(&after), same(&before), "ids and owners stay");
    let now: Vec<_> = cluster.nodes().into_iter().map(|node| (node.id, node.port)).collect();
    assert_eq!(now, nodes);
    for (after, before) in after.iter().zip(&before) {
        assert!(after.epoch > before.epoch, "I3: {} after {}", after.epoch, before.epoch);
    }
    let history = cluster.history();
    assert!(
        !history.iter().any(|event| event.what.contains(" died in life ")),
        "a stop is no death: {history:#?}"
    );
    let lost = history.iter().filter(|event| event.what.contains("data lost")).count();
    assert_eq!(lost, before.len(), "no copy lived: {history:#?}");
    assert!(cluster.0.output().contains("data lost"), "{}", cluster.0.output());
}
