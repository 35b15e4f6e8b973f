//! CLUSTER and the words that go with it: READONLY, READWRITE, ASKING. Answered from this node's view of the cluster
//! state; what would change the cluster is refused with the name of the admin verb that does it.

mod failover;
mod replicate;
mod rows;

pub use rows::ROWS;

use super::args::parse_int;
use super::{Args, Ctx, Outcome, help};
use crate::cluster::render::info::{self, Lease};
use crate::cluster::render::nodes;
use crate::cluster::view::View;
use crate::resp::Error;
use crate::route::own_ip;
use capstan_proto::ids::{NodeId, ShardId};
use capstan_proto::slot::Slot;
use capstan_proto::topology::NodeRow;

fn info(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let now = ctx.core.serving.now(&*ctx.core.env.clock);
    let lease = if ctx.core.serving.covers(now) { Lease::Covers } else { Lease::Over };
    let text = info::text(&ctx.core.view_now(), lease);
    ctx.out.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

fn myid(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let me = ctx.core.view_now().me();
    ctx.out.bulk(me.to_string().as_bytes());
    Ok(())
}

/// A node without a shard is one of its own, under its own id.
fn myshardid(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let view = ctx.core.view_now();
    let shard = view.shard().map_or(ShardId(view.me().0), |shard| shard.id);
    ctx.out.bulk(shard.to_string().as_bytes());
    Ok(())
}

fn nodes(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let view = ctx.core.view_now();
    let text = view.nodes_text(&own_ip(ctx.session));
    ctx.out.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

fn slots(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.core.view_now().slots_reply(&own_ip(ctx.session), ctx.out);
    Ok(())
}

fn shards(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.core.view_now().shards_reply(&own_ip(ctx.session), ctx.out);
    Ok(())
}

/// Nodes do not gossip: there is no link between them to tell of.
fn links(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.out.array(0);
    Ok(())
}

fn keyslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.int(Slot::of_key(args.at(2)).number().into());
    Ok(())
}

fn slot_argument(text: &[u8]) -> Result<Option<Slot>, Error> {
    let number = parse_int(text).ok_or(Error::NotInteger)?;
    Ok(u16::try_from(number).ok().and_then(Slot::new))
}

fn countkeysinslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let slot = slot_argument(args.at(2))?.ok_or_else(|| Error::err("Invalid slot"))?;
    let db = ctx.session.db;
    let lane = ctx.data.lane(slot);
    let others = lane.databases().iter().enumerate().any(|(n, count)| n != usize::from(db) && count.keys > 0);
    let table = lane.slot(slot);
    // A cluster has one database; only a node alone may have to look at each key.
    let keys = if others { table.entries().filter(|entry| entry.db() == db).count() } else { table.len() };
    ctx.out.count(keys);
    Ok(())
}

fn getkeysinslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let slot = slot_argument(args.at(2))?;
    let most = parse_int(args.at(3)).ok_or(Error::NotInteger)?;
    let (Some(slot), Ok(most)) = (slot, usize::try_from(most)) else {
        return Err(Error::err("Invalid slot or number of keys"));
    };
    let db = ctx.session.db;
    let entries = ctx.data.lane(slot).slot(slot).entries().filter(|entry| entry.db() == db);
    let keys: Vec<&[u8]> = entries.take(most).map(|entry| entry.key()).collect();
    ctx.out.array(keys.len());
    keys.into_iter().for_each(|key| ctx.out.bulk(key));
    Ok(())
}

/// The row of a node that was named by its id.
fn named<'v>(view: &'v View, id: &[u8]) -> Result<&'v NodeRow, Error> {
    let text = String::from_utf8_lossy(&id[..id.len().min(128)]);
    let row = text.to_ascii_lowercase().parse::<NodeId>().ok().and_then(|id| view.node(id));
    row.ok_or_else(|| Error::err(format!("Unknown node {text}")))
}

fn replicas(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let view = ctx.core.view_now();
    let primary = named(&view, args.at(2))?;
    let shard = view.shard_of(primary);
    if shard.is_some_and(|shard| shard.primary != primary.id) {
        return Err(Error::err("The specified node is not a master"));
    }
    let ids = shard.map_or(&[][..], |shard| &shard.replicas);
    let own_ip = own_ip(ctx.session);
    let rows: Vec<&NodeRow> = ids.iter().filter_map(|id| view.node(*id)).collect();
    ctx.out.array(rows.len());
    for row in rows {
        let mut line = String::new();
        nodes::line(&view, row, &own_ip, &mut line);
        ctx.out.bulk(line.as_bytes());
    }
    Ok(())
}

/// Nobody reports failures here: the meta group counts leases.
fn count_failure_reports(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    named(&ctx.core.view_now(), args.at(2))?;
    ctx.out.int(0);
    Ok(())
}

/// What this node has to know at its next start is on disk before a version is in force.
fn ok(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.out.ok();
    Ok(())
}

/// A verb that changes the cluster, which clients cannot do in this version.
fn admin_only(_: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let verb = String::from_utf8_lossy(&args.at(1)[..args.at(1).len().min(24)]).to_ascii_uppercase();
    let instead = match verb.as_str() {
        "ADDSLOTS" | "ADDSLOTSRANGE" => "the meta group gives slots to shards: use 'capstan add-slots'",
        "MEET" => "nodes register with the meta group and join by 'capstan join'",
        "BUMPEPOCH" | "SET-CONFIG-EPOCH" => "the meta group hands out config epochs, each once",
        _ => "the meta group decides it, and this version of 'capstan' has no verb for it yet",
    };
    Err(Error::err(format!("CLUSTER {verb} is not for clients: {instead}")))
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    help::write(ctx.out, "CLUSTER", HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "FAILOVER [FORCE|TAKEOVER]",
    "    Promote current replica node to being a master.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SAVECONFIG",
    "    Force saving cluster configuration on disk.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    "    Output format is an array where each array element is a map containing attributes of a link",
];

fn readonly(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.session.readonly = true;
    ctx.out.ok();
    Ok(())
}

fn readwrite(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.session.readonly = false;
    ctx.out.ok();
    Ok(())
}

fn asking(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.session.asking = true;
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
