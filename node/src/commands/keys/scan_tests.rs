//! SCAN promises: whoever is there from the first call to the last is shown, whatever happens in between.

use crate::commands::desk::Desk;
use std::collections::BTreeSet;

/// The cursor and the keys of one call's reply.
fn call(desk: &mut Desk, cursor: &str, options: &str) -> (String, Vec<String>) {
    let reply = desk.say(&format!("SCAN {cursor} {options}"));
    let lines: Vec<&str> = reply.split("\\r\\n").collect();
    // *2, $n, cursor, *m, then $n and a key for each.
    let keys = lines[4..].chunks(2).filter_map(|pair| pair.get(1)).map(|key| (*key).to_owned());
    (lines[2].to_owned(), keys.collect())
}

/// Every call of an iteration; `between` happens after each.
fn iterate(desk: &mut Desk, options: &str, mut between: impl FnMut(&mut Desk, usize)) -> Vec<Vec<String>> {
    let (mut cursor, mut calls) = ("0".to_owned(), Vec::new());
    loop {
        let (next, keys) = call(desk, &cursor, options);
        calls.push(keys);
        assert!(calls.len() < 100_000, "the iteration does not end");
        if next == "0" {
            return calls;
        }
        cursor = next;
        between(desk, calls.len());
    }
}

fn filled(keys: impl Iterator<Item = String>) -> (Desk, BTreeSet<String>) {
    let mut desk = Desk::new();
    let keys: BTreeSet<String> = keys.collect();
    for key in &keys {
        desk.say(&format!("SET {key} v"));
    }
    (desk, keys)
}

fn all(calls: Vec<Vec<String>>) -> BTreeSet<String> {
    calls.into_iter().flatten().collect()
}

#[test]
fn a_scan_of_a_still_keyspace_shows_every_key_once_and_about_as_many_a_call_as_asked_for() {
    for tag in ["{one slot}", ""] {
        let tag = tag.replace(' ', "-");
        let (mut desk, keys) = filled((0..3000).map(|i| format!("{tag}{i}")));
        let calls = iterate(&mut desk, "COUNT 50", |_, _| {});
        assert!(calls.len() > 20 && calls.iter().all(|keys| keys.len() < 200), "{} calls", calls.len());
        assert_eq!(calls.iter().map(Vec::len).sum::<usize>(), keys.len(), "none twice");
        assert_eq!(all(calls), keys);
    }
}

#[test]
fn a_key_that_is_there_throughout_is_shown_while_the_table_grows_and_shrinks() {
    let (mut desk, keys) = filled((0..600).map(|i| format!("{{t}}{i}")));
    let calls = iterate(&mut desk, "COUNT 20", |desk, n| {
        for i in 0..40 {
            desk.say(&format!("SET {{t}}new{n}-{i} v"));
        }
        if n % 7 == 0 {
            for m in 0..n {
                (0..40).for_each(|i| drop(desk.say(&format!("DEL {{t}}new{m}-{i}"))));
            }
        }
    });
    assert!(all(calls).is_superset(&keys));
}

#[test]
fn tombstones_being_cleaned_up_hide_nothing() {
    let (mut desk, keys) = filled((0..500).map(|i| format!("{{t}}{i}")));
    let calls = iterate(&mut desk, "COUNT 5", |desk, n| {
        for i in 0..200 {
            desk.say(&format!("SET {{t}}brief{n}-{i} v"));
            desk.say(&format!("DEL {{t}}brief{n}-{i}"));
        }
    });
    assert!(all(calls).is_superset(&keys));
}

#[test]
fn filters_hold_back_what_does_not_match() {
    let (mut desk, _) = filled((0..300).map(|i| format!("key{i}")));
    let shown = all(iterate(&mut desk, "MATCH key1?", |_, _| {}));
    assert_eq!(shown, (10..20).map(|i| format!("key{i}")).collect());
    assert_eq!(all(iterate(&mut desk, "TYPE list", |_, _| {})).len(), 0);
    assert_eq!(all(iterate(&mut desk, "TYPE String COUNT 1000", |_, _| {})).len(), 300);
}

#[test]
fn other_databases_and_expired_keys_are_not_shown() {
    let (mut desk, _) = filled((0..10).map(|i| format!("key{i}")));
    desk.say("SET brief v EX 5");
    desk.say("COPY key1 elsewhere DB 2");
    assert_eq!(all(iterate(&mut desk, "", |_, _| {})).len(), 11);
    desk.now.0 += 6000;
    assert_eq!(all(iterate(&mut desk, "", |_, _| {})).len(), 10);
}

#[test]
fn an_empty_keyspace_is_scanned_in_one_call() {
    assert_eq!(call(&mut Desk::new(), "0", ""), ("0".to_owned(), vec![]));
    assert_eq!(call(&mut Desk::new(), "18446744073709551615", "").1, Vec::<String>::new());
}

#[test]
fn a_random_key_is_one_of_those_that_are_there() {
    let (mut desk, keys) = filled((0..50).map(|i| format!("key{i}")));
    let drawn: BTreeSet<String> = (0..400)
        .map(|_| desk.say("RANDOMKEY").split("\\r\\n").nth(1).unwrap_or_default().to_owned())
        .collect();
    assert!(drawn.is_subset(&keys) && drawn.len() > 25, "{} of 50 drawn", drawn.len());
    desk.say("FLUSHALL");
    assert_eq!(desk.say("RANDOMKEY"), "$-1\\r\\n");
}
