//! Random changes of one entry against a plain struct.

use super::*;
use crate::store::hash::Hasher;
use crate::store::object::Set;
use proptest::prelude::*;

#[test]
fn a_small_entry_occupies_one_class_of_64_bytes_with_and_without_expiry() {
    let key = [b'k'; 16];
    let value = [b'v'; 32];
    assert_eq!(Entry::new(0, &key, &value, None).allocated(), 64);
    assert_eq!(Entry::new(0, &key, &value, Some(UnixMs(1))).allocated(), 64);
}

/// mimalloc reads its options from the environment once, so a process of its own is asked.
#[test]
#[cfg(not(miri))]
fn the_option_that_keeps_free_memory_is_the_purge_delay() {
    const NAME: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(NAME).is_some() {
        assert_eq!(purge_delay(), 4321);
        return;
    }
    let test = "store::raw::tests::the_option_that_keeps_free_memory_is_the_purge_delay";
    let program = std::env::current_exe().expect("this program");
    let asked = std::process::Command::new(program).args(["--exact", test]).env(NAME, "4321").output();
    let told = asked.expect("it can be started again");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && text.contains("1 passed"), "mimalloc's options have moved: {text}");
}

#[test]
fn classes_waste_at_most_a_quarter_and_never_shrink() {
    let mut last = 0;
    for size in 8..100_000 {
        let class = class(size);
        assert!(class >= size && class >= last && class.is_multiple_of(16), "{size}");
        assert!(size < 64 || class - size <= size / 4, "{size} -> {class}");
        last = class;
    }
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Vec<u8>, Option<u64>),
    Expire(Option<u64>),
    Write(usize, Vec<u8>),
    Move(u8),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..80),
        1 => (65_500usize..65_600, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (value(), any::<Option<u64>>()).prop_map(|(v, e)| Change::Replace(v, e)),
        any::<Option<u64>>().prop_map(Change::Expire),
        (0usize..100, value()).prop_map(|(at, v)| Change::Write(at, v)),
        any::<u8>().prop_map(Change::Move),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 256 }, ..Default::default() })]
    #[test]
    fn an_entry_holds_what_a_plain_struct_would_hold(
        key in value(), first in value(), changes in proptest::collection::vec(change(), 0..12)
    ) {
        let mut entry = Entry::new(3, &key, &first, None);
        let (mut db, mut model, mut expires) = (3, first, None);
        for change in changes {
            match change {
                Change::Replace(value, at) => {
                    entry.replace(&key, &value, at.map(UnixMs));
                    (model, expires) = (value, at);
                }
                Change::Expire(at) => { entry.set_expires(at.map(UnixMs)); expires = at; }
                Change::Write(offset, bytes) => {
                    entry.write(offset, &bytes);
                    if model.len() < offset + bytes.len() { model.resize(offset + bytes.len(), 0); }
                    model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                Change::Move(to) => { entry.set_db(to); db = to; }
            }
            prop_assert_eq!(entry.key(), &key[..]);
            prop_assert_eq!(entry.value(), &model[..]);
            prop_assert_eq!(entry.expires(), expires.map(UnixMs));
            prop_assert!(entry.is(db, &key));
            prop_assert!(entry.allocated() >= key.len() + model.len() + 8);
        }
    }
}

#[test]
fn a_collection_keeps_its_object_through_expiries_and_gives_it_up_with_the_entry() {
    // Its seeds live for ever; held here, they are not taken for a leak.
    static HASHER: std::sync::OnceLock<Hasher> = std::sync::OnceLock::new();
    let hasher = HASHER.get_or_init(|| Hasher::seeded(1));
    let made = |member: &[u8]| {
        let mut set = Set::default();
        set.add(hasher, member);
        Object::Set(set)
    };
    let long = vec![b'k'; 70_000];
    for key in [&long[..5], &long[..]] {
        let mut entry = Entry::collection(2, key, made(b"member"), None);
        assert_eq!((entry.kind(), entry.text(), entry.value()), (Kind::Set, None, &b""[..]));
        for expires in [Some(UnixMs(7)), Some(UnixMs(8)), None, Some(UnixMs(9))] {
            entry.set_expires(expires);
            assert_eq!((entry.expires(), entry.kind(), entry.key()), (expires, Kind::Set, key));
            assert!(matches!(entry.object(), Some(Object::Set(set)) if set.contains(b"member")));
        }
        entry.set_db(4);
        let before = entry.allocated();
        if let Some(Object::Set(set)) = entry.object_mut() {
            set.add(hasher, &[b'm'; 500]);
        }
        assert!(entry.is(4, key) && entry.allocated() >= before + 500);
        // The same size class as the pointer, and another one.
        entry.replace(key, b"12345678", None);
        assert_eq!((entry.kind(), entry.text(), entry.db()), (Kind::Text, Some(&b"12345678"[..]), 4));
        let mut entry = Entry::collection(0, key, made(b"member"), Some(UnixMs(1)));
        entry.write(2, b"ab");
        assert_eq!((entry.text(), entry.expires()), (Some(&b"\0\0ab"[..]), None));
        drop(Entry::collection(0, key, made(b"other"), None));
    }
}
