//! Scripts: one command a line, quoted as in redis-cli (`"a\x00b"`, `'it'`); `#` starts a comment line.
//!
//! A line can start with how to compare (`@near 500`, `@sorted`, `@kind`), with the connection that sends it (`@on b`;
//! without it, connection `a`), with `@send` (its reply is read later, by a line `@reply`), or with `@until REPLY` (ask until both answer these bytes, for what takes time).
//! A line `@blocked N` waits until N clients of each server wait for elements. A line `== title` empties both servers, opens fresh connections and names what follows.

use crate::compare::{Check, same};
use crate::exceptions;
use crate::pair::{Both, Pair, Protocol, Replies};
use capstan_tests::process::wait_until;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long `@until` may take.
const UNTIL_WITHIN: Duration = Duration::from_secs(10);

/// One line of a script.
struct Line<'a> {
    check: Check,
    connection: &'a str,
    until: Option<&'a str>,
    action: Action,
    text: &'a str,
}

/// What a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Sends a command and reads its reply.
    Ask,
    /// Only sends it.
    Send,
    /// Only reads.
    Reply,
    /// Waits until so many clients are blocked.
    Blocked(u32),
}

/// Runs a script and returns every difference that no exception explains.
pub(crate) fn run(pair: &mut Pair, name: &str, text: &str, protocol: Protocol) -> Vec<String> {
    let mut connections: BTreeMap<String, Both> = BTreeMap::new();
    let (mut section, mut differences) = (String::new(), Vec::new());
    for (index, raw) in text.lines().enumerate() {
        let place = format!("{name}:{} {protocol:?} [{section}]", index + 1);
        if let Some(title) = raw.strip_prefix("== ") {
            connections.clear();
            let emptied = pair.connect(Protocol::Resp2).ask(&["FLUSHALL"]);
            assert_eq!(emptied.capstan, emptied.redis, "{place}: FLUSHALL");
            section = title.to_owned();
            continue;
        }
        let Some(line) = parse(raw) else { continue };
        let words = words(line.text).unwrap_or_else(|| panic!("{place}: quotes do not match: {raw}"));
        let both = connections.entry(line.connection.to_owned()).or_insert_with(|| pair.connect(protocol));
        let replies = match line.action {
            Action::Ask => ask(both, &words, line.until),
            Action::Reply => both.read(&place),
            Action::Send => {
                both.write(&words);
                continue;
            }
            Action::Blocked(count) => {
                wait_for_blocked(pair, count, &place);
                continue;
            }
        };
        if !same(line.check, &replies) && !exceptions::explain(line.text, &replies) {
            differences.push(format!(
                "{place} {raw}\n  redis   {}\n  capstan {}",
                replies.redis.escape_ascii(),
                replies.capstan.escape_ascii()
            ));
        }
    }
    differences
}

fn wait_for_blocked(pair: &Pair, count: u32, place: &str) {
    let mut control = pair.connect(Protocol::Resp2);
    let wanted = format!("\r\nblocked_clients:{count}\r\n");
    let blocked = |reply: &[u8]| String::from_utf8_lossy(reply).contains(&wanted);
    let all = wait_until(UNTIL_WITHIN, || {
        let replies = control.ask(&["INFO", "clients"]);
        blocked(&replies.redis) && blocked(&replies.capstan)
    });
    assert!(all, "{place}: not {count} blocked clients");
}

fn ask(both: &mut Both, words: &[Vec<u8>], until: Option<&str>) -> Replies {
    let Some(until) = until else { return both.ask(words) };
    let expected = format!("{until}\r\n").into_bytes();
    let mut last = both.ask(words);
    wait_until(UNTIL_WITHIN, || {
        last = both.ask(words);
        last.redis == expected && last.capstan == expected
    });
    last
}

fn parse(raw: &str) -> Option<Line<'_>> {
    let mut line =
        Line { check: Check::Exact, connection: "a", until: None, action: Action::Ask, text: raw.trim() };
    if line.text.is_empty() || line.text.starts_with('#') {
        return None;
    }
    while let Some(rest) = line.text.strip_prefix('@') {
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut rest = rest;
        let mut argument = || {
            let (argument, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            argument
        };
        match word {
            "near" => line.check = Check::Near(argument().parse().expect("@near takes a number")),
            "sorted" => line.check = Check::Sorted,
            "kind" => line.check = Check::Kind,
            "on" => line.connection = argument(),
            "send" => line.action = Action::Send,
            "reply" => line.action = Action::Reply,
            "blocked" => line.action = Action::Blocked(argument().parse().expect("@blocked takes a number")),
            "until" => line.until = Some(argument()),
            other => panic!("no directive @{other}"),
        }
        line.text = rest.trim();
    }
    Some(line)
}

/// Splits a line as redis-cli does.
fn words(line: &str) -> Option<Vec<Vec<u8>>> {
    let (bytes, mut at, mut words) = (line.as_bytes(), 0, Vec::new());
    while at < bytes.len() {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let mut word = Vec::new();
        while at < bytes.len() && bytes[at] != b' ' {
            match bytes[at] {
                quote @ (b'"' | b'\'') => at = quoted(bytes, at + 1, quote, &mut word)?,
                byte => {
                    word.push(byte);
                    at += 1;
                }
            }
        }
        words.push(word);
    }
    Some(words)
}

/// Reads up to the closing quote; returns what follows it.
fn quoted(bytes: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            byte if byte == quote => return Some(at + 1),
            b'\\' if quote == b'"' => {
                let escape = *bytes.get(at + 1)?;
                at += 2;
                match escape {
                    b'n' => word.push(b'\n'),
                    b'r' => word.push(b'\r'),
                    b't' => word.push(b'\t'),
                    b'x' => {
                        let hex = std::str::from_utf8(bytes.get(at..at + 2)?).ok()?;
                        word.push(u8::from_str_radix(hex, 16).ok()?);
                        at += 2;
                    }
                    other => word.push(other),
                }
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[test]
fn words_are_split_as_in_redis_cli() {
    let split =
        |line| words(line).map(|w| w.iter().map(|w| w.escape_ascii().to_string()).collect::<Vec<_>>());
    assert_eq!(split(r#"SET k "a\x00 b" '' x"#).expect("well quoted"), ["SET", "k", r"a\x00 b", "", "x"]);
    assert_eq!(split(r#"GET "a"#), None);
}
