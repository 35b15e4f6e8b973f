//! `capstan failover`: hands a shard over to another replica, waits for the end, and says how long clients were held.
//!
//! The meta group decides and goes on deciding whether this program waits or not: what is printed is what the cluster
//! state shows.

use super::client::Client;
use super::view::View;
use super::{author, client, names, request_id};
use crate::args::FailoverArgs;
use crate::output::{self, Code, Ended};
use capstan_proto::env::{Boot, Env};
use capstan_proto::ids::{AttemptId, NodeId, ShardEpoch, ShardId};
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::verb::Verb;
use serde::Serialize;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The old primary tells how long it held its clients as soon as it has let them go.
const HOLD_TOLD_WITHIN: Duration = Duration::from_millis(1500);
/// An attempt ends by itself before: a hold limit, or the lease and a grace period of a forced one.
const END_WITHIN: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Done {
    shard: u32,
    attempt: u64,
    epoch: u64,
    primary: String,
    primary_address: String,
    old_primary: String,
    /// How long clients of the old primary were held, microseconds; none if it did not tell.
    hold_us: Option<u64>,
    /// From the answer to the request until the promotion was seen.
    took_ms: u64,
}

/// What is looked for: the end of this attempt, begun in this epoch.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    shard: ShardId,
    epoch: ShardEpoch,
    attempt: AttemptId,
    old: NodeId,
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    Promoted(NodeId, ShardEpoch),
    UnderWay,
    Ended,
}

pub(super) async fn run(args: FailoverArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.request.ask)?;
    let view = View::now(&mut client).await?;
    let id = names::shard(&view, &args.shard).map_err(Ended::refused)?;
    let to = args.to.as_ref().map(|text| names::node(&view, text)).transpose().map_err(Ended::refused)?;
    let Some(before) = view.topology.shards.get(&id).cloned() else {
        return Err(Ended::refused(format!("shard {} is gone", args.shard)));
    };
    let verb = Verb::Failover(v1::FailoverVerb {
        shard: id.0.to_vec().into(),
        candidate: to.map(|node| node.0.to_vec().into()),
        kind: u32::from(args.force),
    });
    let request = request_id(args.request.request_id);
    let reply = client.propose(request, &author(), verb).await?;
    if !reply.done || reply.repeated {
        let said = format!("shard {} fails over", args.shard);
        return super::change::answer(request, &reply, &said, args.request.ask.json);
    }
    let attempt = AttemptId(reply.attempt);
    let wanted = Wanted { shard: id, epoch: before.epoch, attempt, old: before.primary };
    let began = now();
    let (view, primary, epoch) = wait(&mut client, wanted, before.number).await?;
    let took = now().since(began);
    let hold_us = hold(&mut client, wanted).await;
    let done = Done {
        shard: before.number,
        attempt: attempt.0,
        epoch: epoch.0,
        primary: primary.to_string(),
        primary_address: view.address(primary),
        old_primary: before.primary.to_string(),
        hold_us,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    };
    if args.request.ask.json {
        output::json(&done);
    } else {
        let held = hold_us.map_or_else(|| "not told".to_owned(), |us| format!("{us} us"));
        output::line(format!(
            "shard {}: {} is primary in epoch {} (attempt {}); clients held: {held}; took {} ms",
            done.shard, done.primary_address, done.epoch, done.attempt, done.took_ms
        ));
    }
    Ok(Ended::Well)
}

fn now() -> Boot {
    Env::real().clock.boot()
}

async fn wait(client: &mut Client, wanted: Wanted, number: u32) -> Result<(View, NodeId, ShardEpoch), Ended> {
    let until = now().after(END_WITHIN);
    loop {
        let view = View::now(client).await?;
        match look(&view, wanted) {
            Look::Promoted(primary, epoch) => return Ok((view, primary, epoch)),
            Look::Ended => {
                let why = last_words(client, wanted.shard).await;
                return Err(Ended::refused(format!("shard {number} was not failed over: {why}")));
            }
            Look::UnderWay if now() >= until => {
                let message = format!("attempt {} of shard {number} is still under way", wanted.attempt);
                return Err(Ended::Badly { code: Code::Unknown, message });
            }
            Look::UnderWay => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn look(view: &View, wanted: Wanted) -> Look {
    match view.topology.shards.get(&wanted.shard) {
        Some(row) if row.epoch > wanted.epoch => Look::Promoted(row.primary, row.epoch),
        Some(row) if row.phase.planned().is_some_and(|(attempt, _)| attempt == wanted.attempt) => {
            Look::UnderWay
        }
        Some(_) | None => Look::Ended,
    }
}

/// The newest event of the shard: it tells how the attempt ended.
async fn last_words(client: &mut Client, shard: ShardId) -> String {
    let request = v1::HistoryRequest {
        limit: 1,
        shard: shard.to_string(),
        linearizable: true,
        ..v1::HistoryRequest::default()
    };
    let events = client.history(request).await.map(|reply| reply.events).unwrap_or_default();
    events.last().map_or_else(|| "its attempt has ended".to_owned(), |e| format!("{} ({})", e.what, e.why))
}

async fn hold(client: &mut Client, wanted: Wanted) -> Option<u64> {
    let until = now().after(HOLD_TOLD_WITHIN);
    loop {
        let view = View::now(client).await.ok()?;
        let held = view.reports.get(&wanted.old).and_then(|report| report.held.clone());
        let ours = held.filter(|held| held.attempt == wanted.attempt.0 && held.shard[..] == wanted.shard.0);
        match ours {
            Some(held) => return Some(held.hold_us),
            None if now() >= until => return None,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::ids::{ConfigEpoch, Incarnation, SpawnToken};
    use capstan_proto::topology::{Row, ShardPhase, ShardRow};

    #[test]
    fn an_attempt_is_under_way_until_its_shard_has_another_epoch_or_phase() {
        let (shard, old, new) = (ShardId([9; 20]), NodeId([1; 20]), NodeId([2; 20]));
        let wanted = Wanted { shard, epoch: ShardEpoch(4), attempt: AttemptId(2), old };
        let row = |phase, epoch, primary| ShardRow {
            id: shard,
            number: 1,
            primary,
            incarnation: Incarnation { counter: 1, token: SpawnToken([1; 16]) },
            epoch: ShardEpoch(epoch),
            config_epoch: ConfigEpoch(1),
            replicas: vec![new],
            phase,
            last_attempt: AttemptId(2),
            floor: None,
        };
        let mut view = View::default();
        assert_eq!(look(&view, wanted), Look::Ended);
        let under_way = |attempt| ShardPhase::Planned { attempt: AttemptId(attempt), candidate: new };
        view.topology.set(Row::Shard(row(under_way(2), 4, old)));
        assert_eq!(look(&view, wanted), Look::UnderWay);
        view.topology.set(Row::Shard(row(under_way(3), 4, old)));
        assert_eq!(look(&view, wanted), Look::Ended);
        view.topology.set(Row::Shard(row(ShardPhase::Steady, 5, new)));
        assert_eq!(look(&view, wanted), Look::Promoted(new, ShardEpoch(5)));
    }
}
