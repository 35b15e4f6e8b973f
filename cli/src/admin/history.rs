//! `capstan history`: what was decided, when, by whom, why, and on what evidence.

use super::view::View;
use super::{client, names};
use crate::args::HistoryArgs;
use crate::output::{self, Ended};
use capstan_proto::rpc::v1;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    index: u64,
    version: String,
    time: String,
    time_ms: u64,
    who: String,
    what: String,
    subject: String,
    why: String,
    evidence: String,
}

pub(super) async fn run(args: HistoryArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    let (mut shard, mut node) = (String::new(), String::new());
    if args.shard.is_some() || args.node.is_some() {
        let view = View::now(&mut client).await?;
        if let Some(text) = &args.shard {
            shard = names::shard(&view, text).map_err(Ended::usage)?.to_string();
        }
        if let Some(text) = &args.node {
            node = names::node(&view, text).map_err(Ended::usage)?.to_string();
        }
    }
    // A server that was down a moment ago may not have caught up: with a quorum it is asked first.
    let linearizable = client.members().await?.quorum;
    if !linearizable {
        output::error("the meta group has no quorum: this is what one of its servers has, which may be old");
    }
    let request =
        v1::HistoryRequest { after_index: args.after, limit: args.limit, shard, node, linearizable };
    let rows: Vec<Row> = client.history(request).await?.events.into_iter().map(row).collect();
    if args.ask.json {
        output::json(&rows);
        return Ok(Ended::Well);
    }
    output::table(&["INDEX", "TIME", "WHO", "WHAT", "ABOUT", "WHY"], rows.into_iter().map(cells));
    Ok(Ended::Well)
}

fn row(event: v1::HistoryEvent) -> Row {
    let version = event.version.unwrap_or_default();
    Row {
        index: version.index,
        version: format!("{}.{}", version.generation, version.index),
        time: output::time(event.time_ms),
        time_ms: event.time_ms,
        who: event.who,
        what: event.what,
        subject: event.subject,
        why: event.why,
        evidence: event.evidence,
    }
}

fn cells(row: Row) -> Vec<String> {
    let why = if row.evidence.is_empty() { row.why } else { format!("{} ({})", row.why, row.evidence) };
    vec![row.index.to_string(), row.time, row.who, row.what, row.subject, why]
}
