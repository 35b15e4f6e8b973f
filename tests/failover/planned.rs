//! Changes that somebody asked for: nothing acknowledged is lost (I10), and what was begun before them is not done after.

use crate::cluster::{Asked, Cluster, DEFAULT, signal};
use crate::load::Load;
use crate::pauses::{address, ended_or, key_of};
use capstan_tests::wire::Wire;
use rustix::process::Signal;

/// Clients are held for the rest of the replication lag and two commits.
const HELD_MS: u64 = 1000;
/// Clients under a rolling restart.
const CLIENTS: u64 = 20;

#[test]
fn a_failover_by_command_under_load_loses_nothing_and_no_client_notices() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), 20);
    let first = cluster.shard(1);
    let mut before = first.clone();
    for round in 0..4 {
        if round % 2 == 0 {
            cluster.done(&["failover", "1"]);
        } else {
            let mut replica = Wire::connect(address(before.replicas[0])).expect("it listens");
            assert_eq!(replica.ask(&["CLUSTER", "FAILOVER"]).expect("an answer"), b"+OK\r\n");
        }
        let after = cluster.wait_for_another_primary(&before);
        cluster.wait_until_whole();
        load.wait_for(500);
        before = after;
    }
    let outcome = load.finish();
    let silence = outcome.longest_silence(&first, outcome.begun());
    outcome.say("failover-by-command", silence);
    assert_eq!((outcome.lost(), outcome.unknown), (0, 0), "I10: {outcome:?}");
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(outcome.refusals, 0, "clients were sent away instead of held");
    assert!(silence < HELD_MS, "clients were held for {silence} ms");
    cluster.nobody_served_twice();
}

#[test]
fn a_rolling_restart_by_sigterm_loses_nothing() {
    let cluster = Cluster::start(DEFAULT);
    let load = Load::start(&cluster.0.nodes(), CLIENTS);
    let shards = cluster.shards();
    for at in cluster.0.nodes() {
        let port = at.port();
        let (before, worker) = (cluster.node(port), cluster.worker(port));
        signal(worker, Signal::TERM);
        cluster.wait("the next life", || {
            cluster.nodes().iter().any(|node| node.port == port && node.incarnation > before.incarnation)
        });
        cluster.wait_until_whole();
        load.wait_for(200);
    }
    let outcome = load.finish();
    let silences = shards.iter().map(|shard| outcome.longest_silence(shard, outcome.begun()));
    let silence = silences.max().unwrap_or_default();
    outcome.say("rolling-restart", silence);
    assert_eq!(outcome.lost(), 0, "I10: {outcome:?}");
    // A command can be on its way while the server closes the connection: this client does not send it again, as real ones
    // do (`tests/real-clients/rolling`). At most one for each connection that a restart closes.
    let closed = CLIENTS * cluster.0.nodes().len() as u64;
    assert!(outcome.unknown <= closed, "{} of {closed}: {outcome:?}", outcome.unknown);
    assert!(silence < HELD_MS, "clients were held for {silence} ms");
    let lost = |event: &crate::cluster::Event| event.what.contains("data lost");
    assert!(!cluster.history().iter().any(lost), "a shard came back empty");
    cluster.nobody_served_twice();
}

#[test]
fn a_transaction_that_was_begun_before_a_failover_is_not_executed_after_it() {
    let cluster = Cluster::start(DEFAULT);
    let before = cluster.shard(1);
    let key = key_of(&before, "half");
    let mut client = Wire::connect(address(before.primary)).expect("it listens");
    for (command, reply) in [
        (&["SET", &key, "first"][..], &b"+OK\r\n"[..]),
        (&["MULTI"], b"+OK\r\n"),
        (&["SET", &key, "second"], b"+QUEUED\r\n"),
    ] {
        assert_eq!(client.ask(command).expect("an answer"), reply);
    }
    cluster.done(&["failover", "1"]);
    let after = cluster.wait_for_another_primary(&before);
    let reply = client.ask(&["EXEC"]).unwrap_or_else(|end| end.to_string().into_bytes());
    assert!(!reply.starts_with(b"*"), "it was executed: {}", String::from_utf8_lossy(&reply));
    let mut new = Wire::connect(address(after.primary)).expect("it listens");
    assert_eq!(new.ask(&["GET", &key]).expect("it serves"), b"$5\r\nfirst\r\n");
    // Nor with its reply withheld (►9): the old primary follows the new one, and has what that has.
    cluster.wait_until_whole();
    let mut old = Wire::connect(address(before.primary)).expect("it listens");
    assert_eq!(old.ask(&["READONLY"]).expect("an answer"), b"+OK\r\n");
    assert_eq!(old.ask(&["GET", &key]).expect("a replica answers"), b"$5\r\nfirst\r\n");
}

#[test]
fn a_watch_from_before_a_failover_there_and_back_is_dirty() {
    let cluster = Cluster::start(DEFAULT);
    let before = cluster.shard(1);
    let key = key_of(&before, "watched");
    let mut client = Wire::connect(address(before.primary)).expect("it listens");
    assert_eq!(client.ask(&["SET", &key, "first"]).expect("an answer"), b"+OK\r\n");
    assert_eq!(client.ask(&["WATCH", &key]).expect("an answer"), b"+OK\r\n");
    cluster.done(&["failover", "1"]);
    let away = cluster.wait_for_another_primary(&before);
    let mut other = Wire::connect(address(away.primary)).expect("it listens");
    assert_eq!(other.ask(&["SET", &key, "by another"]).expect("an answer"), b"+OK\r\n");
    cluster.wait_until_whole();
    cluster.done(&["failover", "1"]);
    let back = cluster.wait_for_another_primary(&away);
    assert_eq!(back.primary, before.primary);
    // The connection may have been closed by the change of roles; if not, the transaction aborts.
    let exec = client
        .ask(&["MULTI"])
        .and_then(|_| client.ask(&["SET", &key, "second"]))
        .and_then(|_| client.ask(&["EXEC"]))
        .unwrap_or_else(|end| end.to_string().into_bytes());
    assert!(!exec.starts_with(b"*1"), "it was executed: {}", String::from_utf8_lossy(&exec));
    let mut reader = Wire::connect(address(back.primary)).expect("it listens");
    assert_eq!(reader.ask(&["GET", &key]).expect("it serves"), b"$10\r\nby another\r\n");
}

#[test]
fn a_client_blocked_on_a_list_is_told_when_its_primary_hands_over() {
    let cluster = Cluster::start(DEFAULT);
    let before = cluster.shard(1);
    let key = key_of(&before, "list");
    let mut client = Wire::connect(address(before.primary)).expect("it listens");
    client.send(&capstan_tests::wire::encode(&["BLPOP", &key, "0"])).expect("sent");
    let mut other = Wire::connect(address(before.primary)).expect("it listens");
    cluster.wait("the client is blocked", || {
        let info = other.ask(&["INFO", "clients"]).expect("an answer");
        String::from_utf8_lossy(&info).contains("blocked_clients:1")
    });
    cluster.done(&["failover", "1"]);
    let after = cluster.wait_for_another_primary(&before);
    let told = ended_or(client.reply());
    assert!(told.is_none_or(|reply| reply.starts_with(b"-")), "it got an element");
    let mut new = Wire::connect(address(after.primary)).expect("it listens");
    assert_eq!(new.ask(&["RPUSH", &key, "x"]).expect("it serves"), b":1\r\n");
    assert_eq!(new.ask(&["LLEN", &key]).expect("it serves"), b":1\r\n", "the old client took it");
}
