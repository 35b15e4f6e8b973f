//! What clients are told, compared with literal bytes, and what a node may do with each slot.

use super::*;
use capstan_proto::ids::{AttemptId, SpawnToken, Version};

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId([byte; 20])
}

fn shard(byte: u8) -> ShardId {
    ShardId([0xa0 + byte; 20])
}

pub(crate) fn slot(number: u16) -> Slot {
    Slot::new(number).expect("below 16384")
}

fn life(byte: u8) -> Incarnation {
    Incarnation { counter: 1, token: SpawnToken([byte; 16]) }
}

fn node_row(byte: u8, of: Option<ShardId>) -> NodeRow {
    NodeRow {
        id: node(byte),
        incarnation: life(byte),
        place: ProcessPlace::default(),
        addresses: Addresses {
            ip: "10.0.0.1".into(),
            port: 7000 + u16::from(byte),
            peer_port: 17000 + u16::from(byte),
            hostname: String::new(),
            preferred: EndpointType::Ip,
        },
        shard: of,
        dead: false,
        whole: true,
        software: "0.1.0".into(),
    }
}

fn shard_row(byte: u8, primary: u8, replicas: &[u8]) -> ShardRow {
    ShardRow {
        id: shard(byte),
        number: byte.into(),
        primary: node(primary),
        incarnation: life(primary),
        epoch: ShardEpoch(1),
        config_epoch: ConfigEpoch(byte.into()),
        replicas: replicas.iter().map(|byte| node(*byte)).collect(),
        phase: ShardPhase::Steady,
        last_attempt: AttemptId(0),
        floor: None,
    }
}

/// Shards 1 (primary 1, replica 4) and 2 (primary 2) own all slots, shard 2 in two runs; node 5 has no shard.
pub(crate) fn cluster() -> Topology {
    let mut topology = Topology::default();
    topology.version = Version { generation: 0, index: 9 };
    topology.config_epoch = ConfigEpoch(2);
    for (byte, of) in [(1, Some(1)), (2, Some(2)), (4, Some(1)), (5, None)] {
        topology.set(Row::Node(node_row(byte, of.map(shard))));
    }
    topology.set(Row::Shard(shard_row(1, 1, &[4])));
    topology.set(Row::Shard(shard_row(2, 2, &[])));
    for (first, last, owner) in [(0, 99, 2), (100, 100, 1), (101, 8191, 1), (8192, 16383, 2)] {
        topology.set(Row::Slots(SlotRun { first: slot(first), last: slot(last), owner: Some(shard(owner)) }));
    }
    topology
}

pub(crate) fn change(topology: &mut Topology, byte: u8, change: impl FnOnce(&mut NodeRow)) {
    let mut row = topology.nodes[&node(byte)].clone();
    change(&mut row);
    topology.set(Row::Node(row));
}

pub(crate) fn unassign(topology: &mut Topology, number: u16) {
    topology.set(Row::Slots(SlotRun { first: slot(number), last: slot(number), owner: None }));
}

pub(crate) fn set(topology: &mut Topology, name: &str, value: &str) {
    topology.set(Row::Setting { name: name.into(), value: value.into() });
}

/// The cluster as a node in its present life sees it.
pub(crate) fn seen_by(byte: u8, topology: Topology) -> View {
    View::new(Arc::new(topology), node(byte), Some(life(byte)), Standing::Live, UnixMs(1234))
}

fn written(resp: Resp, write: impl FnOnce(&mut Reply)) -> String {
    let mut reply = Reply::over(Vec::new(), resp);
    write(&mut reply);
    String::from_utf8(reply.into_bytes()).expect("text")
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(20)
}

#[test]
fn cluster_nodes_lists_shards_and_itself_with_the_slots_on_primaries_only() {
    let mut topology = cluster();
    change(&mut topology, 2, |row| row.addresses.hostname = "b.example".into());
    let view = seen_by(1, topology);
    let (n1, n2, n4) = (hex(1), hex(2), hex(4));
    let expected = format!(
        "{n1} 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 100-8191\n\
         {n2} 10.0.0.1:7002@17002,b.example master - 0 1234 2 connected 0-99 8192-16383\n\
         {n4} 10.0.0.1:7004@17004 slave {n1} 0 1234 1 connected\n"
    );
    assert_eq!(view.nodes_text(""), expected);
    assert_eq!(view.nodes_text("127.0.0.1"), expected, "the connection matters only without an address");
}

#[test]
fn cluster_nodes_marks_the_dead_the_replica_that_asks_and_a_single_slot() {
    let mut topology = cluster();
    change(&mut topology, 2, |row| row.dead = true);
    unassign(&mut topology, 101);
    let view = seen_by(4, topology);
    let (n1, n2, n4) = (hex(1), hex(2), hex(4));
    assert_eq!(
        view.nodes_text(""),
        format!(
            "{n1} 10.0.0.1:7001@17001 master - 0 1234 1 connected 100 102-8191\n\
             {n2} 10.0.0.1:7002@17002 master,fail - 0 1234 2 disconnected 0-99 8192-16383\n\
             {n4} 10.0.0.1:7004@17004 myself,slave {n1} 0 0 1 connected\n"
        )
    );
}

#[test]
fn every_node_shows_the_same_ids_and_ranges() {
    // redis-cli compares the signature of each node (COMPATIBILITY A.2).
    let signature = |byte: u8| {
        let view = seen_by(byte, cluster());
        let mut parts: Vec<String> = Vec::new();
        for line in view.nodes_text("").lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields.len() > 8 {
                let mut slots = fields[8..].to_vec();
                slots.sort_unstable();
                parts.push(format!("{}:{}", fields[0], slots.join(",")));
            }
        }
        parts.sort_unstable();
        parts.join("|")
    };
    assert_eq!(signature(1), signature(2));
    assert_eq!(signature(1), signature(4));
    assert!(signature(1).contains(&format!("{}:0-99,8192-16383", hex(2))));
}

#[test]
fn cluster_slots_is_sorted_by_start_with_whole_replicas_behind_their_primary() {
    let (n1, n2, n4) = (hex(1), hex(2), hex(4));
    let entry = |id: &str, port: u16| format!("*4\r\n$8\r\n10.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n");
    let expected = format!(
        "*3\r\n*3\r\n:0\r\n:99\r\n{}*4\r\n:100\r\n:8191\r\n{}{}*3\r\n:8192\r\n:16383\r\n{}",
        entry(&n2, 7002),
        entry(&n1, 7001),
        entry(&n4, 7004),
        entry(&n2, 7002)
    );
    let view = seen_by(1, cluster());
    assert_eq!(written(Resp::Two, |out| view.slots_reply("", out)), expected);
    let three = written(Resp::Three, |out| view.slots_reply("", out));
    assert_eq!(three, expected.replace("*0\r\n", "%0\r\n"));
    assert_eq!(
        written(Resp::Two, |out| view.slots_reply("", out)),
        expected,
        "each version has its own copy"
    );

    for spoil in [|row: &mut NodeRow| row.whole = false, |row: &mut NodeRow| row.dead = true] {
        let mut topology = cluster();
        change(&mut topology, 4, spoil);
        let view = seen_by(1, topology);
        assert!(!written(Resp::Two, |out| view.slots_reply("", out)).contains(&n4));
    }
}

#[test]
fn the_preferred_endpoint_stands_first_and_the_other_forms_in_the_metadata() {
    let entry = |view: &View, resp| {
        let text = written(resp, |out| view.slots_reply("", out));
        let from = text.find("*4\r\n").expect("a node");
        text[from..].split("*3\r\n").next().expect("an entry").to_owned()
    };
    let asked = |preferred, hostname: &str| {
        let mut topology = cluster();
        change(&mut topology, 1, |row| row.addresses.preferred = preferred);
        change(&mut topology, 2, |row| row.addresses.hostname = hostname.into());
        seen_by(1, topology)
    };
    let id = hex(2);
    for (preferred, hostname, expected) in [
        (
            EndpointType::Ip,
            "b.example",
            format!(
                "*4\r\n$8\r\n10.0.0.1\r\n:7002\r\n$40\r\n{id}\r\n%1\r\n$8\r\nhostname\r\n$9\r\nb.example\r\n"
            ),
        ),
        (
            EndpointType::Hostname,
            "b.example",
            format!("*4\r\n$9\r\nb.example\r\n:7002\r\n$40\r\n{id}\r\n%1\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n"),
        ),
        (
            EndpointType::Hostname,
            "",
            format!("*4\r\n$1\r\n?\r\n:7002\r\n$40\r\n{id}\r\n%1\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n"),
        ),
        (
            EndpointType::UnknownEndpoint,
            "b.example",
            format!(
                "*4\r\n_\r\n:7002\r\n$40\r\n{id}\r\n%2\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n$8\r\nhostname\r\n$9\r\nb.example\r\n"
            ),
        ),
    ] {
        let got = entry(&asked(preferred, hostname), Resp::Three);
        assert!(got.starts_with(&expected), "{preferred:?} {hostname:?}: {got:?}");
    }
}

#[test]
fn cluster_shards_is_an_array_of_maps() {
    let mut topology = cluster();
    change(&mut topology, 4, |row| row.whole = false);
    change(&mut topology, 2, |row| row.addresses.hostname = "b.example".into());
    let view = seen_by(1, topology);
    let (n1, n2, n4) = (hex(1), hex(2), hex(4));
    let node = |id: &str, port: u16, hostname: &str, role: &str, health: &str| {
        let more = match hostname {
            "" => String::new(),
            name => format!("$8\r\nhostname\r\n${}\r\n{name}\r\n", name.len()),
        };
        format!(
            "%{}\r\n$2\r\nid\r\n$40\r\n{id}\r\n$4\r\nport\r\n:{port}\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n\
             $8\r\nendpoint\r\n$8\r\n10.0.0.1\r\n{more}$4\r\nrole\r\n${}\r\n{role}\r\n\
             $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n${}\r\n{health}\r\n",
            if hostname.is_empty() { 7 } else { 8 },
            role.len(),
            health.len()
        )
    };
    let expected = format!(
        "*2\r\n%2\r\n$5\r\nslots\r\n*2\r\n:100\r\n:8191\r\n$5\r\nnodes\r\n*2\r\n{}{}\
         %2\r\n$5\r\nslots\r\n*4\r\n:0\r\n:99\r\n:8192\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n{}",
        node(&n1, 7001, "", "master", "online"),
        node(&n4, 7004, "", "replica", "loading"),
        node(&n2, 7002, "b.example", "master", "online")
    );
    assert_eq!(written(Resp::Three, |out| view.shards_reply("", out)), expected);
    let two = written(Resp::Two, |out| view.shards_reply("", out));
    assert_eq!(
        two,
        expected.replace("%2\r\n", "*4\r\n").replace("%7\r\n", "*14\r\n").replace("%8\r\n", "*16\r\n")
    );
}

#[test]
fn cluster_info_has_the_fields_of_redis() {
    use crate::cluster::render::info::{Lease, text};
    let view = seen_by(2, cluster());
    let expected = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:3\r\ncluster_size:2\r\n\
         cluster_current_epoch:2\r\ncluster_my_epoch:2\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n";
    assert_eq!(text(&view, Lease::Covers), expected);
    assert_eq!(text(&view, Lease::Over), expected.replace("state:ok", "state:fail"));
    assert_eq!(text(&seen_by(4, cluster()), Lease::Over).lines().next(), Some("cluster_state:ok"));
}

#[test]
fn a_node_that_no_shard_has_taken_in_sees_itself_alone_and_serves_nothing() {
    let view = seen_by(5, cluster());
    assert_eq!(
        view.nodes_text(""),
        format!("{} 10.0.0.1:7005@17005 myself,master - 0 0 0 connected\n", hex(5))
    );
    assert_eq!(written(Resp::Two, |out| view.slots_reply("", out)), "*0\r\n");
    assert!(
        written(Resp::Two, |out| view.shards_reply("", out)).starts_with("*1\r\n*4\r\n$5\r\nslots\r\n*0\r\n")
    );
    let info = crate::cluster::render::info::text(&view, crate::cluster::render::info::Lease::Over);
    assert!(info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:0\r\n"), "{info}");
    assert!(info.contains("cluster_known_nodes:1\r\n") && info.contains("cluster_current_epoch:0\r\n"));
    assert_eq!(view.access(slot(0)), Access::Unassigned);
}

#[test]
fn a_node_alone_owns_every_slot_and_tells_the_address_that_the_client_reached() {
    let addresses = Addresses { port: 6379, peer_port: 16379, ..Addresses::default() };
    let view = View::alone(node(9), addresses, UnixMs(1));
    let id = hex(9);
    assert_eq!(
        view.nodes_text("127.0.0.1"),
        format!("{id} 127.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n")
    );
    for own_ip in ["127.0.0.1", "10.0.0.20"] {
        assert_eq!(
            written(Resp::Two, |out| view.slots_reply(own_ip, out)),
            format!(
                "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n${}\r\n{own_ip}\r\n:6379\r\n$40\r\n{id}\r\n*0\r\n",
                own_ip.len()
            )
        );
    }
    assert!(view.is_up());
    assert!(Slot::all().all(|slot| view.access(slot) == Access::Mine));
}

#[test]
fn each_slot_is_mine_a_replicas_elsewhere_or_unassigned() {
    let accesses = |byte| {
        let view = seen_by(byte, cluster());
        [slot(0), slot(100), slot(8191), slot(16383)].map(|slot| view.access(slot))
    };
    use Access::{Elsewhere, Mine, Replica};
    assert_eq!(accesses(1), [Elsewhere, Mine, Mine, Elsewhere]);
    assert_eq!(accesses(2), [Mine, Elsewhere, Elsewhere, Mine]);
    assert_eq!(accesses(4), [Elsewhere, Replica, Replica, Elsewhere]);
    let view = seen_by(1, cluster());
    let by_run = access_of(&view);
    assert!(Slot::all().all(|slot| by_run(slot) == view.access(slot)));
}

#[test]
fn a_slot_without_an_owner_or_a_shard_without_a_candidate_stops_all_or_itself_alone() {
    let mut holed = cluster();
    unassign(&mut holed, 500);
    let mut failed = cluster();
    change(&mut failed, 2, |row| row.dead = true);
    for (topology, assigned, failing) in [(holed, 16383, 0), (failed, 16384, 8292)] {
        let view = seen_by(1, topology.clone());
        assert_eq!(view.coverage(), Coverage { assigned, failed: failing });
        assert!(!view.is_up());
        assert_eq!(view.access(slot(100)), Access::Elsewhere, "full coverage is required");
        let mut partial = topology;
        set(&mut partial, FULL_COVERAGE, "no");
        let view = seen_by(1, partial);
        assert!(view.is_up());
        assert_eq!(view.access(slot(100)), Access::Mine);
    }
}

#[test]
fn a_shard_between_two_primaries_counts_as_covered() {
    let mut topology = cluster();
    change(&mut topology, 1, |row| row.dead = true);
    let view = seen_by(2, topology.clone());
    assert!(view.is_up(), "a whole replica lives");
    change(&mut topology, 4, |row| row.whole = false);
    assert!(!seen_by(2, topology.clone()).is_up(), "nobody could be promoted");
    // The next life of the primary is registered: it will be promoted, and serves nothing before.
    change(&mut topology, 1, |row| {
        row.dead = false;
        row.whole = false;
        row.incarnation = Incarnation { counter: 2, token: SpawnToken([77; 16]) };
    });
    assert!(seen_by(2, topology.clone()).is_up());
    let next = topology.nodes[&node(1)].incarnation;
    let view = View::new(Arc::new(topology), node(1), Some(next), Standing::Live, UnixMs(0));
    assert_eq!(view.access(slot(100)), Access::Elsewhere, "the shard belongs to the life before");
}

#[test]
fn a_state_that_was_read_from_disk_serves_nothing() {
    let view = View::new(Arc::new(cluster()), node(1), Some(life(1)), Standing::Saved, UnixMs(0));
    assert!(!view.is_up());
    assert!(Slot::all().all(|slot| view.access(slot) != Access::Mine));
    assert!(view.nodes_text("").contains("100-8191"), "it still says whom to ask");
}
