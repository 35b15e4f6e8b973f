//! What must hold at the end of a healed run: every shard is served, its replica holds the same, and no failover that
//! was asked for has lost anything (I10).

use crate::contents;
use crate::operator::Kind;
use crate::plan::{QUIET_MS, SHARDS};
use crate::stage::{Shared, Stage, at};
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::ShardRow;

/// The last command of a shard is not longer ago than this when clients become quiet.
const SERVED_WITHIN_MS: u64 = 2_000;

/// Checks a run that has healed; what does not hold is noted.
pub(crate) fn check(stage: &Stage) {
    let mut found = Vec::new();
    if !stage.is_formed() {
        found.push("liveness: the cluster was never formed".to_owned());
    }
    {
        let shared = stage.shared.lock();
        found.extend((0..SHARDS).filter_map(|place| served(&shared, place)));
        let newest = shared.checks.newest();
        let shards = newest.into_iter().flat_map(|topology| topology.shards.values());
        found.extend(shards.filter_map(|shard| copies(&shared, shard)));
    }
    found.extend(promotions(stage));
    found.into_iter().for_each(|what| stage.broken(what));
}

fn served(shared: &Shared, place: usize) -> Option<String> {
    let bound = |at: usize| (at * usize::from(SLOTS)).div_ceil(SHARDS) as u16;
    let slots = (bound(place)..bound(place + 1)).filter_map(Slot::new);
    let last = slots.filter_map(|slot| shared.checks.last_served(slot)).map(|served| served.at).max();
    let last_ms = last.map(|at| at / 1_000_000);
    let late = last_ms.is_none_or(|at| at + SERVED_WITHIN_MS < QUIET_MS);
    late.then(|| format!("liveness: shard {} of a healed run was last served at {last_ms:?} ms", place + 1))
}

/// The primary serves under a lease, its replica is whole, and both hold the same.
fn copies(shared: &Shared, shard: &ShardRow) -> Option<String> {
    let number = shard.number;
    let Some(primary) = shared.process_of(shard.primary) else {
        return Some(format!("liveness: the primary of shard {number} does not run"));
    };
    if !primary.core.serving.covers(primary.core.env.clock.boot()) {
        return Some(format!("liveness: {} of shard {number} has no lease", primary.name));
    }
    let topology = shared.checks.newest()?;
    for replica in &shard.replicas {
        let row = topology.nodes.get(replica)?;
        let Some(process) = shared.process_of(*replica).filter(|_| row.whole && !row.dead) else {
            let who = at(row.addresses.port).map(|node| node + 1);
            return Some(format!("liveness: replica {who:?} of shard {number} is not whole in a healed run"));
        };
        let (ours, theirs) = (primary.core.log.last(), process.core.log.last());
        if ours != theirs {
            return Some(format!("liveness: {} is at {theirs}, its primary at {ours}", process.name));
        }
        if let Some(difference) = contents::difference(&primary.core, &process.core) {
            return Some(format!("I6: {} and {} differ: {difference}", primary.name, process.name));
        }
    }
    None
}

/// Judges each promotion by what the history calls it.
fn promotions(stage: &Stage) -> Vec<String> {
    let kinds = stage.wishes(|wishes| wishes.kinds.clone());
    kinds.values().for_each(|kind| stage.count(&format!("promotion: {}", kind.name())));
    let mut found = Vec::new();
    let opened = stage.shared.lock().ledger.opened.clone();
    for one in opened {
        let kind = kinds.get(&(one.number, one.epoch.0)).copied();
        let name = kind.map_or("in no history", Kind::name);
        stage.count_more(&format!("acknowledged and lost: {name}"), one.lost);
        match kind {
            Some(Kind::Planned) if one.lost > 0 => {
                found.push(format!(
                    "I10: a planned failover has lost {} acknowledged writes: {one:?}",
                    one.lost
                ));
            }
            Some(Kind::Planned | Kind::Dead | Kind::LeaseOver) if !one.whole => {
                found.push(format!("►3: a replica that was never whole was promoted: {one:?}"));
            }
            Some(Kind::Planned | Kind::Forced | Kind::Dead | Kind::LeaseOver | Kind::NoCopyLeft) => {}
            None => found.push(format!("history: a promotion is not in it: {one:?}")),
        }
    }
    found
}
