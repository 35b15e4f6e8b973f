//! Clients that wait for elements: who is served, in which order, and how a wait ends otherwise.

mod wire;

use capstan_node::blocking::{self, Why};
use capstan_node::store::Access;
use capstan_proto::slot::Slot;
use wire::{Client, Node, Value, wait_until};

/// Sends a command that waits, and returns once the node counts `waiting` of them.
fn block(node: &Node, command: &str, waiting: usize) -> Client {
    let mut client = node.client();
    client.send(command);
    wait_until("blocked", || node.core.blocking.count() == waiting);
    client
}

fn texts(value: Value) -> Vec<String> {
    value.texts()
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let node = Node::start(&[]);
    let mut waiting: Vec<Client> = (1..=5).map(|n| block(&node, "BLPOP list 0", n)).collect();
    // One command feeds three of them, and nothing of what they took is seen in its wake.
    assert_eq!(node.client().ask("RPUSH list a b c"), Value::Int(3));
    for (client, element) in waiting.iter_mut().zip(["a", "b", "c"]) {
        assert_eq!(texts(client.read().expect("served")), ["list", element]);
    }
    assert_eq!(node.client().ask("LLEN list"), Value::Int(0));
    assert_eq!(node.client().ask("RPUSH list d e f"), Value::Int(3));
    for (client, element) in waiting[3..].iter_mut().zip(["d", "e"]) {
        assert_eq!(texts(client.read().expect("served")), ["list", element]);
    }
    assert_eq!(texts(node.client().ask("LRANGE list 0 -1")), ["f"]);
    wait_until("nobody waits", || node.core.blocking.count() == 0);
}

#[test]
fn a_client_that_has_left_takes_nothing_with_it() {
    let node = Node::start(&[]);
    let gone = block(&node, "BLPOP list 0", 1);
    drop(gone);
    wait_until("its wait has ended", || node.core.blocking.count() == 0);
    let mut waiting = block(&node, "BRPOP list 0", 1);
    assert_eq!(node.client().ask("RPUSH list a"), Value::Int(1));
    assert_eq!(texts(waiting.read().expect("served")), ["list", "a"]);
}

#[test]
fn what_is_sent_behind_a_waiting_command_runs_after_it() {
    let node = Node::start(&[]);
    let mut waiting = block(&node, "BLPOP list 0", 1);
    waiting.send("SET k v");
    waiting.send("GET k");
    assert_eq!(node.client().ask("EXISTS k"), Value::Int(0));
    node.client().ask("LPUSH list a");
    assert_eq!(texts(waiting.read().expect("served")), ["list", "a"]);
    assert_eq!(waiting.read(), Ok(Value::Simple("OK".into())));
    assert_eq!(waiting.read().expect("an answer").text(), "v");
}

#[test]
fn a_chain_of_moves_is_served_in_one_go() {
    // Keys of different slots, so of different lanes most likely: an emulated node serves them all the same.
    let node = Node::start(&[]);
    let mut last = block(&node, "BLPOP c 0", 1);
    let mut second = block(&node, "BLMOVE b c LEFT RIGHT 0", 2);
    let mut first = block(&node, "BRPOPLPUSH a b 0", 3);
    assert_eq!(node.client().ask("RPUSH a x"), Value::Int(1));
    assert_eq!(first.read().expect("served").text(), "x");
    assert_eq!(second.read().expect("served").text(), "x");
    assert_eq!(texts(last.read().expect("served")), ["c", "x"]);
    assert_eq!(node.client().ask("EXISTS a b c"), Value::Int(0));
}

#[test]
fn a_wait_in_a_transaction_is_none_and_what_a_transaction_pushes_is_served_at_its_end() {
    let node = Node::start(&[]);
    let mut client = node.client();
    client.ok("MULTI");
    client.ask("BLPOP {t}list 0");
    client.ask("BLMOVE {t}list {t}other LEFT LEFT 0");
    client.ask("BZPOPMIN {t}zset 0");
    assert_eq!(client.ask("EXEC"), Value::Array(vec![Value::Null, Value::Null, Value::Null]));
    let mut waiting = block(&node, "BLPOP {t}list 0", 1);
    client.ok("MULTI");
    client.ask("RPUSH {t}list a b");
    client.ask("LPOP {t}list");
    assert_eq!(client.ask("EXEC").items()[1].text(), "a");
    assert_eq!(texts(waiting.read().expect("served")), ["{t}list", "b"]);
}

#[test]
fn a_value_of_another_type_leaves_them_waiting() {
    let node = Node::start(&[]);
    let mut list = block(&node, "BLPOP k 0", 1);
    let mut zset = block(&node, "BZPOPMIN k 0", 2);
    node.client().ask("SET k v");
    node.client().ask("DEL k");
    assert_eq!(node.client().ask("ZADD k 1.5 m"), Value::Int(1));
    assert_eq!(texts(zset.read().expect("served")), ["k", "m", "1.5"]);
    assert_eq!(node.client().ask("RPUSH k a"), Value::Int(1));
    assert_eq!(texts(list.read().expect("served")), ["k", "a"]);
}

#[test]
fn rename_copy_and_swapdb_bring_elements_too() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let mut waiting = block(&node, "BLPOP {t}k 0", 1);
    client.ask("RPUSH {t}other a");
    client.ok("RENAME {t}other {t}k");
    assert_eq!(texts(waiting.read().expect("served")), ["{t}k", "a"]);
    let mut waiting = block(&node, "BLPOP k 0", 1);
    client.ok("SELECT 1");
    client.ask("RPUSH k b");
    client.ok("SWAPDB 0 1");
    assert_eq!(texts(waiting.read().expect("served")), ["k", "b"]);
}

#[test]
fn a_time_that_is_over_and_client_unblock_end_a_wait() {
    let node = Node::start(&[]);
    let mut client = node.client();
    assert_eq!(client.ask("BLPOP nokey 0.01"), Value::Null);
    assert_eq!(client.ask("BLMOVE nokey other LEFT LEFT 0.01"), Value::Null);
    for (how, answer) in [
        ("", Value::Null),
        ("TIMEOUT", Value::Null),
        ("ERROR", Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())),
    ] {
        let mut waiting = node.client();
        let id = waiting.ask("CLIENT ID").text();
        waiting.send("BLPOP nokey 0");
        wait_until("blocked", || node.core.blocking.count() == 1);
        assert_eq!(client.info_field("blocked_clients"), "1");
        let list = client.ask("CLIENT LIST").text();
        assert!(
            list.lines().any(|line| line.starts_with(&format!("id={id} ")) && line.contains(" flags=b "))
        );
        assert_eq!(client.ask(&format!("CLIENT UNBLOCK {id} {how}")), Value::Int(1));
        assert_eq!(waiting.read(), Ok(answer));
        assert_eq!(client.ask(&format!("CLIENT UNBLOCK {id}")), Value::Int(0));
        wait_until("nobody waits", || node.core.blocking.count() == 0);
    }
    // What nobody waits for any more stays.
    client.ask("RPUSH nokey a");
    assert_eq!(client.ask("LLEN nokey"), Value::Int(1));
}

#[test]
fn a_killed_client_and_the_end_of_the_node_end_a_wait() {
    let mut node = Node::start(&[]);
    let mut waiting = node.client();
    let id = waiting.ask("CLIENT ID").text();
    waiting.send("BLPOP nokey 0");
    wait_until("blocked", || node.core.blocking.count() == 1);
    assert_eq!(node.client().ask(&format!("CLIENT KILL ID {id}")), Value::Int(1));
    assert!(waiting.is_closed());
    wait_until("nobody waits", || node.core.blocking.count() == 0);
    let mut waiting = block(&node, "BLPOP nokey 0", 1);
    node.stop().expect("a clean end, though somebody waits");
    assert!(waiting.is_closed());
}

#[test]
fn when_the_role_changes_or_the_slot_leaves_those_who_wait_are_told() {
    let node = Node::start(&[]);
    let mut stays = block(&node, "BLPOP stays 0", 1);
    let mut leaves = block(&node, "BLPOP leaves 0", 2);
    let gone = Slot::of_key(b"leaves");
    node.core.lanes.lock(node.core.lanes.of(gone)).set_access(gone, Access::Elsewhere);
    blocking::release_all(&node.core, Why::SlotsLeft);
    assert!(matches!(leaves.read(), Ok(Value::Error(_))), "the way to the slot's owner");
    assert_eq!(node.core.blocking.count(), 1);
    blocking::release_all(&node.core, Why::RoleChanged);
    let Ok(Value::Error(text)) = stays.read() else { panic!("no error") };
    assert!(text.starts_with("UNBLOCKED force unblock from blocking operation"), "{text}");
}

#[test]
fn many_pushers_and_many_who_wait_lose_and_double_nothing() {
    const EACH: usize = 200;
    let node = Node::start(&[]);
    let address = node.address;
    let takers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                (0..EACH).map(|_| client.ask("BLPOP a b 0").texts()[1].clone()).collect::<Vec<_>>()
            })
        })
        .collect();
    let pushers: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for i in 0..EACH {
                    client.ask(&format!("RPUSH {} {n}:{i}", if i.is_multiple_of(2) { "a" } else { "b" }));
                }
            })
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
    let mut taken: Vec<String> =
        takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect();
    let all = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!((all, taken.len()), (4 * EACH, 4 * EACH));
    assert_eq!(node.client().ask("DBSIZE"), Value::Int(0));
}
