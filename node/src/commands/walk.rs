//! Walks the whole command table: what a write has changed can be rebuilt from its effects alone, and a read records
//! none. A new row without an example here fails.

use super::desk::Desk;
use super::{Flags, Group, Keys, lookup};
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
    "HSET hash f v g 7 h 1.5",
    "HSET lone f v",
    "RPUSH list a b c a d",
    "RPUSH {t}list x y z",
    "RPUSH {t}last only",
    "SADD ints 1 2 3",
    "SADD {t}set a b c",
    "SADD {t}other b c d",
    "SADD {t}one a",
    "ZADD zset 1 a 2 b 3 c 3 d",
    "ZADD {t}z 1 a 2 b",
    "ZADD {t}y 5 b 6 e",
    "ZADD {t}zone 1 a",
];

/// Examples for each row that touches keys, by its full name. Those of a write all change something.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("append", &["APPEND text world", "APPEND new x", "APPEND brief x"]),
    ("bitcount", &["BITCOUNT bits", "BITCOUNT nokey"]),
    ("bitfield", &["BITFIELD bits SET u8 5 200 INCRBY i5 99 3 GET u4 0"]),
    ("bitfield_ro", &["BITFIELD_RO bits GET u8 3"]),
    ("bitop", &["BITOP OR {t}dest {t}from {t}to", "BITOP AND {t}to {t}nokey {t}nokey2"]),
    ("bitpos", &["BITPOS bits 1"]),
    (
        "copy",
        &[
            "COPY {t}from {t}new",
            "COPY {t}from {t}to REPLACE",
            "COPY text text DB 3",
            "COPY {t}list {t}to REPLACE",
            "COPY {t}z {t}y REPLACE",
        ],
    ),
    ("dbsize", &["DBSIZE"]),
    ("decr", &["DECR number", "DECR new"]),
    ("decrby", &["DECRBY number 7"]),
    ("del", &["DEL text nokey", "DEL list hash"]),
    ("exists", &["EXISTS text nokey"]),
    ("expire", &["EXPIRE text 100", "EXPIRE brief -1", "EXPIRE hash 100"]),
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
    ("memory|usage", &["MEMORY USAGE text", "MEMORY USAGE list"]),
    ("mget", &["MGET text nokey number"]),
    ("move", &["MOVE text 2", "MOVE hash 2"]),
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
    (
        "rename",
        &["RENAME {t}from {t}to", "RENAME {t}from {t}new", "RENAME {t}list {t}set", "RENAME {t}to {t}z"],
    ),
    ("renamenx", &["RENAMENX {t}from {t}new"]),
    ("scan", &["SCAN 0"]),
    (
        "set",
        &[
            "SET text v",
            "SET brief v KEEPTTL",
            "SET text v PX 77 XX GET",
            "SET new v NX EXAT 4000000000",
            "SET list v",
        ],
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

/// The same for the rows of collections.
const COLLECTIONS: &[(&str, &[&str])] = &[
    ("blmove", &["BLMOVE {t}list {t}last LEFT RIGHT 0"]),
    ("blmpop", &["BLMPOP 0 1 {t}list LEFT"]),
    ("blpop", &["BLPOP list 0", "BLPOP {t}last 0"]),
    ("brpop", &["BRPOP list 0"]),
    ("brpoplpush", &["BRPOPLPUSH {t}list {t}last 0"]),
    ("bzmpop", &["BZMPOP 0 1 {t}z MAX"]),
    ("bzpopmax", &["BZPOPMAX zset 0"]),
    ("bzpopmin", &["BZPOPMIN zset 0", "BZPOPMIN {t}zone 0"]),
    ("hdel", &["HDEL hash f nofield", "HDEL lone f"]),
    ("hexists", &["HEXISTS hash f"]),
    ("hget", &["HGET hash f"]),
    ("hgetall", &["HGETALL hash"]),
    ("hincrby", &["HINCRBY hash g 5", "HINCRBY fresh f 1"]),
    ("hincrbyfloat", &["HINCRBYFLOAT hash h 0.25"]),
    ("hkeys", &["HKEYS hash"]),
    ("hlen", &["HLEN hash"]),
    ("hmget", &["HMGET hash f nofield"]),
    ("hmset", &["HMSET hash f w g x"]),
    ("hrandfield", &["HRANDFIELD hash", "HRANDFIELD hash -5 WITHVALUES"]),
    ("hscan", &["HSCAN hash 0"]),
    ("hset", &["HSET hash f w new x", "HSET fresh f v"]),
    ("hsetnx", &["HSETNX hash new v", "HSETNX fresh f v"]),
    ("hstrlen", &["HSTRLEN hash f"]),
    ("hvals", &["HVALS hash"]),
    ("lindex", &["LINDEX list -1"]),
    ("linsert", &["LINSERT list BEFORE c x", "LINSERT list AFTER d x"]),
    ("llen", &["LLEN list"]),
    (
        "lmove",
        &[
            "LMOVE {t}list {t}last LEFT RIGHT",
            "LMOVE {t}list {t}list LEFT RIGHT",
            "LMOVE {t}last {t}fresh RIGHT LEFT",
        ],
    ),
    ("lmpop", &["LMPOP 2 {t}nokey {t}list RIGHT COUNT 2", "LMPOP 1 {t}last LEFT"]),
    ("lpop", &["LPOP list", "LPOP list 2", "LPOP list 99", "LPOP {t}last"]),
    ("lpos", &["LPOS list a RANK -1", "LPOS list a COUNT 0"]),
    ("lpush", &["LPUSH list x y", "LPUSH fresh x"]),
    ("lpushx", &["LPUSHX list x"]),
    ("lrange", &["LRANGE list 0 -1"]),
    ("lrem", &["LREM list 0 a", "LREM list -1 a", "LREM list 1 b", "LREM {t}last 0 only"]),
    ("lset", &["LSET list 1 x", "LSET list -1 y"]),
    ("ltrim", &["LTRIM list 1 2", "LTRIM list 5 9", "LTRIM list -2 -1"]),
    ("rpop", &["RPOP list", "RPOP list 3", "RPOP {t}last 1"]),
    ("rpoplpush", &["RPOPLPUSH {t}list {t}list", "RPOPLPUSH {t}last {t}list"]),
    ("rpush", &["RPUSH list x y", "RPUSH fresh x"]),
    ("rpushx", &["RPUSHX list x y"]),
    ("sadd", &["SADD ints 4 text", "SADD fresh a b"]),
    ("scard", &["SCARD ints"]),
    ("sdiff", &["SDIFF {t}set {t}other"]),
    ("sdiffstore", &["SDIFFSTORE {t}set {t}set {t}other"]),
    ("sinter", &["SINTER {t}set {t}other"]),
    ("sintercard", &["SINTERCARD 2 {t}set {t}other"]),
    ("sinterstore", &["SINTERSTORE {t}fresh {t}set {t}other", "SINTERSTORE {t}set {t}set {t}nokey"]),
    ("sismember", &["SISMEMBER ints 1"]),
    ("smembers", &["SMEMBERS ints"]),
    ("smismember", &["SMISMEMBER ints 1 9"]),
    ("smove", &["SMOVE {t}set {t}other a", "SMOVE {t}one {t}fresh a"]),
    ("sort", &["SORT ints STORE fresh", "SORT {t}list ALPHA DESC STORE {t}list"]),
    ("sort_ro", &["SORT_RO ints DESC"]),
    ("spop", &["SPOP ints", "SPOP ints 2", "SPOP ints 9", "SPOP {t}one"]),
    ("srandmember", &["SRANDMEMBER ints", "SRANDMEMBER ints -4"]),
    ("srem", &["SREM ints 1 9", "SREM {t}one a"]),
    ("sscan", &["SSCAN ints 0"]),
    ("sunion", &["SUNION {t}set {t}other"]),
    ("sunionstore", &["SUNIONSTORE {t}to {t}set {t}other"]),
    ("zadd", &["ZADD zset 9 a 1 new", "ZADD zset XX GT CH 9 a", "ZADD zset INCR 2 a", "ZADD fresh 1 a"]),
    ("zcard", &["ZCARD zset"]),
    ("zcount", &["ZCOUNT zset 1 2"]),
    ("zdiff", &["ZDIFF 2 {t}z {t}y"]),
    ("zdiffstore", &["ZDIFFSTORE {t}to 2 {t}z {t}y"]),
    ("zincrby", &["ZINCRBY zset 1.5 a", "ZINCRBY zset 1 new"]),
    ("zinter", &["ZINTER 2 {t}z {t}y"]),
    ("zintercard", &["ZINTERCARD 2 {t}z {t}set"]),
    ("zinterstore", &["ZINTERSTORE {t}z 2 {t}z {t}y", "ZINTERSTORE {t}z 2 {t}z {t}nokey"]),
    ("zlexcount", &["ZLEXCOUNT zset - +"]),
    ("zmpop", &["ZMPOP 2 {t}nokey {t}z MAX COUNT 2", "ZMPOP 1 {t}y MIN"]),
    ("zmscore", &["ZMSCORE zset a x"]),
    ("zpopmax", &["ZPOPMAX zset 2"]),
    ("zpopmin", &["ZPOPMIN zset", "ZPOPMIN zset 9", "ZPOPMIN {t}zone"]),
    ("zrandmember", &["ZRANDMEMBER zset", "ZRANDMEMBER zset 2 WITHSCORES"]),
    ("zrange", &["ZRANGE zset 0 -1", "ZRANGE zset 1 2 BYSCORE"]),
    ("zrangebylex", &["ZRANGEBYLEX zset - +"]),
    ("zrangebyscore", &["ZRANGEBYSCORE zset 1 2"]),
    ("zrangestore", &["ZRANGESTORE {t}fresh {t}z 0 -1", "ZRANGESTORE {t}z {t}z 5 9"]),
    ("zrank", &["ZRANK zset b WITHSCORE"]),
    ("zrem", &["ZREM zset a nomember", "ZREM {t}zone a"]),
    ("zremrangebylex", &["ZREMRANGEBYLEX zset - [b"]),
    ("zremrangebyrank", &["ZREMRANGEBYRANK zset 0 1", "ZREMRANGEBYRANK zset 0 -1"]),
    ("zremrangebyscore", &["ZREMRANGEBYSCORE zset (1 3"]),
    ("zrevrange", &["ZREVRANGE zset 0 -1"]),
    ("zrevrangebylex", &["ZREVRANGEBYLEX zset + -"]),
    ("zrevrangebyscore", &["ZREVRANGEBYSCORE zset 2 1"]),
    ("zrevrank", &["ZREVRANK zset b"]),
    ("zscan", &["ZSCAN zset 0"]),
    ("zscore", &["ZSCORE zset a"]),
    ("zunion", &["ZUNION 2 {t}z {t}y"]),
    (
        "zunionstore",
        &["ZUNIONSTORE {t}fresh 2 {t}z {t}set WEIGHTS 2 3", "ZUNIONSTORE {t}z 2 {t}z {t}y AGGREGATE MAX"],
    ),
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
        let examples = EXAMPLES
            .iter()
            .chain(COLLECTIONS)
            .find(|(there, _)| *there == name)
            .map(|(_, examples)| *examples);
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

#[test]
fn commands_on_a_value_of_another_type_are_refused_and_change_nothing() {
    for row in lookup::all() {
        let (name, flags) = (row.spec.full_name(), row.spec.flags);
        // These take a key of any type, or overwrite what is there.
        let family = row.spec.group;
        let any = matches!(row.spec.keys, Keys::None)
            || matches!(family, Group::Generic | Group::Server)
            || ["mset", "msetnx", "mget", "set", "setnx", "setex", "psetex"].contains(&&*name);
        if any || !flags.has(Flags::WRITE.and(Flags::READONLY)) {
            continue;
        }
        let examples = EXAMPLES.iter().chain(COLLECTIONS).find(|(there, _)| *there == name);
        let example = examples.map(|(_, examples)| examples[0]).expect("every row has an example");
        let mut desk = prepared();
        // Every key of the example becomes one of a type that no family but its own takes.
        let other = if matches!(family, Group::Hash) { "LPUSH" } else { "HSET" };
        for word in example.split_whitespace().skip(1) {
            if desk.content().keys().any(|(_, key)| key == word.as_bytes()) || word.ends_with("nokey") {
                desk.say(&format!("DEL {word}"));
                desk.say(&if other == "LPUSH" {
                    format!("LPUSH {word} x")
                } else {
                    format!("HSET {word} f v")
                });
            }
        }
        desk.take_effects();
        let before = desk.content();
        let reply = desk.say(example);
        let refused =
            reply.starts_with("-WRONGTYPE") || reply.starts_with("-ERR The specified keys must contain");
        assert!(refused, "{example}: {reply}");
        assert_eq!((desk.take_effects().len(), desk.content()), (0, before), "{example}");
    }
}
