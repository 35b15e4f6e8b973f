//! `CLUSTER SLOTS` and `CLUSTER SHARDS`: arrays and maps, RESP2 and RESP3.

use crate::cluster::view::View;
use crate::resp::Reply;
use capstan_proto::topology::{EndpointType, NodeRow, ShardRow, SlotRun};

/// `CLUSTER SLOTS`: one entry a run of slots, sorted by start: first, last, the primary, then the replicas that hold
/// the data.
pub fn slots(view: &View, own_ip: &str, out: &mut Reply) {
    let entry = |run: &SlotRun| {
        let shard = view.topology().shards.get(&run.owner?)?;
        Some((*run, view.node(shard.primary)?, shard))
    };
    let entries: Vec<_> = view.runs().iter().filter_map(entry).collect();
    out.array(entries.len());
    for (run, primary, shard) in entries {
        let replicas = shard.replicas.iter().filter_map(|id| view.node(*id));
        let replicas: Vec<_> = replicas.filter(|node| node.whole && !node.dead).collect();
        out.array(3 + replicas.len());
        out.int(run.first.number().into());
        out.int(run.last.number().into());
        slots_node(view, primary, own_ip, out);
        replicas.into_iter().for_each(|node| slots_node(view, node, own_ip, out));
    }
}

/// `[endpoint, port, id, {the other forms of the address}]`
fn slots_node(view: &View, node: &NodeRow, own_ip: &str, out: &mut Reply) {
    out.array(4);
    out.bulk_or_null(view.endpoint(node, own_ip).map(str::as_bytes));
    out.int(node.addresses.port.into());
    out.bulk(node.id.to_string().as_bytes());
    let hostname = &node.addresses.hostname;
    let ip = (view.preferred() != EndpointType::Ip).then(|| ("ip", view.ip(node, own_ip)));
    let hostname = (view.preferred() != EndpointType::Hostname && !hostname.is_empty())
        .then_some(("hostname", hostname.as_str()));
    let others: Vec<_> = ip.into_iter().chain(hostname).collect();
    out.map(others.len());
    for (name, value) in others {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
}

/// `CLUSTER SHARDS`: one map a shard, with its slots as a flat list of firsts and lasts, and its nodes.
pub fn shards(view: &View, own_ip: &str, out: &mut Reply) {
    let shards = view.shards();
    if shards.is_empty() {
        return singleton(view, own_ip, out);
    }
    out.array(shards.len());
    for shard in shards {
        let runs: Vec<_> = view.runs().iter().filter(|run| run.owner == Some(shard.id)).collect();
        out.map(2);
        out.bulk(b"slots");
        out.array(2 * runs.len());
        for run in runs {
            out.int(run.first.number().into());
            out.int(run.last.number().into());
        }
        let members = std::iter::once(&shard.primary).chain(&shard.replicas);
        let nodes: Vec<_> = members.filter_map(|id| view.node(*id)).collect();
        out.bulk(b"nodes");
        out.array(nodes.len());
        nodes.into_iter().for_each(|node| shards_node(view, node, Some(shard), own_ip, out));
    }
}

/// A node that no shard has taken in shows itself, without slots.
fn singleton(view: &View, own_ip: &str, out: &mut Reply) {
    let Some(me) = view.node(view.me()) else { return out.array(0) };
    out.array(1);
    out.map(2);
    out.bulk(b"slots");
    out.array(0);
    out.bulk(b"nodes");
    out.array(1);
    shards_node(view, me, None, own_ip, out);
}

fn shards_node(view: &View, node: &NodeRow, shard: Option<&ShardRow>, own_ip: &str, out: &mut Reply) {
    let hostname = &node.addresses.hostname;
    let is_replica = shard.is_some_and(|shard| shard.primary != node.id);
    let health = match (node.dead, is_replica && !node.whole) {
        (true, _) => "fail",
        (false, true) => "loading",
        (false, false) => "online",
    };
    out.map(7 + usize::from(!hostname.is_empty()));
    let mut text = |name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    text("id", &node.id.to_string());
    out.bulk(b"port");
    out.int(node.addresses.port.into());
    let mut text = |name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    text("ip", view.ip(node, own_ip));
    text("endpoint", view.endpoint(node, own_ip).unwrap_or_default());
    if !hostname.is_empty() {
        text("hostname", hostname);
    }
    text("role", if is_replica { "replica" } else { "master" });
    out.bulk(b"replication-offset");
    // Positions of other nodes are the meta group's to know, not in the cluster state.
    out.int(0);
    out.bulk(b"health");
    out.bulk(health.as_bytes());
}
