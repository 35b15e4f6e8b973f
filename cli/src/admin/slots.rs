//! `capstan slots`: the owner of every slot, of one, or of a key's.

use super::client;
use super::view::View;
use crate::args::SlotsArgs;
use crate::output::{self, Ended};
use capstan_proto::slot::Slot;
use capstan_proto::topology::SlotRun;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    first: u16,
    last: u16,
    /// None: nobody owns them.
    shard: Option<u32>,
    primary: Option<String>,
    address: Option<String>,
}

pub(super) async fn run(args: SlotsArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    let view = View::now(&mut client).await?;
    let one = args.key.as_deref().map(|key| Slot::of_key(key.as_bytes())).or(args.slot.and_then(Slot::new));
    let runs = match one {
        Some(slot) => vec![SlotRun { first: slot, last: slot, owner: view.topology.owner(slot) }],
        None => view.topology.runs(),
    };
    let rows: Vec<Row> = runs.iter().map(|run| row(&view, run)).collect();
    if args.ask.json {
        output::json(&rows);
        return Ok(Ended::Well);
    }
    output::table(&["SLOTS", "COUNT", "SHARD", "PRIMARY", "NODE"], rows.into_iter().map(cells));
    Ok(Ended::Well)
}

fn row(view: &View, run: &SlotRun) -> Row {
    let shard = run.owner.and_then(|id| view.topology.shards.get(&id));
    Row {
        first: run.first.number(),
        last: run.last.number(),
        shard: shard.map(|shard| shard.number),
        primary: shard.map(|shard| shard.primary.to_string()),
        address: shard.map(|shard| view.address(shard.primary)),
    }
}

fn cells(row: Row) -> Vec<String> {
    let nobody = || "-".to_owned();
    vec![
        if row.first == row.last { row.first.to_string() } else { format!("{}-{}", row.first, row.last) },
        (u32::from(row.last) - u32::from(row.first) + 1).to_string(),
        row.shard.map_or_else(nobody, |number| number.to_string()),
        row.address.unwrap_or_else(nobody),
        row.primary.unwrap_or_else(nobody),
    ]
}
