//! Order, lanes that are busy, damage, and the same data whether one worker applies it or several.

use super::*;
use capstan_proto::slot::Slot;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn numbered(count: u32) -> Vec<u8> {
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
        let (body, mut at) = (numbered(1000), 0);
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
    let (body, mut at) = (numbered(1000), 0);
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
    let mut damaged = numbered(3);
    let last = damaged.len() - numbered(1).len();
    damaged[last] = 63;
    assert_eq!(effects(&lanes, &damaged, &mut 0), Err(Stop::Entry(DecodeError::Op(63))));
}

/// A deletion, or a value that grows with the number of the change, of one of so many keys.
fn changes(picks: &[(u16, bool)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (n, (key, deletes)) in picks.iter().enumerate() {
        let (key, value) = (format!("key{key}"), vec![b'v'; n % 200]);
        let change = if *deletes { Change::Delete } else { Change::Set { value: &value, expires: None } };
        let slot = Slot::of_key(key.as_bytes());
        codec::encode(&Effect { slot, db: 0, key: key.as_bytes(), change }, &mut body);
    }
    body
}

fn content(lanes: &Lanes) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let lane = |number| -> Vec<(Vec<u8>, Vec<u8>)> {
        let lane = lanes.lock(number);
        let slots = (0..capstan_proto::slot::SLOTS).filter_map(Slot::new);
        let of_lane = slots.filter(|slot| lanes.of(*slot) == number);
        of_lane
            .flat_map(|slot| {
                lane.slot(slot)
                    .entries()
                    .map(|it| (it.key().to_vec(), it.value().to_vec()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    (0..lanes.count()).flat_map(lane).collect()
}

fn several_workers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().expect("threads")
}

#[test]
fn small_bodies_are_no_business_of_other_workers() {
    let table = [(0, 8, 1), (PART_MIN, 8, 1), (2 * PART_MIN, 8, 2), (1 << 30, 8, 8), (1 << 30, 1, 1)];
    for (len, workers, wanted) in table {
        assert_eq!(parts(len, workers), wanted, "{len} bytes, {workers} workers");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn several_workers_make_the_same_data_as_one(
        picks in prop::collection::vec((0..500u16, prop::bool::weighted(0.2)), 3000..6000)
    ) {
        let (one, several) = (Lanes::new(16, 1, 3), Arc::new(Lanes::new(16, 1, 5)));
        let bytes = changes(&picks);
        effects(&one, &bytes, &mut 0).expect("plain effects");
        several_workers().block_on(async {
            let (lanes, bytes) = (Arc::clone(&several), bytes.clone());
            assert!(parts(bytes.len(), 4) == 4, "{} bytes", bytes.len());
            tokio::spawn(async move { body(&lanes, &bytes).await }).await.expect("no panic").expect("plain effects");
        });
        prop_assert_eq!(content(&several), content(&one));
    }

    #[test]
    fn a_split_body_has_every_effect_once_and_a_lane_in_one_part_only(
        picks in prop::collection::vec((0..500u16, any::<bool>()), 0..300), count in 1..9usize
    ) {
        let lanes = Lanes::new(16, 1, 3);
        let bytes = changes(&picks);
        let bodies = split(&lanes, &bytes, count).expect("plain effects");
        let mut found = Vec::new();
        let mut owners = BTreeMap::new();
        for (part, mut rest) in bodies.iter().map(Vec::as_slice).enumerate() {
            while !rest.is_empty() {
                let (effect, after) = codec::decode(rest).expect("a whole effect");
                let lane = lanes.of(effect.slot);
                prop_assert_eq!(*owners.entry(lane).or_insert(part), part);
                found.push(rest[..rest.len() - after.len()].to_vec());
                rest = after;
            }
        }
        let (mut all, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let after = codec::decode(rest).expect("a whole effect").1;
            all.push(rest[..rest.len() - after.len()].to_vec());
            rest = after;
        }
        found.sort();
        all.sort();
        prop_assert_eq!(found, all);
    }
}

#[test]
fn a_part_waits_for_its_lane_while_the_others_go_on_and_the_body_for_all() {
    let lanes = Arc::new(Lanes::new(16, 1, 3));
    let bytes = numbered(10_000);
    let lane = lanes.of(Slot::of_key(b"key42"));
    let others =
        (0..100).filter(|n| lanes.of(Slot::of_key(format!("key{n}").as_bytes())) % 4 != lane % 4).count();
    let long = lanes.lock_long(lane);
    let runtime = several_workers();
    let applying = runtime.spawn({
        let (lanes, bytes) = (Arc::clone(&lanes), bytes.clone());
        async move { body(&lanes, &bytes).await }
    });
    let seen = || -> usize {
        let free = (0..lanes.count()).filter(|number| *number % 4 != lane % 4);
        free.map(|number| lanes.lock(number).databases()[0].keys as usize).sum()
    };
    // Some thousand looks are usual.
    assert!(
        (0..100_000_000).any(|_| seen() >= others || {
            std::thread::yield_now();
            false
        }),
        "the others wait too"
    );
    assert!(!applying.is_finished(), "a lane is still to come");
    drop(long);
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), applying).await });
    assert_eq!(done.expect("in time").expect("no panic"), Ok(()));
    assert_eq!(keys(&lanes), 100);
}

#[test]
fn nothing_of_a_large_body_is_applied_if_something_in_it_is_unknown() {
    let lanes = Arc::new(Lanes::new(16, 1, 3));
    let mut damaged = numbered(10_000);
    let last = damaged.len() - numbered(1).len();
    damaged[last] = 63;
    let applied = several_workers().block_on(async {
        let lanes = Arc::clone(&lanes);
        tokio::spawn(async move { body(&lanes, &damaged).await }).await.expect("no panic")
    });
    assert!(matches!(applied, Err(Unfinished::Entry(_))), "{applied:?}");
    assert_eq!(keys(&lanes), 0);
}
