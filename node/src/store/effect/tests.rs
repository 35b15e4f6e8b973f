//! Random effects against a plain map, with every counter recounted after each; and the same effects from their bytes.

use super::*;
use crate::store::lanes::Lanes;
use crate::store::{Access, codec};
use proptest::prelude::*;
use std::collections::BTreeMap;

const DATABASES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, Vec<u8>, Option<u64>),
    Write(u8, u8, u32, Vec<u8>),
    Expire(u8, u8, Option<u64>),
    Delete(u8, u8),
    FlushAll,
    FlushDb(u8),
    SwapDb(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let db = || 0..DATABASES as u8;
    let key = 0u8..12;
    let value = proptest::collection::vec(any::<u8>(), 0..90);
    let large = (0usize..400_000).prop_map(|len| vec![7; len]);
    prop_oneof![
        8 => (db(), key.clone(), value.clone(), any::<Option<u64>>()).prop_map(|(d, k, v, e)| Step::Set(d, k, v, e)),
        1 => (db(), key.clone(), large, any::<Option<u64>>()).prop_map(|(d, k, v, e)| Step::Set(d, k, v, e)),
        4 => (db(), key.clone(), 0u32..60, value).prop_map(|(d, k, o, v)| Step::Write(d, k, o, v)),
        4 => (db(), key.clone(), any::<Option<u64>>()).prop_map(|(d, k, e)| Step::Expire(d, k, e)),
        6 => (db(), key).prop_map(|(d, k)| Step::Delete(d, k)),
        1 => Just(Step::FlushAll),
        1 => db().prop_map(Step::FlushDb),
        1 => (db(), db()).prop_map(|(a, b)| Step::SwapDb(a, b)),
    ]
}

type Model = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<u64>)>;

/// Applies a step to the model; the effect, or the node-wide record, that does the same to the lanes.
fn model(model: &mut Model, step: &Step) {
    match step {
        Step::Set(db, key, value, expires) => {
            model.insert((*db, name(*key)), (value.clone(), *expires));
        }
        Step::Write(db, key, offset, bytes) => {
            let (value, _) = model.entry((*db, name(*key))).or_default();
            let end = *offset as usize + bytes.len();
            if value.len() < end {
                value.resize(end, 0);
            }
            value[*offset as usize..end].copy_from_slice(bytes);
        }
        Step::Expire(db, key, at) => {
            if let Some((_, expires)) = model.get_mut(&(*db, name(*key))) {
                *expires = *at;
            }
        }
        Step::Delete(db, key) => drop(model.remove(&(*db, name(*key)))),
        Step::FlushAll => model.clear(),
        Step::FlushDb(db) => model.retain(|(there, _), _| there != db),
        Step::SwapDb(a, b) => {
            let swapped = |db| {
                if db == *a {
                    *b
                } else if db == *b {
                    *a
                } else {
                    db
                }
            };
            *model =
                std::mem::take(model).into_iter().map(|((db, key), v)| ((swapped(db), key), v)).collect();
        }
    }
}

fn name(key: u8) -> Vec<u8> {
    format!("key{key}").into_bytes()
}

fn execute(lanes: &Lanes, step: &Step, through_bytes: bool) {
    let (db, key, change) = match step {
        Step::Set(db, key, value, at) => (db, key, Change::Set { value, expires: at.map(UnixMs) }),
        Step::Write(db, key, offset, bytes) => (db, key, Change::Write { offset: *offset, bytes }),
        Step::Expire(db, key, at) => (db, key, Change::Expire { at: at.map(UnixMs) }),
        Step::Delete(db, key) => (db, key, Change::Delete),
        Step::FlushAll => return lanes.apply_node_wide(NodeWide::FlushAll),
        Step::FlushDb(db) => return lanes.apply_node_wide(NodeWide::FlushDb(*db)),
        Step::SwapDb(a, b) => return lanes.apply_node_wide(NodeWide::SwapDb(*a, *b)),
    };
    let key = name(*key);
    let slot = Slot::of_key(&key);
    let effect = Effect { slot, db: *db, key: &key, change };
    let mut lane = lanes.lock(lanes.of(slot));
    if through_bytes {
        let mut bytes = Vec::new();
        codec::encode(&effect, &mut bytes);
        let (read, rest) = codec::decode(&bytes).expect("was encoded");
        assert!(rest.is_empty());
        lane.apply(&read);
    } else {
        lane.apply(&effect);
    }
}

/// What the lanes hold, after checking every counter against a count.
fn contents(lanes: &Lanes) -> Model {
    let mut all = Model::new();
    let mut memory = 0;
    for number in 0..lanes.count() {
        let lane = lanes.lock(number);
        let mut databases = vec![(0, 0); DATABASES];
        for (slot, table) in lane.slots() {
            let (mut bytes, mut expiring) = (0, 0);
            for entry in table.entries() {
                assert_eq!(Slot::of_key(entry.key()), slot);
                bytes += entry.allocated();
                expiring += u32::from(entry.expires().is_some());
                let database = &mut databases[usize::from(entry.db())];
                *database = (database.0 + 1, database.1 + u64::from(entry.expires().is_some()));
                let value = (entry.value().to_vec(), entry.expires().map(|at| at.0));
                assert!(all.insert((entry.db(), entry.key().to_vec()), value).is_none(), "a key twice");
            }
            assert_eq!((table.bytes(), table.expiring()), (bytes, expiring));
            memory += bytes + table.table().allocation_size();
        }
        let counted: Vec<_> = lane.databases().iter().map(|d| (d.keys, d.expiring)).collect();
        assert_eq!(counted, databases);
    }
    let off = lanes.memory().abs_diff(memory);
    assert!(off <= lanes.count() * 16 * 1024, "{} bytes reported, {memory} there", lanes.memory());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 128 }, ..Default::default() })]
    #[test]
    fn lanes_hold_what_a_map_would_hold_and_count_it_right(
        steps in proptest::collection::vec(step(), 0..60), through_bytes: bool
    ) {
        let lanes = Lanes::new(4, DATABASES, 1);
        let mut there = Model::new();
        for step in &steps {
            model(&mut there, step);
            execute(&lanes, step, through_bytes);
        }
        prop_assert_eq!(contents(&lanes), there);
    }
}

#[test]
fn a_slot_that_is_emptied_gives_its_table_back() {
    let lanes = Lanes::new(1, 1, 1);
    let keys: Vec<Vec<u8>> = (0..2000).map(|i| format!("{{t}}{i}").into_bytes()).collect();
    let apply = |change: fn() -> Change<'static>| {
        for key in &keys {
            let effect = Effect { slot: Slot::of_key(key), db: 0, key, change: change() };
            lanes.lock(0).apply(&effect);
        }
    };
    apply(|| Change::Set { value: b"v", expires: None });
    let lane_table = || lanes.lock(0).slot(Slot::of_key(b"t")).table().allocation_size();
    let full = lane_table();
    apply(|| Change::Delete);
    assert!(lane_table() < full / 16, "{} of {full} bytes kept", lane_table());
}

#[test]
fn access_is_changed_only_while_the_lane_is_held_by_nobody_else() {
    let lanes = std::sync::Arc::new(Lanes::new(2, 1, 1));
    let held = lanes.lock(1);
    let changing = {
        let lanes = lanes.clone();
        std::thread::spawn(move || lanes.set_access(|_| Access::Mine))
    };
    // ►8: as long as a command holds lane 1, the change of its slots is not complete.
    let zero = Slot::new(0).expect("a slot");
    while lanes.lock(0).slot(zero).access() != Access::Mine {
        std::thread::yield_now();
    }
    assert!(!changing.is_finished());
    assert!(held.slots().all(|(_, table)| table.access() == Access::Unassigned));
    drop(held);
    changing.join().expect("no panic");
    assert!(lanes.lock(1).slots().all(|(_, table)| table.access() == Access::Mine));
}
