//! `CLUSTER INFO`: `field:value` lines. Fields about gossip are there because clients read them, and are 0: nodes here
//! do not gossip.

use crate::cluster::view::View;
use capstan_proto::slot::SLOTS;
use std::collections::BTreeSet;

/// Whether this node serves at this moment, which its lease decides (DESIGN 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It covers now, or none is needed.
    Covers,
    /// It is over: this node serves nothing.
    Over,
}

/// Whether `cluster_state` is `ok`: the cluster serves, and so does this node if it leads a shard with slots.
#[must_use]
pub fn is_ok(view: &View, lease: Lease) -> bool {
    let leads = view.shard().is_some_and(|shard| shard.primary == view.me());
    view.is_up() && !(leads && lease == Lease::Over)
}

/// The whole text.
#[must_use]
pub fn text(view: &View, lease: Lease) -> String {
    let coverage = view.coverage();
    let owners: BTreeSet<_> = view.runs().iter().filter_map(|run| run.owner).collect();
    let joined = view.shard().is_some();
    let fields: [(&str, u64); 10] = [
        ("cluster_slots_assigned", coverage.assigned.into()),
        ("cluster_slots_ok", (coverage.assigned - coverage.failed.min(coverage.assigned)).into()),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", coverage.failed.into()),
        ("cluster_known_nodes", view.nodes().count().max(1) as u64),
        ("cluster_size", owners.len() as u64),
        ("cluster_current_epoch", if joined { view.topology().config_epoch.0 } else { 0 }),
        ("cluster_my_epoch", view.shard().map_or(0, |shard| shard.config_epoch.0)),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
    ];
    let state = if is_ok(view, lease) { "ok" } else { "fail" };
    let mut text = format!("cluster_state:{state}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    text.push_str("total_cluster_links_buffer_limit_exceeded:0\r\n");
    text
}

const _: () = assert!(SLOTS < u16::MAX, "slots are counted in 16 bits");
