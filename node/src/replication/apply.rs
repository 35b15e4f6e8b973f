//! A frame's effects become data: in groups, so that their cache misses overlap (PERFORMANCE B8), and those of a large
//! frame by all workers, each with lanes of its own.
//!
//! Three passes over each group: decode, hash and ask for the slots' heads; ask for the entries; apply. A lane is kept for
//! as long as effects of one lane follow each other, so what a transaction did is seen by readers all at once. Batches are
//! applied one after the other: the next is begun when every lane has had its part of the one before, so a position
//! says as much as it does on the primary (I6).

use crate::store::codec::{self, DecodeError};
use crate::store::{Busy, Change, Effect, Held, Lanes};
use std::sync::Arc;
use tokio::runtime::Handle;

/// So many effects are looked up before the first is applied.
const GROUP: usize = 32;
/// A part of a body is worth a worker of its own from this size on: waking one costs as much as a hundred effects.
const PART_MIN: usize = 32 * 1024;

/// Why a body is not applied as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// It holds something that this program does not know.
    #[error(transparent)]
    Entry(#[from] DecodeError),
    /// The process is stopping, or a worker has failed.
    #[error("a part of it was not applied: its worker has ended")]
    Ended,
}

/// Applies the effects of a body. When this returns, nothing of it is still under way.
pub async fn body(lanes: &Arc<Lanes>, body: &[u8]) -> Result<(), Unfinished> {
    if body.len() < 2 * PART_MIN {
        return Ok(in_order(lanes, body).await?);
    }
    let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    let parts = parts(body.len(), workers);
    if parts == 1 {
        return Ok(in_order(lanes, body).await?);
    }
    let part = |body: Vec<u8>| {
        let lanes = Arc::clone(lanes);
        tokio::spawn(async move { in_order(&lanes, &body).await })
    };
    // All are tasks, also the one that this worker will run: it runs what was spawned last, which nobody can steal.
    let under_way: Vec<_> = split(lanes, body, parts)?.into_iter().map(part).collect();
    let mut outcome = Ok(());
    for part in under_way {
        let done = part.await.map_err(|_| Unfinished::Ended).and_then(|done| Ok(done?));
        outcome = outcome.and(done);
    }
    outcome
}

/// How many workers apply a body of this length.
fn parts(len: usize, workers: usize) -> usize {
    workers.min(len / PART_MIN).max(1)
}

/// Bodies that can be applied side by side: all effects of a lane are in one of them, in their order.
fn split(lanes: &Lanes, body: &[u8], parts: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut bodies = vec![Vec::with_capacity(body.len() / parts * 5 / 4); parts];
    let mut rest = body;
    while !rest.is_empty() {
        let (effect, after) = codec::decode(rest)?;
        bodies[lanes.of(effect.slot) % parts].extend_from_slice(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    Ok(bodies)
}

/// Applies a body from its first effect to its last; waits where a long command holds a lane.
async fn in_order(lanes: &Lanes, body: &[u8]) -> Result<(), DecodeError> {
    let mut at = 0;
    loop {
        match effects(lanes, body, &mut at) {
            Ok(()) => return Ok(()),
            Err(Stop::Busy(busy)) => lanes.turn(busy).await,
            Err(Stop::Entry(error)) => return Err(error),
        }
    }
}

/// Why the application of a frame stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Stop {
    /// A long command holds the lane of the next effect: wait for its turn, then go on.
    #[error("lane {} is busy", .0.lane)]
    Busy(Busy),
    /// The next entry is none that this program knows.
    #[error(transparent)]
    Entry(#[from] DecodeError),
}

struct Item<'a> {
    effect: Effect<'a>,
    hash: u64,
    lane: usize,
    /// Behind it in the body.
    end: usize,
}

/// Applies the effects of a body from `at` on, and moves `at` behind each one that was applied.
fn effects(lanes: &Lanes, body: &[u8], at: &mut usize) -> Result<(), Stop> {
    let mut held: Option<Held<'_>> = None;
    let mut group = Vec::with_capacity(GROUP);
    while *at < body.len() {
        read_group(lanes, body, *at, &mut group)?;
        if group.len() > 1 {
            for item in &group {
                match &held {
                    Some(lane) if lane.number() == item.lane => {
                        lane.prefetch_entry(item.effect.slot, item.hash)
                    }
                    Some(_) | None => lanes.prefetch_entry(item.effect.slot, item.hash),
                }
            }
        }
        for item in group.drain(..) {
            let lane = match &mut held {
                Some(lane) if lane.number() == item.lane => lane,
                stale => {
                    // Let go of one before the next is taken: nobody can wait for us in a circle.
                    *stale = None;
                    stale.insert(lanes.enter(item.lane).map_err(Stop::Busy)?)
                }
            };
            // A marker belongs to a copy that is not ours.
            if !matches!(item.effect.change, Change::Marker { .. }) {
                lane.apply_hashed(item.hash, &item.effect);
            }
            *at = item.end;
        }
    }
    Ok(())
}

fn read_group<'a>(
    lanes: &Lanes,
    body: &'a [u8],
    at: usize,
    group: &mut Vec<Item<'a>>,
) -> Result<(), DecodeError> {
    let mut rest = body.get(at..).unwrap_or_default();
    while group.len() < GROUP && !rest.is_empty() {
        let (effect, after) = codec::decode(rest)?;
        lanes.prefetch_slot(effect.slot);
        let (hash, lane) = (lanes.hash(effect.key), lanes.of(effect.slot));
        group.push(Item { effect, hash, lane, end: body.len() - after.len() });
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
