//! "Done when" 4 of the first slice: leaders killed, two of three killed and back, members replaced, the whole group
//! restarted, all under a stream of `capstan` commands. Every acknowledged one is there once, rejected ones are not,
//! unknown ones are resolved by their request id.

use crate::group::{Ended, Group, LIMIT, Operator};
use capstan_proto::env::{Random, RealRandom};
use capstan_tests::process::wait_until;
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Operators at work at the same time.
const OPERATORS: u64 = 2;

/// One command of the stream: the value names it in the history.
struct Sent {
    value: String,
    request: String,
    ended: Ended,
}

struct Stream {
    end: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    operators: Vec<JoinHandle<Vec<Sent>>>,
}

fn fresh_request() -> String {
    let mut id = [0u8; 16];
    RealRandom.fill(&mut id);
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Stream {
    fn start(operator: &Operator) -> Self {
        let (end, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = |number: u64| {
            let (operator, end, done) = (operator.clone(), Arc::clone(&end), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut sent = Vec::new();
                while !end.load(Ordering::Relaxed) {
                    let n = sent.len() as u64;
                    // Every fifth is rejected: no such number.
                    let bad = if n % 5 == 4 { "x" } else { "" };
                    let value = format!("{}{bad}", 1_000_000 * (number + 1) + n);
                    let request = fresh_request();
                    let ended = operator.set(&value, &request);
                    done.fetch_add(u64::from(matches!(ended, Ended::Done(_))), Ordering::Relaxed);
                    sent.push(Sent { value, request, ended });
                }
                sent
            })
        };
        Self { operators: (0..OPERATORS).map(work).collect(), end, done }
    }

    /// Waits until so many more are acknowledged.
    fn goes_on(&self, by: u64) {
        let wanted = self.done.load(Ordering::Relaxed) + by;
        let on = wait_until(LIMIT, || self.done.load(Ordering::Relaxed) >= wanted);
        assert!(on, "the stream of commands stands still");
    }

    /// Ends the stream, resolves what is unknown, and compares with the history.
    fn check(self, operator: &Operator) {
        self.end.store(true, Ordering::Relaxed);
        let sent: Vec<Sent> = self.operators.into_iter().flat_map(|o| o.join().expect("no panic")).collect();
        let (mut done, mut refused, mut resolved) = (Vec::new(), Vec::new(), 0);
        for mut command in sent {
            if let Ended::Unknown(_) = command.ended {
                resolved += 1;
                command.ended = operator.set(&command.value, &command.request);
            }
            match command.ended {
                Ended::Done(_) => done.push(command.value),
                // Refused, and so is what no server could be asked at all.
                Ended::Refused(_) => refused.push(command.value),
                Ended::Unknown(why) => panic!("{} stays unknown: {why}", command.request),
            }
        }
        let history = operator.history();
        let times = |value: &str| {
            let what = format!("set restart-wait to {value} ");
            history.iter().filter(|event| event.starts_with(&what)).count()
        };
        for value in &done {
            assert_eq!(times(value), 1, "{value} was acknowledged");
        }
        for value in &refused {
            assert_eq!(times(value), 0, "{value} was refused");
        }
        println!("{} done, {} refused, {resolved} unknown and resolved", done.len(), refused.len());
        assert!(!done.is_empty() && !refused.is_empty());
    }
}

#[test]
fn leaders_are_killed_under_a_stream_of_commands() {
    let mut group = Group::start();
    let operator = group.operator();
    let stream = Stream::start(&operator);
    for _ in 0..3 {
        stream.goes_on(5);
        let leader = group.leader();
        group.kill_9(leader);
        stream.goes_on(5);
        assert_ne!(group.leader(), leader);
        group.start_one(leader);
    }
    stream.goes_on(5);
    stream.check(&operator);
}

/// A server that was down answers from what it had until it has caught up: a history that is asked for right after an
/// acknowledgement must not come from there.
#[test]
fn a_history_shows_what_was_acknowledged_before_it_was_asked_for_whichever_server_was_just_started() {
    let mut group = Group::start();
    let operator = group.operator();
    for round in 0..4 {
        let follower = group.leader() % 3 + 1;
        group.kill_9(follower);
        let value = (4_000 + round).to_string();
        let set = operator.set(&value, &fresh_request());
        assert!(matches!(set, Ended::Done(_)), "{set:?}");
        group.start_one(follower);
        let alone = group.operator_of(follower);
        let shown = || {
            alone
                .history()
                .iter()
                .filter(|what| what.starts_with(&format!("set restart-wait to {value} ")))
                .count()
        };
        assert_eq!(shown(), 1, "round {round}");
    }
}

#[test]
fn two_of_three_are_killed_and_come_back() {
    let mut group = Group::start();
    let operator = group.operator();
    let stream = Stream::start(&operator);
    stream.goes_on(5);
    let leader = group.leader();
    let gone: Vec<u64> = (1..=3).filter(|id| *id != leader % 3 + 1).collect();
    gone.iter().for_each(|id| group.kill_9(*id));
    let alone = operator.set("77", &fresh_request());
    assert!(!matches!(alone, Ended::Done(_)), "done without a quorum");
    let members = operator.members().expect("the one that is left answers");
    assert_eq!(members["quorum"], false, "{members}");
    gone.iter().for_each(|id| group.start_one(*id));
    stream.goes_on(10);
    stream.check(&operator);
}

#[test]
fn a_member_that_lost_its_folder_is_replaced_and_one_is_added_and_removed() {
    let mut group = Group::start();
    let stream = Stream::start(&group.operator());
    stream.goes_on(3);
    let lost = group.leader() % 3 + 1;
    group.kill_9(lost);
    let folder = group.find(lost).folder.clone();
    std::fs::remove_dir_all(&folder).expect("it was there");
    group.start_one(lost);
    let told = wait_until(LIMIT, || group.log(lost).contains("capstan meta members replace"));
    assert!(told, "an empty folder in the place of a member does not say what to do: {}", group.log(lost));
    let operator = group.operator();
    let address = group.find(lost).address.clone();
    let same = operator.verb(&["meta", "members", "replace", &lost.to_string(), &lost.to_string(), &address]);
    assert!(matches!(&same, Ended::Refused(why) if why.contains("used before")), "{same:?}");
    let replaced = operator.verb(&["meta", "members", "replace", &lost.to_string(), "4", &address]);
    assert!(matches!(replaced, Ended::Done(_)), "{replaced:?}");
    stream.goes_on(3);
    let fifth = group.newcomer(5);
    let added = operator.verb(&["meta", "members", "add", "5", &fifth]);
    assert!(matches!(added, Ended::Done(_)), "{added:?}");
    stream.goes_on(3);
    let removed = operator.verb(&["meta", "members", "remove", "5"]);
    assert!(matches!(removed, Ended::Done(_)), "{removed:?}");
    assert_eq!(group.ended(5).code(), Some(1), "a removed server ends");
    assert!(group.log(5).contains("removed from the meta group"), "{}", group.log(5));
    let members = operator.members().expect("a quorum");
    let voters: Vec<u64> =
        members["members"].as_array().expect("rows").iter().filter_map(|m| m["id"].as_u64()).collect();
    assert!(voters.len() == 3 && voters.contains(&4) && !voters.contains(&lost), "{members}");
    stream.goes_on(3);
    stream.check(&operator);
}

#[test]
fn the_whole_group_is_restarted_in_order_and_by_kill_9() {
    let mut group = Group::start();
    let operator = group.operator();
    let stream = Stream::start(&operator);
    for signal in [Signal::TERM, Signal::KILL] {
        stream.goes_on(8);
        for id in 1..=3 {
            let status = group.signal(id, signal);
            assert!(signal == Signal::KILL || status.success(), "meta {id} ended with {status:?}");
        }
        group.start_all();
        group.wait_for_quorum();
    }
    stream.goes_on(8);
    stream.check(&operator);
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let mut group = Group::start();
    let leader = group.leader();
    let folder = group.find(leader).folder.clone();
    let second = group.second_on(&folder);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(error.contains("another process uses"), "{error}");
}
