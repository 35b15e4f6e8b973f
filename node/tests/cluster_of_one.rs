//! What redis-cli's cluster manager makes of a node alone, and that such a node keeps its id with its folder.

mod wire;

use std::process::Command;
use wire::Node;

/// Runs `redis-cli --cluster VERB ADDRESS MORE...`; its exit code and what it printed.
fn manager(node: &Node, verb: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", verb, &node.address.to_string()]).args(more);
    let output = command.output().expect("redis-cli is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn redis_clis_cluster_manager_finds_a_healthy_cluster() {
    let node = Node::start(&[]);
    let mut client = node.client();
    for n in 0..100 {
        client.ask(&format!("SET key:{n} value"));
    }
    let (clean, text) = manager(&node, "check", &["--cluster-search-multiple-owners"]);
    assert!(clean, "{text}");
    assert!(text.contains("[OK] All nodes agree about slots configuration."), "{text}");
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    let (clean, text) = manager(&node, "info", &[]);
    assert!(clean && text.contains("[OK] 100 keys in 1 masters."), "{text}");
    let (clean, text) = manager(&node, "call", &["CLUSTER", "KEYSLOT", "foo"]);
    assert!(clean && text.contains("12182"), "{text}");
}

#[test]
fn a_node_alone_keeps_its_id_with_its_folder_and_draws_one_without() {
    let dir = tempfile::tempdir().expect("a folder");
    let flags = [("dir", dir.path().to_str().expect("text"))];
    let id = |flags: &[(&str, &str)]| {
        let mut node = Node::start(flags);
        let id = node.client().ask("CLUSTER MYID").text();
        node.stop().expect("a clean stop");
        id
    };
    assert_eq!(id(&flags), id(&flags));
    assert_ne!(id(&[]), id(&[]));
}

#[test]
fn a_node_alone_tells_its_port_and_what_it_is_told_to_announce() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let port = node.address.port();
    let nodes = client.ask("CLUSTER NODES").text();
    assert!(nodes.contains(&format!(" 127.0.0.1:{port}@")), "{nodes}");
    client.ask("CONFIG SET cluster-announce-ip 10.1.2.3 cluster-announce-port 7777");
    let nodes = client.ask("CLUSTER NODES").text();
    assert!(nodes.contains(" 10.1.2.3:7777@"), "{nodes}");
}
