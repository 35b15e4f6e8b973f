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

/// How commands ended whose verb had ended with an unknown outcome.
#[derive(Default)]
struct Unknown {
    found: u64,
    sent_again: u64,
}

impl Unknown {
    /// `capstan outcome` knows, or the command is sent again under its id.
    fn resolve(&mut self, operator: &Operator, command: &Sent) -> Ended {
        match operator.outcome(&command.request) {
            Ended::Unknown(why) => {
                assert!(why.contains("not committed so far"), "there is a quorum: {why}");
                self.sent_again += 1;
                operator.set(&command.value, &command.request)
            }
            known => {
                self.found += 1;
                known
            }
        }
    }
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} unknown and found out, {} unknown and sent again", self.found, self.sent_again)
    }
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
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        let mut unknown = Unknown::default();
        for mut command in sent {
            if let Ended::Unknown(_) = command.ended {
                command.ended = unknown.resolve(operator, &command);
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
        println!("{} done, {} refused; among them {unknown}", done.len(), refused.len());
        assert!(!done.is_empty() && !refused.is_empty());
    }
}

#[test]
fn leaders_are_killed_under_a_stream_of_commands() {
    let mut group = Group::start();
    let operator = group.operator();
    let stream = Stream::start(&operator.impatient());
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

/// A frozen leader takes commands and never answers; when it goes on it may still try to have them committed.
#[test]
fn leaders_are_frozen_under_a_stream_of_commands() {
    let mut group = Group::start();
    let operator = group.operator();
    let stream = Stream::start(&operator.impatient());
    for _ in 0..3 {
        stream.goes_on(5);
        let leader = group.leader();
        group.freeze(leader);
        stream.goes_on(5);
        assert_ne!(group.leader(), leader);
        group.thaw(leader);
    }
    stream.goes_on(5);
    stream.check(&operator);
}

/// What the leader had in its log when its quorum was gone is committed if it leads again, and only then.
#[test]
fn a_verb_whose_leader_loses_its_quorum_before_it_answers_ends_with_3_and_its_outcome_is_found_out() {
    let mut group = Group::start();
    let operator = group.operator();
    let mut unknown = Unknown::default();
    for round in 0..4 {
        let leader = group.leader();
        let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
        followers.iter().for_each(|id| group.freeze(*id));
        let (value, request) = ((5_000 + round).to_string(), fresh_request());
        let ended = group.operator_of(leader).impatient().set(&value, &request);
        let Ended::Unknown(why) = &ended else { panic!("{ended:?} without a quorum") };
        assert!(why.contains(&format!("capstan outcome {request}")), "{why}");
        let asked = operator.impatient().outcome(&request);
        assert!(matches!(&asked, Ended::Unknown(_)), "found out without a quorum: {asked:?}");
        // It took the command and waited, if it had not noticed yet that it was alone.
        let taken = why.contains("no answer in time");
        // One follower alone does not elect itself against the longer log; two elect one of them.
        let (first, rest) = followers.split_at(if round % 2 == 0 { 1 } else { 2 });
        first.iter().for_each(|id| group.thaw(*id));
        group.wait_for_quorum();
        let command = Sent { value, request, ended };
        if taken && first.len() == 1 {
            let found = operator.outcome(&command.request);
            assert!(matches!(found, Ended::Done(_)), "its leader leads again: {found:?}");
        }
        let resolved = unknown.resolve(&operator, &command);
        assert!(matches!(resolved, Ended::Done(_)), "{resolved:?}");
        rest.iter().for_each(|id| group.thaw(*id));
        assert!(matches!(operator.outcome(&command.request), Ended::Done(_)));
        let what = format!("set restart-wait to {} ", command.value);
        assert_eq!(operator.history().iter().filter(|event| event.starts_with(&what)).count(), 1);
    }
    println!("{unknown}");
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
