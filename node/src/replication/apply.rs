//! A frame's effects become data: in groups, so that their cache misses overlap (PERFORMANCE B8).
//!
//! Three passes over each group: decode, hash and ask for the slots' heads; ask for the entries; apply. A lane is kept for
//! as long as effects of one lane follow each other, so what a transaction did is seen by readers all at once.

use crate::store::codec::{self, DecodeError};
use crate::store::{Busy, Change, Effect, Held, Lanes};

/// So many effects are looked up before the first is applied.
const GROUP: usize = 32;

/// Why the application of a frame stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
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
pub fn effects(lanes: &Lanes, body: &[u8], at: &mut usize) -> Result<(), Stop> {
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
mod tests {
    use super::*;
    use capstan_proto::slot::Slot;

    fn body(count: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for n in 0..count {
            let key = format!("key{}", n % 100);
            let value = n.to_le_bytes();
            let change = Change::Set { value: &value, expires: None };
            let slot = Slot::of_key(key.as_bytes());
            codec::encode(&Effect { slot, db: 0, key: key.as_bytes(), change }, &mut body);
        }
        body
    }

    fn keys(lanes: &Lanes) -> u64 {
        (0..lanes.count()).map(|lane| lanes.lock(lane).databases()[0].keys).sum()
    }

    #[test]
    fn effects_are_applied_in_order_whatever_the_lanes() {
        for count in [1, 4, 256] {
            let lanes = Lanes::new(count, 1, 3);
            let (body, mut at) = (body(1000), 0);
            effects(&lanes, &body, &mut at).expect("plain effects");
            assert_eq!((at, keys(&lanes)), (body.len(), 100));
            let slot = Slot::of_key(b"key42");
            let key = crate::commands::args::Key { bytes: b"key42", slot, hash: lanes.hash(b"key42") };
            let lane = lanes.lock(lanes.of(slot));
            assert_eq!(lane.find(0, key).map(crate::store::Entry::value), Some(&942u32.to_le_bytes()[..]));
        }
    }

    #[test]
    fn a_lane_that_a_long_command_holds_stops_it_where_it_can_go_on() {
        let lanes = Lanes::new(4, 1, 3);
        let (body, mut at) = (body(1000), 0);
        let long = lanes.lock_long(2);
        let stopped = effects(&lanes, &body, &mut at);
        assert_eq!(stopped, Err(Stop::Busy(Busy { lane: 2 })));
        drop(long);
        assert!(at < body.len());
        effects(&lanes, &body, &mut at).expect("plain effects");
        assert_eq!((at, keys(&lanes)), (body.len(), 100));
    }

    #[test]
    fn an_unknown_entry_is_an_error() {
        let lanes = Lanes::new(4, 1, 3);
        let mut damaged = body(3);
        let last = damaged.len() - body(1).len();
        damaged[last] = 63;
        assert_eq!(effects(&lanes, &damaged, &mut 0), Err(Stop::Entry(DecodeError::Op(63))));
    }
}
