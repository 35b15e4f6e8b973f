//! Clients of a node whose log is read: replies wait for the batcher, and nothing about that shows.

mod wire;

use capstan_node::log::{FollowerOut, Frame, Wanted};
use capstan_proto::ids::{Incarnation, NodeId, Position, ShardEpoch, SpawnToken};
use std::io::{Read, Write};
use std::net::TcpStream;
use wire::{Node, PATIENCE, Value, wait_until};

fn logged() -> Node {
    let node = Node::start(&[]);
    node.core.log.open_epoch(ShardEpoch(1));
    node.core.log.set_wanted(Wanted::Yes);
    node
}

fn frames(node: &Node) -> Vec<Frame> {
    node.core.log.read_after(Position::default(), usize::MAX).expect("held")
}

#[test]
fn every_write_that_was_answered_is_in_the_log_in_the_order_of_its_key() {
    let node = logged();
    let threads: Vec<_> = (0..8u64)
        .map(|writer| {
            let mut client = node.client();
            std::thread::spawn(move || {
                for i in 0..500u64 {
                    client.ok(&format!("SET {writer} {i}"));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("every write is answered"));
    let mut newest = vec![None; 8];
    for effect in frames(&node).iter().flat_map(Frame::entries) {
        let effect = effect.expect("was sealed here");
        let writer: usize = String::from_utf8_lossy(effect.key).parse().expect("a writer");
        let value = match effect.change {
            capstan_node::store::Change::Set { value, .. } => {
                String::from_utf8_lossy(value).parse::<u64>().ok()
            }
            other => panic!("{other:?}"),
        };
        assert!(value == newest[writer].map_or(Some(0), |before: u64| Some(before + 1)), "{value:?}");
        newest[writer] = value;
    }
    assert_eq!(newest, vec![Some(499); 8]);
}

#[test]
fn a_long_pipeline_of_writes_reads_and_a_goodbye_is_answered_in_order_to_its_last_byte() {
    let node = logged();
    let mut stream = TcpStream::connect(node.address).expect("a node");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut request = Vec::new();
    let mut want = Vec::new();
    for i in 0..20_000u32 {
        request.extend_from_slice(format!("SET k{} {i}\r\nGET k{}\r\n", i % 7, i % 7).as_bytes());
        want.extend_from_slice(format!("+OK\r\n${}\r\n{i}\r\n", i.to_string().len()).as_bytes());
    }
    request.extend_from_slice(b"QUIT\r\n");
    want.extend_from_slice(b"+OK\r\n");
    let mut writing = stream.try_clone().expect("a socket");
    let writer = std::thread::spawn(move || writing.write_all(&request));
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("replies, then the end");
    assert!(got == want, "{} bytes of {}", got.len(), want.len());
    writer.join().expect("no panic").expect("everything was read");
}

#[test]
fn a_client_that_does_not_read_its_replies_bounds_what_waits_and_gets_all_of_it_in_the_end() {
    let node = logged();
    let mut client = node.client();
    client.ok(&format!("SET big {}", "x".repeat(100_000)));
    let mut stream = TcpStream::connect(node.address).expect("a node");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let rounds = 300usize;
    let mut writing = stream.try_clone().expect("a socket");
    let writer = std::thread::spawn(move || {
        (0..rounds).try_for_each(|i| writing.write_all(format!("SET a {i}\r\nGET big\r\n").as_bytes()))
    });
    // Others are served meanwhile.
    for _ in 0..100 {
        client.ok("SET b 1");
    }
    let mut got = vec![0; rounds * (5 + 9 + 100_000 + 2)];
    stream.read_exact(&mut got).expect("all replies");
    assert!(got.ends_with(b"xx\r\n"));
    writer.join().expect("no panic").expect("everything was read");
}

#[test]
fn a_node_that_stops_answers_what_it_has_executed() {
    let mut node = logged();
    let mut client = node.client();
    client.ok("SET a 1");
    node.stop().expect("a clean end");
}

#[test]
fn wait_is_answered_by_the_acknowledgement_of_a_replica() {
    let node = logged();
    let mut client = node.client();
    client.ok("SET a 1");
    assert_eq!(client.ask("WAIT 1 20"), Value::Int(0));
    let life = Incarnation { counter: 1, token: SpawnToken([0; 16]) };
    let follower = node.core.log.follow(NodeId([1; 20]), life, FollowerOut::new(tokio::io::sink()));
    let waiter = std::thread::spawn(move || client.ask("WAIT 1 0"));
    let mut other = node.client();
    wait_until("the client waits", || other.ask("PING").text() == "PONG");
    follower.acked(node.core.log.last().batch.0, 0);
    assert_eq!(waiter.join().expect("answered"), Value::Int(1));
}

#[test]
fn what_a_client_has_waited_for_is_answered_when_its_removal_is_in_the_log() {
    let node = logged();
    let (mut waiting, mut pushing) = (node.client(), node.client());
    for round in 0..300 {
        waiting.send("BLPOP list 0");
        wait_until("blocked", || node.core.blocking.count() == 1);
        pushing.send(&format!("RPUSH list {round}"));
        assert_eq!(waiting.read().expect("served").texts(), ["list", &round.to_string()]);
        let all = frames(&node);
        let pops = all.iter().flat_map(Frame::entries).filter(|effect| {
            let change = effect.as_ref().expect("was sealed here").change;
            matches!(change, capstan_node::store::Change::ListPop { .. })
        });
        assert_eq!(pops.count(), round + 1);
        assert_eq!(pushing.read(), Ok(Value::Int(1)));
        wait_until("nobody waits", || node.core.blocking.count() == 0);
    }
}
