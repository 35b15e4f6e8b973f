//! `capstan shards`: who serves what, in which epoch.

use super::view::View;
use super::{client, view};
use crate::args::Ask;
use crate::output::{self, Ended};
use capstan_proto::topology::{ShardPhase, ShardRow};
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    number: u32,
    id: String,
    primary: String,
    primary_address: String,
    /// Whether the primary holds a lease, as far as the meta leader knows.
    serving: bool,
    replicas: Vec<String>,
    epoch: u64,
    config_epoch: u64,
    slot_count: usize,
    slots: Vec<[u16; 2]>,
    phase: &'static str,
    #[serde(skip)]
    shown_slots: String,
}

pub(super) async fn run(ask: Ask) -> Result<Ended, Ended> {
    let mut client = client(&ask)?;
    let view = View::now(&mut client).await?;
    let rows: Vec<Row> = view.shards().into_iter().map(|shard| row(&view, shard)).collect();
    if ask.json {
        output::json(&rows);
        return Ok(Ended::Well);
    }
    let header = ["SHARD", "PRIMARY", "SERVING", "REPLICAS", "EPOCH", "CONFIG", "COUNT", "SLOTS"];
    output::table(&header, rows.into_iter().map(cells));
    Ok(Ended::Well)
}

fn row(view: &View, shard: &ShardRow) -> Row {
    let runs = view.topology.runs_of(shard.id);
    Row {
        number: shard.number,
        id: shard.id.to_string(),
        primary: shard.primary.to_string(),
        primary_address: view.address(shard.primary),
        serving: view.holds_lease(shard.primary),
        replicas: shard.replicas.iter().map(ToString::to_string).collect(),
        epoch: shard.epoch.0,
        config_epoch: shard.config_epoch.0,
        slot_count: view::count(&runs),
        slots: runs.iter().map(|run| [run.first.number(), run.last.number()]).collect(),
        phase: match shard.phase {
            ShardPhase::Steady => "steady",
            ShardPhase::Planned { .. } => "planned failover",
            ShardPhase::Forced { .. } => "forced failover",
        },
        shown_slots: view::runs(&runs),
    }
}

fn cells(row: Row) -> Vec<String> {
    vec![
        row.number.to_string(),
        row.primary_address,
        if row.serving { "yes" } else { "no" }.to_owned(),
        row.replicas.len().to_string(),
        row.epoch.to_string(),
        row.config_epoch.to_string(),
        row.slot_count.to_string(),
        row.shown_slots,
    ]
}
