//! Who owns a slot. So far slots are only given out; moving them comes with migrations (DESIGN 11).
//!
//! Judges only: all the slots of a command, or none. A slot that has an owner is never taken from it here (I2, I9).

use super::State;
use super::apply::{Change, Told};
use super::command::SlotRange;
use super::history::Subject;
use super::outcome::{Done, Rejection};
use super::planted::{Bug, Planted};
use capstan_proto::ids::ShardId;
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::{Row, SlotRun};

pub(super) fn add_slots(
    state: &State,
    shard: ShardId,
    ranges: &[SlotRange],
    planted: Planted,
) -> Result<Change, Rejection> {
    let number = state.shard(shard)?.number;
    if ranges.is_empty() {
        return Err(Rejection::NoSlots);
    }
    // A slot that comes again ends the loop, so it runs at most once per slot, however many ranges there are.
    let mut named = vec![false; usize::from(SLOTS)];
    for range in ranges {
        if range.first > range.last {
            return Err(Rejection::from(*range));
        }
        for at in range.first.number()..=range.last.number() {
            let slot = Slot::new(at).ok_or_else(|| Rejection::from(*range))?;
            let Some(seen) = named.get_mut(slot.index()) else { return Err(Rejection::from(*range)) };
            if std::mem::replace(seen, true) {
                return Err(Rejection::SlotTwice { slot });
            }
            match state.topology.owner(slot) {
                Some(owner) if !planted.has(Bug::OwnedSlotTaken) => {
                    return Err(Rejection::SlotBusy { slot, owner });
                }
                Some(_) | None => {}
            }
        }
    }
    let runs = runs(&named, shard);
    let slots = named.iter().filter(|named| **named).count() as u32;
    let list: Vec<String> = runs.iter().map(|run| format!("{}-{}", run.first, run.last)).collect();
    let told = Told::plain(
        format!("gave {slots} slots to shard {number}: {}", list.join(",")),
        Subject { shard: Some(shard), nodes: Vec::new() },
    );
    Ok(Change::told(Done::SlotsAdded { slots }, runs.into_iter().map(Row::Slots).collect(), told))
}

/// The named slots as the fewest runs.
fn runs(named: &[bool], owner: ShardId) -> Vec<SlotRun> {
    let mut runs: Vec<SlotRun> = Vec::new();
    let mut open = false;
    for slot in Slot::all() {
        let now = named.get(slot.index()).copied().unwrap_or_default();
        match (open, now, runs.last_mut()) {
            (true, true, Some(run)) => run.last = slot,
            (_, true, _) => runs.push(SlotRun { first: slot, last: slot, owner: Some(owner) }),
            (_, false, _) => {}
        }
        open = now;
    }
    runs
}
