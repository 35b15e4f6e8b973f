//! What clients of the data nodes notice when the meta group loses its leader, or its quorum: nothing, or CLUSTERDOWN
//! when the leases end and not a moment of it after a quorum is back. Default settings.

use crate::group::{LIMIT, Operator, send};
use crate::writers::{Seen, Writers};
use capstan_proto::env::{Boot, Clock, RealClock};
use capstan_proto::timing::{LEASE_TTL_DEFAULT_MS, heartbeat_every_ms};
use capstan_tests::dev::{DevCluster, Shape};
use capstan_tests::process::wait_until;
use rustix::process::Signal;
use std::time::Duration;

const TTL: Duration = Duration::from_millis(LEASE_TTL_DEFAULT_MS);
/// A client that is served notices nothing longer than this on a machine that also runs everything else.
const HICCUP: Duration = Duration::from_secs(1);
/// What a lease that ends may be younger than the instant at which the quorum was lost: a heartbeat and its round.
const AGE: Duration = Duration::from_millis(2 * heartbeat_every_ms(LEASE_TTL_DEFAULT_MS));

fn cluster() -> (DevCluster, Operator) {
    let cluster = DevCluster::start(Shape { shards: 3, replicas: 0, meta: 3 }, &[]).expect("a cluster");
    let meta: Vec<String> = cluster.meta().iter().map(ToString::to_string).collect();
    let operator = Operator::new(cluster.binary(), &cluster.secret_file(), meta.join(","));
    (cluster, operator)
}

fn pid_at(cluster: &DevCluster, address: &str) -> u32 {
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("HOST:PORT");
    cluster.pid_at(port).expect("a process at this port")
}

fn now() -> Boot {
    RealClock.boot()
}

/// Waits until something is so of every writer.
fn all(writers: &Writers, what: &str, so: impl Fn(&Seen) -> bool) {
    let done = wait_until(LIMIT, || writers.seen().iter().all(&so));
    assert!(done, "never: {what}; {:?}", writers.seen().iter().map(|s| s.refused.last()).collect::<Vec<_>>());
}

#[test]
fn clients_notice_nothing_while_the_leader_of_the_meta_group_is_killed_and_while_it_hangs() {
    let (cluster, operator) = cluster();
    let writers = Writers::start(&cluster.nodes());
    for signal in [Signal::KILL, Signal::STOP] {
        let old = operator.leader();
        let pid = pid_at(&cluster, &old.address);
        let lost = now();
        send(pid, signal);
        // A killed one is started again at once, and may be elected again.
        let replaced = wait_until(LIMIT, || operator.leader().term > old.term);
        assert!(replaced, "{old:?} leads on after {signal:?}");
        // Only grants of the new leader can have carried the traffic as far as this.
        all(&writers, "writes a lease later", |seen| {
            seen.acknowledged_after(lost.after(TTL + HICCUP)).is_some()
        });
        if signal == Signal::STOP {
            send(pid, Signal::CONT);
        }
        for (seen, node) in writers.seen().iter().zip(cluster.nodes()) {
            let silence = seen.longest_silence(lost);
            println!("{node} after {signal:?} of the leader: longest silence {silence:?}");
            assert!(silence < HICCUP, "{node} was silent for {silence:?} after {signal:?}");
        }
    }
    for seen in writers.end() {
        assert_eq!((seen.refused.first(), seen.unknown), (None, 0));
    }
}

#[test]
fn without_a_quorum_clients_are_served_to_the_end_of_the_leases_and_again_when_it_is_back() {
    let (cluster, operator) = cluster();
    let writers = Writers::start(&cluster.nodes());
    all(&writers, "a first write", |seen| !seen.acknowledged.is_empty());
    let leader = operator.leader().address;
    let follower = cluster.meta().iter().map(ToString::to_string).find(|at| *at != leader).expect("two");
    let gone = [pid_at(&cluster, &leader), pid_at(&cluster, &follower)];
    let lost = now();
    gone.iter().for_each(|pid| send(*pid, Signal::STOP));
    all(&writers, "refused", |seen| seen.refused_after(lost).is_some());
    let down = now();
    for (seen, node) in writers.seen().iter().zip(cluster.nodes()) {
        let (at, error) = seen.refused_after(lost).expect("just seen");
        let served = at.since(lost);
        println!("{node} served for {served:?} after the quorum was lost, then: {error}");
        assert!(error.starts_with("-CLUSTERDOWN"), "{error}");
        assert!(served <= TTL + HICCUP, "{node} served for {served:?}");
        assert!(served + AGE >= TTL, "{node} stopped after {served:?}");
        assert_eq!(seen.acknowledged_after(*at), None, "{node} acknowledged something after its lease");
    }
    gone.iter().for_each(|pid| send(*pid, Signal::CONT));
    let back = now();
    all(&writers, "served again", |seen| seen.acknowledged_after(back).is_some());
    for (seen, node) in writers.end().iter().zip(cluster.nodes()) {
        let again = seen.acknowledged_after(down).expect("just seen");
        assert!(again > back, "{node} served without a quorum");
        println!(
            "{node} serves {:?} after the quorum is back; {} writes acknowledged, {} unknown",
            again.since(back),
            seen.acknowledged.len(),
            seen.unknown
        );
    }
}
