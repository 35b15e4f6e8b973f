//! Random effects on values of every type, of the right and of the wrong one: counters stay right, and the same
//! effects read from their bytes make the same data.

use super::*;
use crate::store::lanes::Lanes;
use crate::store::object::Kind;
use crate::store::{codec, rebuild};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Step {
    key: u8,
    what: u8,
    member: u16,
    number: u32,
    len: usize,
}

fn step() -> impl Strategy<Value = Step> {
    // Lengths around the largest packed text, and a few that fill chunks.
    let len = prop_oneof![8 => 0usize..70, 1 => 2000usize..3000];
    (0u8..4, 0u8..16, 0u16..300, 0u32..400, len).prop_map(|(key, what, member, number, len)| Step {
        key,
        what,
        member,
        number,
        len,
    })
}

/// Applies a step to both lanes, to the second one through its bytes.
fn apply(step: &Step, direct: &Lanes, through_bytes: &Lanes) {
    let key = format!("key{}", step.key).into_bytes();
    let member = format!("m{}", step.member).into_bytes();
    let value = vec![b'v'; step.len];
    let indices: Vec<u8> = (step.number..step.number + 5).flat_map(u32::to_le_bytes).collect();
    let end = if step.number % 2 == 0 { End::Left } else { End::Right };
    let digits = step.number.to_string();
    let change = match step.what {
        0 | 1 => Change::HashSet { field: &member, value: &value },
        2 => Change::HashDelete { field: &member },
        3 | 4 => Change::ListPush { end, value: &value },
        5 => Change::ListPop { end, count: step.number % 4 },
        6 => Change::ListSet { index: step.number % 20, value: &value },
        7 => Change::ListInsert { index: step.number % 20, value: &value },
        8 => Change::ListRemove { indices: Indices::new(&indices).expect("whole") },
        9 | 10 => Change::SetAdd { member: &member },
        11 => Change::SetRemove { member: &member },
        12 => {
            Change::ZsetSet { member: &member, score: Score::new(f64::from(step.number)).expect("a number") }
        }
        13 => Change::ZsetRemove { member: &member },
        14 => Change::Expire { at: Some(UnixMs(u64::from(step.number))) },
        _ if step.number < 40 => Change::Delete,
        _ if step.number < 60 => Change::Set { value: &value, expires: None },
        _ => Change::SetAdd { member: digits.as_bytes() },
    };
    let slot = Slot::of_key(&key);
    let effect = Effect { slot, db: 0, key: &key, change };
    direct.lock(direct.of(slot)).apply(&effect);
    let mut bytes = Vec::new();
    codec::encode(&effect, &mut bytes);
    let (read, rest) = codec::decode(&bytes).expect("was encoded");
    assert!(rest.is_empty());
    through_bytes.lock(through_bytes.of(slot)).apply(&read);
}

/// What is there, after a recount of what every slot says of itself.
fn content(lanes: &Lanes) -> BTreeMap<Vec<u8>, (Kind, Vec<String>)> {
    let (mut all, mut memory) = (BTreeMap::new(), 0);
    for number in 0..lanes.count() {
        let lane = lanes.lock(number);
        let mut keys = (0, 0);
        for (_, table) in lane.slots() {
            let bytes: usize = table.entries().map(Entry::allocated).sum();
            let expiring = table.entries().filter(|entry| entry.expires().is_some()).count();
            assert_eq!((table.bytes(), table.expiring() as usize), (bytes, expiring));
            keys = (keys.0 + table.len() as u64, keys.1 + expiring as u64);
            memory += bytes + table.table().allocation_size();
            for entry in table.entries() {
                let mut changes = Vec::new();
                rebuild::all(entry, |change| changes.push(format!("{change:?}")));
                if entry.kind() != Kind::List {
                    changes.sort();
                }
                all.insert(entry.key().to_vec(), (entry.kind(), changes));
            }
        }
        assert_eq!((lane.databases()[0].keys, lane.databases()[0].expiring), keys);
    }
    let off = lanes.memory().abs_diff(memory);
    assert!(off <= lanes.count() * 16 * 1024, "{} bytes reported, {memory} there", lanes.memory());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 96 }, ..Default::default() })]
    #[test]
    fn effects_on_collections_count_right_and_mean_the_same_from_their_bytes(
        steps in proptest::collection::vec(step(), 0..600)
    ) {
        let (direct, through_bytes) = (Lanes::new(2, 1, 1), Lanes::new(4, 1, 2));
        for (i, step) in steps.iter().enumerate() {
            apply(step, &direct, &through_bytes);
            if i % 50 == 0 {
                content(&direct);
            }
        }
        prop_assert_eq!(content(&direct), content(&through_bytes));
    }
}
