//! Garbage on every port (I12): after each assault every port still answers, the data is intact, the processes are the
//! same ones, and their resident memory has stayed within its bounds.
//!
//! The servers are real processes: a node alone, and a cluster with its client, peer and meta ports. Every random
//! assault prints its seed when it fails; CAPSTAN_SEED replays it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // figures, and what was skipped, are said aloud

mod assaults;
mod port;
mod victim;

use assaults::Assault;
use capstan_proto::auth::Secret;
use capstan_proto::env::{Random, RealRandom};
use capstan_tests::dev::{DevCluster, Shape};
use capstan_tests::process::capstan_node;
use port::{Port, Speaks};
use std::time::Duration;
use victim::Victim;

/// The seed of this run's random bytes.
fn seed() -> u64 {
    let given = std::env::var("CAPSTAN_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| RealRandom.u64())
}

/// Runs every assault that fits each port, one after the other.
async fn assail(victim: &mut Victim, ports: &[Port]) {
    let seed = seed();
    let mut done = 0;
    for port in ports {
        for assault in Assault::ALL {
            if !assault.fits(port.speaks) {
                continue;
            }
            let what = format!("{} on {port}, seed {seed} (CAPSTAN_SEED={seed} replays it)", assault.name());
            if let Err(error) = victim.settle(port).await {
                panic!("before {what}: {error}");
            }
            let before = victim.resident_bytes(port);
            let found = assault.run(port, victim, seed).await;
            let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            println!("{what}: {} KiB before; {found}", before / 1024);
            if let Err(error) = victim.check(Duration::from_secs(20)).await {
                panic!("after {what}: {error}");
            }
            done += 1;
        }
    }
    println!("{done} assaults survived on {} ports", ports.len());
}

#[tokio::test]
async fn a_node_alone_survives_garbage_on_its_client_port() {
    let node = capstan_node().expect("a node");
    let port = Port { at: node.address(), speaks: Speaks::Client, secret: Secret::NONE };
    let mut victim = Victim::alone(&node).await.expect("a filled node");
    assail(&mut victim, &[port]).await;
}

#[tokio::test]
async fn a_cluster_survives_garbage_on_every_port() {
    let shape = Shape { shards: 1, replicas: 0, meta: 1 };
    let cluster = DevCluster::start(shape, &[]).expect("a cluster");
    let secret = std::fs::read_to_string(cluster.secret_file()).expect("the secret of the cluster");
    let secret = Secret::from_text(&secret).expect("a secret");
    let port = |at, speaks| Port { at, speaks, secret: secret.clone() };
    let mut ports = vec![port(cluster.nodes()[0], Speaks::Client)];
    for stage in [Speaks::MetaGreeted, Speaks::MetaRaw] {
        ports.push(port(cluster.meta()[0], stage));
    }
    let peer = cluster.peers()[0];
    for stage in [Speaks::PeerGreeted, Speaks::PeerRaw] {
        ports.push(port(peer, stage));
    }
    let mut victim = Victim::cluster(&cluster).await.expect("a filled cluster");
    assail(&mut victim, &ports).await;
}
