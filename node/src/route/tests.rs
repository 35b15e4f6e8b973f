//! The decision order of COMPATIBILITY A.12, case by case, in Redis' words.

use super::*;
use crate::cluster::view::tests::{change, cluster, node, seen_by, set, slot, unassign};
use capstan_proto::ids::{Incarnation, SpawnToken};
use capstan_proto::settings::{FULL_COVERAGE, READS_WHEN_DOWN};
use capstan_proto::topology::{EndpointType, Topology};

/// What a client reads, or nothing if the command runs here.
fn answer(byte: u8, topology: Topology, at: u16, intent: Intent, wish: Wish) -> Option<String> {
    let view = seen_by(byte, topology);
    let slot = slot(at);
    let refusal = decide(&view, slot, view.access(slot), intent, wish).err()?;
    Some(refusal.error(&view, slot, "127.0.0.1").to_string())
}

fn read(byte: u8, topology: Topology, at: u16) -> Option<String> {
    answer(byte, topology, at, Intent::Read, Wish::PrimariesOnly)
}

#[test]
fn a_slot_of_another_shard_is_moved_to_its_primary() {
    for intent in [Intent::Read, Intent::Write] {
        let told = answer(1, cluster(), 0, intent, Wish::PrimariesOnly);
        assert_eq!(told.as_deref(), Some("MOVED 0 10.0.0.1:7002"));
    }
}

#[test]
fn moved_names_the_preferred_endpoint() {
    for (preferred, hostname, expected) in [
        (EndpointType::Hostname, "b.example", "MOVED 0 b.example:7002"),
        (EndpointType::Hostname, "", "MOVED 0 ?:7002"),
        (EndpointType::UnknownEndpoint, "b.example", "MOVED 0 :7002"),
        (EndpointType::Ip, "b.example", "MOVED 0 10.0.0.1:7002"),
    ] {
        let mut topology = cluster();
        change(&mut topology, 1, |row| row.addresses.preferred = preferred);
        change(&mut topology, 2, |row| row.addresses.hostname = hostname.into());
        assert_eq!(read(1, topology, 0).as_deref(), Some(expected));
    }
}

#[test]
fn a_slot_without_an_owner_is_said_before_the_state_of_the_cluster() {
    let mut topology = cluster();
    unassign(&mut topology, 500);
    assert_eq!(read(1, topology.clone(), 500).as_deref(), Some("CLUSTERDOWN Hash slot not served"));
    for at in [0, 100] {
        assert_eq!(read(1, topology.clone(), at).as_deref(), Some("CLUSTERDOWN The cluster is down"));
    }
    set(&mut topology, FULL_COVERAGE, "no");
    assert_eq!(read(1, topology.clone(), 500).as_deref(), Some("CLUSTERDOWN Hash slot not served"));
    assert_eq!(read(1, topology, 0).as_deref(), Some("MOVED 0 10.0.0.1:7002"));
}

#[test]
fn while_the_cluster_is_down_reads_go_on_only_if_they_are_allowed() {
    let mut topology = cluster();
    unassign(&mut topology, 500);
    set(&mut topology, READS_WHEN_DOWN, "yes");
    assert_eq!(read(1, topology.clone(), 100), None);
    assert_eq!(read(1, topology.clone(), 0).as_deref(), Some("MOVED 0 10.0.0.1:7002"));
    let write = answer(1, topology, 100, Intent::Write, Wish::PrimariesOnly);
    assert_eq!(write.as_deref(), Some("CLUSTERDOWN The cluster is down and only accepts read commands"));
}

#[test]
fn a_replica_serves_reads_of_a_readonly_connection_once_it_is_whole() {
    let asks = |topology: Topology, intent, wish| answer(4, topology, 100, intent, wish);
    let moved = Some("MOVED 100 10.0.0.1:7001".to_owned());
    assert_eq!(asks(cluster(), Intent::Read, Wish::ReadReplicas), None);
    assert_eq!(asks(cluster(), Intent::Read, Wish::PrimariesOnly), moved);
    assert_eq!(asks(cluster(), Intent::Write, Wish::ReadReplicas), moved);
    let elsewhere = answer(4, cluster(), 0, Intent::Read, Wish::ReadReplicas);
    assert_eq!(elsewhere.as_deref(), Some("MOVED 0 10.0.0.1:7002"));
    let mut topology = cluster();
    change(&mut topology, 4, |row| row.whole = false);
    assert_eq!(asks(topology, Intent::Read, Wish::ReadReplicas), moved, "it would say that keys are missing");
}

#[test]
fn a_primary_without_a_lease_is_down_for_its_own_slots_and_redirects_for_others() {
    let view = seen_by(1, cluster());
    let down = decide(&view, slot(100), Access::Mine, Intent::Read, Wish::PrimariesOnly);
    assert_eq!(down, Err(Refusal::Down));
    assert_eq!(read(1, cluster(), 0).as_deref(), Some("MOVED 0 10.0.0.1:7002"));
}

#[test]
fn nobody_is_sent_to_where_he_is() {
    let mut topology = cluster();
    let next = Incarnation { counter: 2, token: SpawnToken([77; 16]) };
    change(&mut topology, 1, |row| row.incarnation = next);
    let view = crate::cluster::view::View::new(
        std::sync::Arc::new(topology),
        node(1),
        Some(next),
        crate::cluster::view::Standing::Live,
        capstan_proto::env::UnixMs(0),
    );
    let told = decide(&view, slot(100), view.access(slot(100)), Intent::Write, Wish::PrimariesOnly);
    assert_eq!(told, Err(Refusal::Down), "it waits for its promotion: MOVED to itself would loop");
}

#[test]
fn a_node_without_a_shard_serves_no_slot() {
    assert_eq!(read(5, cluster(), 100).as_deref(), Some("CLUSTERDOWN Hash slot not served"));
}
