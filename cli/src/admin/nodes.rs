//! `capstan nodes`: every data node, its part, and what it last said to the meta leader.

use super::view::View;
use super::{client, view};
use crate::args::Ask;
use crate::output::{self, Ended};
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    id: String,
    address: String,
    hostname: String,
    role: &'static str,
    shard: Option<u32>,
    incarnation: u64,
    dead: bool,
    /// Whether it holds a complete copy of its shard.
    whole: bool,
    /// It leads nothing, by an operator's wish.
    drained: bool,
    /// Milliseconds since the leader heard of it; none: never under this leader.
    heartbeat_age_ms: Option<u64>,
    /// Milliseconds; 0: no lease.
    lease_left_ms: u64,
    /// Why a primary gets no lease.
    refused_why: String,
    /// The version of the cluster state that it has reached.
    version: String,
    keys: u64,
    memory_bytes: u64,
    clients: u64,
    busy_command: String,
    software: String,
}

pub(super) async fn run(ask: Ask) -> Result<Ended, Ended> {
    let mut client = client(&ask)?;
    let rows = rows(&View::now(&mut client).await?);
    if ask.json {
        output::json(&rows);
        return Ok(Ended::Well);
    }
    let header = ["NODE", "ADDRESS", "ROLE", "SHARD", "LEASE", "HEARD", "KEYS", "MEMORY", "CLIENTS", "STATE"];
    output::table(&header, rows.into_iter().map(cells));
    Ok(Ended::Well)
}

fn rows(view: &View) -> Vec<Row> {
    let mut nodes: Vec<_> = view.topology.nodes.values().collect();
    nodes.sort_by_key(|node| (view.shard_number(node).unwrap_or(u32::MAX), view.role(node).name(), node.id));
    let row = |node: &capstan_proto::topology::NodeRow| {
        let heard = view.reports.get(&node.id);
        let report = heard.cloned().unwrap_or_default();
        Row {
            id: node.id.to_string(),
            address: view::address(&node.addresses),
            hostname: node.addresses.hostname.clone(),
            role: view.role(node).name(),
            shard: view.shard_number(node),
            incarnation: node.incarnation.counter,
            dead: node.dead,
            whole: node.whole,
            drained: view.topology.drained.contains(&node.id),
            heartbeat_age_ms: heard.map(|report| report.heartbeat_age_ms),
            lease_left_ms: report.lease_left_ms,
            refused_why: report.refused_why,
            version: report.version.to_string(),
            keys: report.health.keys,
            memory_bytes: report.health.memory_bytes,
            clients: report.health.clients,
            busy_command: report.health.busy_command,
            software: node.software.clone(),
        }
    };
    nodes.into_iter().map(row).collect()
}

fn cells(row: Row) -> Vec<String> {
    let state = match (row.dead, row.busy_command.is_empty(), row.refused_why.is_empty()) {
        (true, _, _) => "dead".to_owned(),
        (false, false, _) => format!("busy in {}", row.busy_command),
        (false, true, false) => row.refused_why,
        (false, true, true) if row.shard.is_some() && !row.whole => "no complete copy yet".to_owned(),
        (false, true, true) if row.drained => "drained".to_owned(),
        (false, true, true) => "-".to_owned(),
    };
    vec![
        row.id,
        row.address,
        row.role.to_owned(),
        row.shard.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        if row.lease_left_ms > 0 { output::duration(row.lease_left_ms) } else { "-".to_owned() },
        row.heartbeat_age_ms.map_or_else(|| "never".to_owned(), output::duration),
        row.keys.to_string(),
        output::bytes(row.memory_bytes),
        row.clients.to_string(),
        state,
    ]
}
