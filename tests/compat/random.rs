//! Random command sequences, the same for both servers: every reply must agree, and at the end all data.
//!
//! A failing run prints its seed and how to replay it: `COMPAT_SEED=n COMPAT_STEPS=n cargo test -p capstan-tests
//! --test compat random`. Times to live are either far away or past, so that no reply depends on when it is asked.

use crate::compare::{Check, same, sorted};
use crate::pair::{Both, Pair, Protocol, show};
use crate::random_collections as collections;
use capstan_proto::env::{Random, RealRandom};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Commands in one write.
const PIPELINE: usize = 64;
/// Commands of a run unless `COMPAT_STEPS` says otherwise.
const STEPS: usize = 40_000;

/// A parameter of a pattern, filled in at random.
fn argument(word: &str, rng: &mut SmallRng) -> Vec<u8> {
    match word {
        "<key>" => format!("key:{}", rng.gen_range(0..12)).into_bytes(),
        // A BITFIELD that fails makes the string longer and tells no watcher, in Redis (see `exceptions.rs`).
        "<unwatched>" => format!("unwatched:{}", rng.gen_range(0..3)).into_bytes(),
        "<value>" => value(rng),
        "<int>" => integer(rng).to_string().into_bytes(),
        // Redis' own sum overflows for the lowest numbers: SET i8 saturates to 127 there, and to -128 here.
        "<field>" => (integer(rng) / 4).to_string().into_bytes(),
        "<small>" => rng.gen_range(-40i64..120).to_string().into_bytes(),
        "<bit>" => rng.gen_range(0..2u8).to_string().into_bytes(),
        "<float>" => float(rng).into_bytes(),
        "<ttl>" => ttl(rng, 1).into_bytes(),
        "<ttlms>" => ttl(rng, 1000).into_bytes(),
        "<at>" => at(rng, 1).into_bytes(),
        "<atms>" => at(rng, 1000).into_bytes(),
        "<hash>" => format!("hash:{}", rng.gen_range(0..3)).into_bytes(),
        "<list>" => format!("list:{}", rng.gen_range(0..3)).into_bytes(),
        "<set>" => format!("set:{}", rng.gen_range(0..4)).into_bytes(),
        "<zset>" => format!("zset:{}", rng.gen_range(0..4)).into_bytes(),
        // Its members all have the same score.
        "<flat>" => format!("flat:{}", rng.gen_range(0..2)).into_bytes(),
        "<any>" => {
            let family = *["key", "hash", "list", "set", "zset"].choose(rng).unwrap_or(&"key");
            format!("{family}:{}", rng.gen_range(0..3)).into_bytes()
        }
        "<member>" => format!("m{}", rng.gen_range(0..40)).into_bytes(),
        "<number>" => rng.gen_range(-20..20i64).to_string().into_bytes(),
        "<count>" => rng.gen_range(-1..9i64).to_string().into_bytes(),
        "<score>" => (f64::from(rng.gen_range(-40i32..40)) / 4.0).to_string().into_bytes(),
        "<bound>" => {
            let score = f64::from(rng.gen_range(-50i32..50)) / 4.0;
            let shown = [format!("{score}"), format!("({score}"), "-inf".into(), "+inf".into()];
            shown.choose(rng).cloned().unwrap_or_default().into_bytes()
        }
        "<lex>" => {
            let member = format!("m{}", rng.gen_range(0..40));
            let shown = [format!("[{member}"), format!("({member}"), "-".into(), "+".into()];
            shown.choose(rng).cloned().unwrap_or_default().into_bytes()
        }
        "<db>" => rng.gen_range(0..3u8).to_string().into_bytes(),
        "<type>" => pick(rng, &["u8", "i8", "i5", "u63", "i64", "u64", "i0", "x", "u16"]),
        literal => {
            if rng.gen_bool(0.2) {
                literal.to_lowercase().into_bytes()
            } else {
                literal.as_bytes().to_vec()
            }
        }
    }
}

fn pick(rng: &mut SmallRng, words: &[&str]) -> Vec<u8> {
    words.choose(rng).map(|w| w.as_bytes().to_vec()).unwrap_or_default()
}

fn value(rng: &mut SmallRng) -> Vec<u8> {
    match rng.gen_range(0..8) {
        0 => integer(rng).to_string().into_bytes(),
        1 => rng.gen_range(-5..5i64).to_string().into_bytes(),
        2 => float(rng).into_bytes(),
        3 => Vec::new(),
        4 => (0..rng.gen_range(1..20)).map(|_| rng.r#gen()).collect(),
        5 => vec![b'x'; rng.gen_range(30..60)],
        6 => vec![b'y'; rng.gen_range(100..3000)],
        _ => pick(rng, &["abc", "0", "-0", "+1", " 1", "1 ", "007", "nan", "1e3", "9223372036854775807"]),
    }
}

fn integer(rng: &mut SmallRng) -> i64 {
    match rng.gen_range(0..10) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => i64::MAX - rng.gen_range(0..100),
        3 => rng.r#gen(),
        4 => i64::from(rng.r#gen::<i32>()),
        _ => rng.gen_range(-1000..1000),
    }
}

fn float(rng: &mut SmallRng) -> String {
    match rng.gen_range(0..8) {
        0 => "1.5e2".into(),
        1 => "inf".into(),
        2 => format!("{}", rng.gen_range(-1000..1000)),
        3 => ".5".into(),
        4 => "3.".into(),
        _ => format!("{:.*}", rng.gen_range(0..6), rng.gen_range(-1e6..1e6)),
    }
}

fn ttl(rng: &mut SmallRng, unit: i64) -> String {
    match rng.gen_range(0..12) {
        0 => "0".into(),
        1 => (-rng.gen_range(1..1000i64)).to_string(),
        2 => i64::MAX.to_string(),
        3 => (i64::MAX / 1000 + rng.gen_range(-1000..1000i64)).to_string(),
        4 => "9223372036854775808".into(),
        5 => "soon".into(),
        _ => (rng.gen_range(100_000..200_000i64) * unit).to_string(),
    }
}

fn at(rng: &mut SmallRng, unit: i64) -> String {
    match rng.gen_range(0..8) {
        0 => rng.gen_range(-10..10i64).to_string(),
        1 => (1_500_000_000 * unit).to_string(),
        _ => ((4_000_000_000 + rng.gen_range(0..1000i64)) * unit).to_string(),
    }
}

/// Not DBSIZE: it counts expired keys that nobody has removed yet, and when that happens is each server's own affair.
///
/// What is generated: each word of a pattern is a literal or a parameter; `[...|...]` is one of, possibly none.
const PATTERNS: &[&str] = &[
    "SET <key> <value>",
    "SET <key> <value> [NX|XX] [GET|]",
    "SET <key> <value> [EX <ttl>|PX <ttlms>|EXAT <at>|PXAT <atms>|KEEPTTL] [NX|XX|] [GET|]",
    "SETEX <key> <ttl> <value>",
    "PSETEX <key> <ttlms> <value>",
    "SETNX <key> <value>",
    "GET <key>",
    "GETSET <key> <value>",
    "GETDEL <key>",
    "GETEX <key> [EX <ttl>|PX <ttlms>|EXAT <at>|PXAT <atms>|PERSIST|]",
    "MGET <key> <key> <key>",
    "MSET <key> <value> <key> <value>",
    "MSETNX <key> <value> <key> <value>",
    "APPEND <key> <value>",
    "STRLEN <key>",
    "GETRANGE <key> <small> <small>",
    "SUBSTR <key> <small> <small>",
    "SETRANGE <key> <small> <value>",
    "INCR <key>",
    "DECR <key>",
    "INCRBY <key> <int>",
    "DECRBY <key> <int>",
    "INCRBYFLOAT <key> <float>",
    "LCS <key> <key> [LEN|IDX|IDX WITHMATCHLEN|IDX MINMATCHLEN <small>|]",
    "SETBIT <key> <small> <bit>",
    "GETBIT <key> <small>",
    "BITCOUNT <key> [<small> <small>|<small> <small> BIT|<small> <small> BYTE|]",
    "BITPOS <key> <bit> [<small>|<small> <small>|<small> <small> BIT|]",
    "BITOP [AND|OR|XOR|NOT] <key> <key> [<key>|]",
    "BITFIELD <key> [OVERFLOW SAT|OVERFLOW WRAP|] [INCRBY|SET] <type> <small> <field> GET <type> <small>",
    "BITFIELD <unwatched> OVERFLOW FAIL [INCRBY|SET] <type> <small> <field> GET <type> <small>",
    "SET <unwatched> <value>",
    "GET <unwatched>",
    "BITFIELD_RO <key> GET <type> <small>",
    "DEL <key>",
    "DEL <key> <key> <key>",
    "UNLINK <key> <key>",
    "EXISTS <key> <key>",
    "TOUCH <key> <key>",
    "EXPIRE <key> <ttl> [NX|XX|GT|LT|]",
    "PEXPIRE <key> <ttlms> [NX|XX|GT|LT|XX GT|]",
    "EXPIREAT <key> <at> [NX|XX|GT|LT|]",
    "PEXPIREAT <key> <atms> [NX|XX|GT|LT|]",
    "EXPIRETIME <key>",
    "PEXPIRETIME <key>",
    "TTL <key>",
    "PTTL <key>",
    "PERSIST <key>",
    "TYPE <key>",
    "RENAME <key> <key>",
    "RENAMENX <key> <key>",
    "COPY <key> <key> [REPLACE|DB <db>|DB <db> REPLACE|]",
    "MOVE <key> <db>",
    "SELECT <db>",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH <key>",
    "UNWATCH",
];

/// Fills a pattern in.
fn command(rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let pattern = match rng.gen_range(0..900) {
        0 => "FLUSHDB",
        1 => "FLUSHALL",
        2 => "SWAPDB <db> <db>",
        3..300 => PATTERNS.choose(rng).copied().unwrap_or_default(),
        _ => collections::PATTERNS.choose(rng).copied().unwrap_or_default(),
    };
    let mut text = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').unwrap_or((after, ""));
        let choices: Vec<&str> = inside.split('|').collect();
        text += before;
        text += choices.choose(rng).copied().unwrap_or_default();
        rest = after;
    }
    text += rest;
    let mut words: Vec<Vec<u8>> = text.split_whitespace().map(|word| argument(word, rng)).collect();
    match rng.gen_range(0..60) {
        0 => drop(words.pop()),
        // Since 7.2 these take one more.
        1 if !words[0].to_ascii_uppercase().ends_with(b"RANK") => words.push(value(rng)),
        _ => {}
    }
    if words.is_empty() { vec![b"PING".to_vec()] } else { words }
}

/// Replies that count down are near, the rest is exact.
fn check(command: &[Vec<u8>]) -> Check {
    match command[0].to_ascii_uppercase().as_slice() {
        b"TTL" | b"EXPIRETIME" => Check::Near(10),
        b"PTTL" | b"PEXPIRETIME" => Check::Near(10_000),
        b"EXEC" => Check::Lines(10_000),
        // Hash tables have no order of their own, and small sets of texts are hash tables in 7.0.
        b"HGETALL" | b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" => Check::Sorted,
        _ => Check::Exact,
    }
}

fn compare_data(both: &mut Both, db: u8) {
    both.ask(&[b"SELECT".to_vec(), db.to_string().into_bytes()]);
    let keys = both.ask(&["KEYS", "*"]);
    assert_eq!(sorted(&keys.capstan), sorted(&keys.redis), "the keys of database {db}");
    for key in sorted(&keys.redis) {
        let asks: [(&str, &[&str], Check); 7] = [
            ("TYPE", &[], Check::Exact),
            ("GET", &[], Check::Exact),
            ("HGETALL", &[], Check::Sorted),
            ("LRANGE", &["0", "-1"], Check::Exact),
            ("SMEMBERS", &[], Check::Sorted),
            ("ZRANGE", &["0", "-1", "WITHSCORES"], Check::Exact),
            ("PEXPIRETIME", &[], Check::Near(10_000)),
        ];
        for (ask, more, check) in asks {
            let mut command = vec![ask.as_bytes().to_vec(), key.clone()];
            command.extend(more.iter().map(|word| word.as_bytes().to_vec()));
            let replies = both.ask(&command);
            assert!(same(check, &replies), "{ask} {} in {db}: {replies:?}", key.escape_ascii());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(protocol: Protocol) {
    let Some(pair) = Pair::start(&[]) else { return };
    let seed = number("COMPAT_SEED").unwrap_or_else(|| RealRandom.u64());
    let steps = number("COMPAT_STEPS").map_or(STEPS, |n| n as usize);
    let replay = format!(
        "replay: COMPAT_SEED={seed} COMPAT_STEPS={steps} cargo test -p capstan-tests --test compat random ({protocol:?})"
    );
    println!("{replay}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut connections = [pair.connect(protocol), pair.connect(protocol)];
    let mut history: Vec<String> = Vec::new();
    for _ in 0..steps / PIPELINE {
        let commands: Vec<_> = (0..PIPELINE).map(|_| command(&mut rng)).collect();
        let which = rng.gen_range(0..connections.len());
        let replies = connections[which].pipeline(&commands);
        for (command, replies) in commands.iter().zip(&replies) {
            history.push(format!("[{which}] {}", show(command)));
            assert!(
                same(check(command), replies),
                "after\n{}\nredis   {}\ncapstan {}\n{replay}",
                history[history.len().saturating_sub(40)..].join("\n"),
                replies.redis.escape_ascii(),
                replies.capstan.escape_ascii()
            );
        }
    }
    let mut fresh = pair.connect(protocol);
    for db in 0..3 {
        compare_data(&mut fresh, db);
    }
}

#[test]
fn random_sequences_answer_as_in_redis_over_resp2() {
    run(Protocol::Resp2);
}

#[test]
fn random_sequences_answer_as_in_redis_over_resp3() {
    run(Protocol::Resp3);
}
