//! Walks the whole command table: what a write has changed can be rebuilt from its effects alone, and a read records
//! none. A new row without an example here fails.

use super::desk::Desk;
use super::{Flags, Keys, lookup};
use crate::store::NodeWide;

/// What is there before every example.
const BEFORE: &[&str] = &[
    "SET text hello",
    "SET number 41",
    "SET float 1.5",
    "SET brief bye EX 1000",
    "SET bits abc",
    "SET {t}from one EX 1000",
    "SET {t}to two",
];

/// Examples for each row that touches keys, by its full name. Those of a write all change something.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("append", &["APPEND text world", "APPEND new x", "APPEND brief x"]),
    ("bitcount", &["BITCOUNT bits", "BITCOUNT nokey"]),
    ("bitfield", &["BITFIELD bits SET u8 5 200 INCRBY i5 99 3 GET u4 0"]),
    ("bitfield_ro", &["BITFIELD_RO bits GET u8 3"]),
    ("bitop", &["BITOP OR {t}dest {t}from {t}to", "BITOP AND {t}to {t}nokey {t}nokey2"]),
    ("bitpos", &["BITPOS bits 1"]),
    ("copy", &["COPY {t}from {t}new", "COPY {t}from {t}to REPLACE", "COPY text text DB 3"]),
    ("dbsize", &["DBSIZE"]),
    ("decr", &["DECR number", "DECR new"]),
    ("decrby", &["DECRBY number 7"]),
    ("del", &["DEL text nokey"]),
    ("exists", &["EXISTS text nokey"]),
    ("expire", &["EXPIRE text 100", "EXPIRE brief -1"]),
    ("expireat", &["EXPIREAT text 4000000000", "EXPIREAT brief 1"]),
    ("expiretime", &["EXPIRETIME brief"]),
    ("flushall", &["FLUSHALL"]),
    ("flushdb", &["FLUSHDB"]),
    ("get", &["GET text", "GET nokey"]),
    ("getbit", &["GETBIT bits 3"]),
    ("getdel", &["GETDEL text"]),
    ("getex", &["GETEX text EX 100", "GETEX brief PERSIST", "GETEX text PXAT 1"]),
    ("getrange", &["GETRANGE text 0 -1"]),
    ("getset", &["GETSET brief other"]),
    ("incr", &["INCR number", "INCR new"]),
    ("incrby", &["INCRBY number 7"]),
    ("incrbyfloat", &["INCRBYFLOAT float 0.1"]),
    ("keys", &["KEYS *"]),
    ("lcs", &["LCS {t}from {t}to"]),
    ("mget", &["MGET text nokey number"]),
    ("move", &["MOVE text 2"]),
    ("mset", &["MSET text a new b"]),
    ("msetnx", &["MSETNX new1 a new2 b"]),
    ("object|encoding", &["OBJECT ENCODING text"]),
    ("object|freq", &["OBJECT FREQ text"]),
    ("object|idletime", &["OBJECT IDLETIME text"]),
    ("object|refcount", &["OBJECT REFCOUNT text"]),
    ("persist", &["PERSIST brief"]),
    ("pexpire", &["PEXPIRE text 100000", "PEXPIRE brief -1"]),
    ("pexpireat", &["PEXPIREAT text 4000000000000"]),
    ("pexpiretime", &["PEXPIRETIME brief"]),
    ("psetex", &["PSETEX text 5000 v"]),
    ("pttl", &["PTTL brief"]),
    ("randomkey", &["RANDOMKEY"]),
    ("rename", &["RENAME {t}from {t}to", "RENAME {t}from {t}new"]),
    ("renamenx", &["RENAMENX {t}from {t}new"]),
    ("scan", &["SCAN 0"]),
    (
        "set",
        &["SET text v", "SET brief v KEEPTTL", "SET text v PX 77 XX GET", "SET new v NX EXAT 4000000000"],
    ),
    ("setbit", &["SETBIT bits 3 1", "SETBIT new 100 1"]),
    ("setex", &["SETEX text 5 v"]),
    ("setnx", &["SETNX new v"]),
    ("setrange", &["SETRANGE text 10 v", "SETRANGE brief 0 v"]),
    ("strlen", &["STRLEN text"]),
    ("substr", &["SUBSTR text 0 -1"]),
    ("swapdb", &["SWAPDB 0 1"]),
    ("touch", &["TOUCH text"]),
    ("ttl", &["TTL brief"]),
    ("type", &["TYPE text"]),
    ("unlink", &["UNLINK text number"]),
];

/// A node with the data of [`BEFORE`] and nothing recorded.
fn prepared() -> Desk {
    let mut desk = Desk::new();
    for command in BEFORE {
        desk.say(command);
    }
    desk.take_effects();
    desk
}

/// The record of a command that empties or swaps databases: a batch of its own, not an effect of a key.
fn node_wide(name: &str) -> Option<NodeWide> {
    match name {
        "flushall" => Some(NodeWide::FlushAll),
        "flushdb" => Some(NodeWide::FlushDb(0)),
        "swapdb" => Some(NodeWide::SwapDb(0, 1)),
        _ => None,
    }
}

#[test]
fn the_effects_of_every_write_rebuild_its_data_and_no_read_records_any() {
    for row in lookup::all() {
        let (name, flags) = (row.spec.full_name(), row.spec.flags);
        let examples = EXAMPLES.iter().find(|(there, _)| *there == name).map(|(_, examples)| *examples);
        if !flags.has(Flags::WRITE.and(Flags::READONLY)) {
            continue;
        }
        // Long or whole-node rows of other families may need a whole server; those with keys never do.
        let Some(examples) = examples else {
            panic!("{name}: give the new command an example in {}", file!());
        };
        for example in examples {
            let mut desk = prepared();
            let copy = prepared();
            assert_eq!(desk.content(), copy.content());
            let reply = desk.say(example);
            let recorded = desk.take_effects();
            let applied = copy.replay(&recorded);
            match node_wide(&name) {
                Some(record) => {
                    assert_eq!(applied, 0, "{example}");
                    copy.core.lanes.apply_node_wide(record);
                }
                None if flags.has(Flags::WRITE) => assert!(applied > 0, "{example} changed nothing: {reply}"),
                None => assert_eq!(applied, 0, "{example} is a read"),
            }
            assert_eq!(desk.content(), copy.content(), "{example}");
            assert_ne!(flags.has(Flags::WRITE), desk.content() == prepared().content(), "{example}: {reply}");
        }
    }
}

#[test]
fn every_row_with_keys_says_whether_it_writes() {
    for row in lookup::all() {
        let says = row.spec.flags.has(Flags::WRITE.and(Flags::READONLY));
        let has_keys = !matches!(row.spec.keys, Keys::None);
        let excused = ["watch"].contains(&row.spec.name);
        assert!(says || !has_keys || excused, "{}", row.spec.full_name());
        let both = row.spec.flags.has(Flags::WRITE) && row.spec.flags.has(Flags::READONLY);
        assert!(!both, "{}", row.spec.full_name());
    }
}

#[test]
fn an_expired_key_is_deleted_by_an_effect_before_a_write_and_on_a_read() {
    for command in ["GET brief", "INCR brief", "APPEND brief x", "EXISTS brief", "RENAME brief brief"] {
        let mut desk = prepared();
        let copy = prepared();
        desk.now.0 += 2_000_000;
        desk.say(command);
        let recorded = desk.take_effects();
        assert!(copy.replay(&recorded) > 0, "►18: {command} logs the deletion");
        assert_eq!(desk.content(), copy.content(), "{command}");
    }
}
