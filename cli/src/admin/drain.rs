//! `capstan drain`: a node is to lead nothing; waits until that is so, and says what it still waits for.
//!
//! The mark stays on the node over its restarts until `--end`. A shard without another copy that could take over stays
//! where it is: that is said, and the meta group goes on trying after this program has gone.

use super::change::{Change, propose};
use super::view::View;
use super::{client, names};
use crate::args::DrainArgs;
use crate::output::{self, Code, Ended};
use capstan_proto::env::Env;
use capstan_proto::ids::NodeId;
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::verb::Verb;
use capstan_proto::topology::ShardRow;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(args: DrainArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.request.ask)?;
    let view = View::now(&mut client).await?;
    let node = names::node(&view, &args.node).map_err(Ended::refused)?;
    let address = view.address(node);
    let verb = Verb::Drain(v1::DrainVerb { node: node.0.to_vec().into(), end: args.end });
    let json = args.request.ask.json;
    if args.end {
        let said = format!("{address} may lead again");
        let change = Change { verb, request_id: args.request.request_id, said, json };
        return propose(&mut client, change).await;
    }
    let said = format!("{address} is drained");
    let change = Change { verb, request_id: args.request.request_id, said, json };
    propose(&mut client, change).await?;
    let clock = Env::real().clock;
    let until = clock.boot().after(Duration::from_secs(args.wait));
    let mut told = String::new();
    loop {
        let view = View::now(&mut client).await?;
        let Some(left) = view.topology.led_by(node) else { break };
        let waits = waits_for(&view, left);
        if waits != told && !json {
            output::line(&waits);
        }
        told = waits;
        if clock.boot() >= until {
            let message = format!("{address} is marked as drained and still leads: {told}");
            return Err(Ended::Badly { code: Code::Unknown, message });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if !json {
        output::line(format!("{address} leads nothing"));
    }
    Ok(Ended::Well)
}

/// What a drained node's shard is waiting for, in words.
fn waits_for(view: &View, shard: &ShardRow) -> String {
    if let Some((attempt, candidate)) = shard.phase.planned() {
        return format!("shard {}: attempt {attempt} to {}", shard.number, view.address(candidate));
    }
    let able = |node: &&NodeId| {
        let row = view.topology.nodes.get(node);
        row.is_some_and(|row| row.whole && !row.dead) && !view.topology.drained.contains(node)
    };
    match shard.replicas.iter().find(able) {
        Some(_) => format!("shard {}: a failover is about to begin", shard.number),
        None => format!("shard {}: no other node has a complete copy of it", shard.number),
    }
}
