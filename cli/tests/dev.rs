//! `capstan dev` and the admin verbs against it, as a user runs them: real processes, real files.
//!
//! Everything is waited for by condition. Ports are drawn at random below 22768; a cluster whose ports were taken in
//! between is tried on others.

mod cluster;

use cluster::{Dev, alive};
use serde_json::Value;

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned()
}

#[test]
fn every_verb_answers_and_ends_with_its_code() {
    let dev = Dev::start();
    let status = dev.json(&["status", "--check"]);
    assert_eq!((text(&status, "state"), status["slots"]["served"].as_u64()), ("ok".into(), Some(16384)));
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0), "{status}");

    let nodes = dev.json(&["nodes"]);
    let nodes = nodes.as_array().expect("a list");
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert_eq!(text(node, "role"), "primary");
        assert_eq!(text(node, "id").len(), 40);
        assert!(node["lease_left_ms"].as_u64().is_some_and(|ms| ms > 0), "{node}");
    }
    let shards = dev.json(&["shards"]);
    let numbers: Vec<_> = shards.as_array().expect("a list").iter().map(|s| s["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    let slots = dev.json(&["slots"]);
    assert_eq!(slots.as_array().map(Vec::len), Some(3), "{slots}");
    assert_eq!(dev.json(&["slots", "--key", "foo"])[0]["first"].as_u64(), Some(12182));
    assert!(dev.json(&["history"]).as_array().is_some_and(|events| events.len() >= 6));
    let members = dev.json(&["meta", "members"]);
    assert_eq!(members["members"].as_array().map(Vec::len), Some(3), "{members}");
    assert_eq!(members["quorum"], true);
    for verb in [
        &["status"][..],
        &["nodes"],
        &["shards"],
        &["slots"],
        &["history"],
        &["settings"],
        &["meta", "members"],
    ] {
        let (code, out, err) = dev.verb(verb);
        assert_eq!(code, 0, "{verb:?}: {err}");
        assert!(!out.is_empty() && err.is_empty(), "{verb:?}: {out} {err}");
    }
}

#[test]
fn a_change_is_done_once_refused_or_unknown_and_says_which() {
    let dev = Dev::start();
    let id = "0123456789abcdef0123456789abcdef";
    let set = ["settings", "set", "cluster-node-timeout", "4000", "--request-id", id];
    assert_eq!(dev.json(&set)["repeated"], false);
    assert_eq!(dev.json(&set)["repeated"], true);
    assert_eq!(dev.verb(&["settings", "get", "cluster-node-timeout"]).1.trim(), "4000");
    assert_eq!(dev.json(&["outcome", id])["done"], true);

    let (code, _, err) = dev.verb(&["outcome", "ffffffffffffffffffffffffffffffff"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("not committed so far"), "{err}");
    for refused in [
        &["settings", "set", "no-such-setting", "1"][..],
        &["settings", "set", "cluster-node-timeout", "soon"],
        &["add-slots", "1", "0"],
        &["add-slots", "9", "0"],
        &["join", "abcdef"],
        &["join", "abcdef", "--shard", "1"],
        &["meta", "members", "remove", "77"],
    ] {
        let (code, out, err) = dev.verb(refused);
        assert_eq!(code, 1, "{refused:?}: {out}{err}");
        assert!(!err.is_empty(), "{refused:?}");
    }
    let owner = dev.json(&["slots", "0"]);
    assert_eq!(owner[0]["shard"].as_u64(), Some(1));
}

#[test]
fn a_second_start_on_the_same_folder_is_the_same_cluster() {
    let mut dev = Dev::start();
    let pick = |list: Value, fields: &[&str]| -> Vec<Vec<Value>> {
        let rows = list.as_array().expect("a list").clone();
        rows.iter().map(|row| fields.iter().map(|field| row[*field].clone()).collect()).collect()
    };
    let same = |dev: &Dev| {
        let nodes = pick(dev.json(&["nodes"]), &["id", "address", "shard"]);
        let shards = pick(dev.json(&["shards"]), &["id", "number", "primary", "slots"]);
        (nodes, shards, dev.json(&["status"])["group"].clone())
    };
    let epochs = |dev: &Dev| -> Vec<u64> {
        let shards = dev.json(&["shards"]);
        let shards = shards.as_array().expect("a list").clone();
        shards.iter().filter_map(|shard| shard["config_epoch"].as_u64()).collect()
    };
    let (before, epochs_before) = (same(&dev), epochs(&dev));
    let (code, said) = dev.second_start();
    assert!(code == 1 && said.contains("another `capstan dev` runs in this folder"), "{said}");

    let children = dev.children();
    assert_eq!(children.len(), 6, "three data nodes and three meta servers");
    assert_eq!(dev.stop(), Some(0));
    assert!(children.values().all(|pid| !alive(*pid)), "a child outlived its cluster");
    dev.restart();
    assert_eq!(same(&dev), before);
    assert!(epochs(&dev).iter().zip(&epochs_before).all(|(now, was)| now >= was), "config epochs fell");
    assert_eq!(dev.json(&["status", "--check"])["state"], "ok");
}

#[test]
fn a_killed_node_comes_back_and_nobody_outlives_a_killed_cluster() {
    let dev = Dev::start();
    let before = dev.children();
    let (port, pid) = before.iter().next().map(|(port, pid)| (*port, *pid)).expect("a data node");
    dev.kill(pid);
    dev.wait("another process on that port", || dev.children().get(&port).is_some_and(|now| *now != pid));
    dev.wait("all slots served again", || dev.json(&["status"])["state"] == "ok");

    let children = dev.children();
    dev.kill(dev.pid());
    dev.wait("the children are gone", || children.values().all(|pid| !alive(*pid)));
}
