//! `CLUSTER NODES`: one line a node, every line ends with a line feed (redis-cli ignores one that does not).
//!
//! `id ip:port@peer-port[,hostname] flags primary ping pong config-epoch link slots...`

use crate::cluster::view::View;
use capstan_proto::topology::{NodeRow, ShardRow};
use std::fmt::Write;

/// The whole text.
#[must_use]
pub fn text(view: &View, own_ip: &str) -> String {
    let mut text = String::new();
    for node in view.nodes() {
        line(view, node, own_ip, &mut text);
        text.push('\n');
    }
    text
}

/// One node, without the line feed: `CLUSTER REPLICAS` shows these too.
pub fn line(view: &View, node: &NodeRow, own_ip: &str, out: &mut String) {
    let shard = view.shard_of(node);
    let is_replica = shard.is_some_and(|shard| shard.primary != node.id);
    let is_me = node.id == view.me();
    let at = &node.addresses;
    // Writing to a String cannot fail.
    let _ = write!(out, "{} {}:{}@{}", node.id, view.ip(node, own_ip), at.port, at.peer_port);
    if !at.hostname.is_empty() {
        let _ = write!(out, ",{}", at.hostname);
    }
    out.push(' ');
    if is_me {
        out.push_str("myself,");
    }
    out.push_str(if is_replica { "slave" } else { "master" });
    if node.dead && !is_me {
        out.push_str(",fail");
    }
    if at.ip.is_empty() && !is_me {
        out.push_str(",noaddr");
    }
    match shard {
        Some(shard) if is_replica => {
            let _ = write!(out, " {}", shard.primary);
        }
        Some(_) | None => out.push_str(" -"),
    }
    // Nobody pings here: the meta group watches. The last word heard of a node is the version that this view shows.
    let heard = if is_me { 0 } else { view.installed().0 };
    let epoch = shard.map_or(0, |shard| shard.config_epoch.0);
    let link = if node.dead && !is_me { "disconnected" } else { "connected" };
    let _ = write!(out, " 0 {heard} {epoch} {link}");
    if let Some(shard) = shard.filter(|_| !is_replica) {
        slots(view, shard, out);
    }
}

fn slots(view: &View, shard: &ShardRow, out: &mut String) {
    for run in view.runs().iter().filter(|run| run.owner == Some(shard.id)) {
        let _ = match run.first == run.last {
            true => write!(out, " {}", run.first),
            false => write!(out, " {}-{}", run.first, run.last),
        };
    }
}
