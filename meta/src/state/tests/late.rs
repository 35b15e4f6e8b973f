//! Late duplicates of every kind of command: the same request, and the same content under another request id, after the state
//! has moved on.
//!
//! The same request is answered as the first time and does nothing, whoever leads by then. The same content is refused by the
//! epoch, incarnation or attempt that it names, or is so already. Three kinds name none of these, since they are an operator's
//! wish and the last one counts: of those only the request id tells a duplicate from a new wish.

use super::builders::{Bench, LEADER, OTHER, node, promotion, range, register, request, shard};
use crate::state::{
    Body, Bug, Command, Done, Draining, Fence, JoinRole, NodeUpdate, Noted, Outcome, Planted, Promote, State,
    Switches,
};
use capstan_proto::ids::{AttemptId, GroupId};
use capstan_proto::rules::{Rule, Rules};
use std::collections::BTreeSet;

/// What the same content gets under another request id, after the state has moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// What it names stands in the way; the code of the refusal.
    Refused(&'static str),
    /// It is so already.
    Nothing(Done),
    /// It names nothing that has passed: it is a new wish.
    Wish,
}

/// A command, the state that it is for, and how that moves on.
struct Case {
    what: &'static str,
    command: fn(&mut Bench) -> Body,
    moves_on: fn(&mut Bench),
    then: Then,
}

const KINDS: [&str; 15] = [
    "Found",
    "Register",
    "Dead",
    "Update",
    "Join",
    "AddSlots",
    "Replicate",
    "Promote",
    "BeginPlanned",
    "EndAttempt",
    "SetSetting",
    "Batch",
    "BeginForced",
    "Drain",
    "Note",
];

/// A new kind of command has no name here until it has a case below.
fn kind(body: &Body) -> &'static str {
    match body {
        Body::Found { .. } => "Found",
        Body::Register(_) => "Register",
        Body::Dead { .. } => "Dead",
        Body::Update { .. } => "Update",
        Body::Join { .. } => "Join",
        Body::AddSlots { .. } => "AddSlots",
        Body::Replicate { .. } => "Replicate",
        Body::Promote(_) => "Promote",
        Body::BeginPlanned { .. } => "BeginPlanned",
        Body::EndAttempt { .. } => "EndAttempt",
        Body::SetSetting { .. } => "SetSetting",
        Body::Batch(_) => "Batch",
        Body::BeginForced { .. } => "BeginForced",
        Body::Drain { .. } => "Drain",
        Body::Note { .. } => "Note",
    }
}

fn next_life(bench: &mut Bench, n: u8) {
    let last = bench.life(n);
    bench.done(Body::Register(register(n, 100 * last.counter as u32 + u32::from(n), Some(last))));
}

fn dies(bench: &Bench, n: u8) -> Body {
    Body::Dead { node: node(n), token: bench.life(n).token }
}

fn promoted(bench: &mut Bench, n: u8) {
    let promote = promotion(&bench.state, shard(1), node(n));
    bench.done(Body::Promote(promote));
}

/// Shard 1 is promoted away from node 1, and back.
fn away_and_back(bench: &mut Bench) {
    promoted(bench, 2);
    bench.whole(1);
    promoted(bench, 1);
}

fn begins(bench: &Bench) -> Body {
    let row = &bench.state.topology().shards[&shard(1)];
    Body::BeginPlanned {
        shard: shard(1),
        candidate: node(2),
        expected_epoch: row.epoch,
        last_attempt: row.last_attempt,
        why: "asked for".into(),
    }
}

fn begins_by_force(bench: &Bench) -> Body {
    let row = &bench.state.topology().shards[&shard(1)];
    Body::BeginForced {
        shard: shard(1),
        candidate: node(3),
        expected_epoch: row.epoch,
        last_attempt: row.last_attempt,
        who: "ada".into(),
        why: "asked for".into(),
    }
}

fn ends(bench: &Bench) -> Body {
    let attempt = bench.state.topology().shards[&shard(1)].last_attempt;
    Body::EndAttempt { shard: shard(1), attempt, why: "hold limit".into() }
}

fn ended(bench: &mut Bench) {
    let end = ends(bench);
    bench.done(end);
}

fn begun(bench: &mut Bench) {
    let begin = begins(bench);
    bench.done(begin);
}

fn drains(what: Draining) -> Body {
    Body::Drain { node: node(2), what }
}

fn sets(value: &str) -> Body {
    Body::SetSetting { name: "cluster-node-timeout".into(), value: value.into() }
}

fn replicates(s: u8) -> Body {
    Body::Replicate { node: node(3), shard: shard(s) }
}

fn joins(role: JoinRole) -> Body {
    Body::Join { node: node(5), role }
}

fn notes(what: Noted) -> Body {
    Body::Note { shard: shard(1), node: node(1), what, evidence: "3 ms before".into() }
}

fn lives() -> Vec<Case> {
    let case = |what, command, moves_on, then| Case { what, command, moves_on, then };
    vec![
        case(
            "a first registration, after the second life",
            |bench| {
                bench.state = State::default();
                bench.done(Body::Found { group: GroupId([7; 16]) });
                Body::Register(register(1, 1, None))
            },
            |bench| next_life(bench, 1),
            Then::Refused("STALEINCARNATION"),
        ),
        case(
            "a registration, after the life that followed",
            |bench| Body::Register(register(1, 11, Some(bench.life(1)))),
            |bench| next_life(bench, 1),
            Then::Refused("STALEINCARNATION"),
        ),
        case(
            "a death, after the next life registered",
            |bench| dies(bench, 2),
            |bench| next_life(bench, 2),
            Then::Refused("STALEINCARNATION"),
        ),
        case(
            "new addresses, after the next life registered",
            |bench| {
                let addresses = super::builders::addresses(7777);
                let what = NodeUpdate::Addresses(addresses);
                Body::Update { node: node(2), incarnation: bench.life(2), what }
            },
            |bench| next_life(bench, 2),
            Then::Refused("STALEINCARNATION"),
        ),
        case(
            "a complete copy, after the next epoch of its shard",
            |bench| {
                let what = NodeUpdate::Whole { shard: shard(1), epoch: bench.epoch(1) };
                Body::Update { node: node(3), incarnation: bench.life(3), what }
            },
            |bench| promoted(bench, 2),
            Then::Refused("STALEEPOCH"),
        ),
    ]
}

fn members() -> Vec<Case> {
    let case = |what, command, moves_on, then| Case { what, command, moves_on, then };
    vec![
        case(
            "the founding, after the cluster was made",
            |bench| {
                bench.state = State::default();
                Body::Found { group: GroupId([7; 16]) }
            },
            |bench| drop(bench.done(Body::Register(register(1, 1, None)))),
            Then::Nothing(Done::Founded { group: GroupId([7; 16]) }),
        ),
        case(
            "a shard founded, after another node became its primary",
            |_| joins(JoinRole::Primary { new_shard: shard(3) }),
            |bench| {
                bench.done(Body::Replicate { node: node(3), shard: shard(3) });
                bench.whole(3);
                let promote = promotion(&bench.state, shard(3), node(3));
                bench.done(Body::Promote(promote));
            },
            Then::Refused("ALREADYMEMBER"),
        ),
        case(
            "a replica joined, after it was sent to another shard",
            |_| joins(JoinRole::Replica { shard: shard(1) }),
            |bench| drop(bench.done(Body::Replicate { node: node(5), shard: shard(2) })),
            Then::Refused("ALREADYMEMBER"),
        ),
        case(
            "slots given, after more were given",
            |_| Body::AddSlots { shard: shard(2), ranges: vec![range(9000, 9100)] },
            |bench| drop(bench.done(Body::AddSlots { shard: shard(1), ranges: vec![range(9101, 9200)] })),
            Then::Refused("SLOTBUSY"),
        ),
        case(
            "a replica sent to a shard, after it was sent back",
            |_| replicates(2),
            |bench| drop(bench.done(replicates(1))),
            Then::Wish,
        ),
        case(
            "a setting, after it was set otherwise",
            |_| sets("20000"),
            |bench| drop(bench.done(sets("9000"))),
            Then::Wish,
        ),
        case(
            "a drain, after it was ended",
            |_| drains(Draining::Begins),
            |bench| drop(bench.done(drains(Draining::Ends))),
            Then::Wish,
        ),
        case(
            "the end of a drain, after the next one",
            |bench| {
                bench.done(drains(Draining::Begins));
                drains(Draining::Ends)
            },
            |bench| drop(bench.done(drains(Draining::Begins))),
            Then::Wish,
        ),
    ]
}

fn failovers() -> Vec<Case> {
    let case = |what, command, moves_on, then| Case { what, command, moves_on, then };
    vec![
        case(
            "a promotion, after the shard was promoted back",
            |bench| Body::Promote(promotion(&bench.state, shard(1), node(2))),
            |bench| {
                bench.whole(1);
                promoted(bench, 1);
            },
            Then::Refused("STALEEPOCH"),
        ),
        case(
            "a planned promotion, in the next attempt",
            |bench| {
                begun(bench);
                let attempt = Some(AttemptId(1));
                let promote = promotion(&bench.state, shard(1), node(2));
                Body::Promote(Promote { attempt, fence: Fence::HandedOver, ..promote })
            },
            |bench| {
                bench.whole(1);
                promoted(bench, 1);
                bench.whole(2);
                begun(bench);
            },
            Then::Refused("STALEEPOCH"),
        ),
        case(
            "an attempt begun, after it was ended",
            |bench| begins(bench),
            ended,
            Then::Refused("ATTEMPTOVER"),
        ),
        case(
            "an attempt begun, after the next epoch",
            |bench| begins(bench),
            away_and_back,
            Then::Refused("STALEEPOCH"),
        ),
        case(
            "a forced attempt begun, after it was ended",
            |bench| begins_by_force(bench),
            ended,
            Then::Refused("ATTEMPTOVER"),
        ),
        case(
            "the end of an attempt, in the next one",
            |bench| {
                begun(bench);
                ends(bench)
            },
            begun,
            Then::Refused("ATTEMPTOVER"),
        ),
        case(
            "a note of a first command, after later epochs",
            |bench| notes(Noted::FirstServed { epoch: bench.epoch(1) }),
            away_and_back,
            Then::Nothing(Done::Noted),
        ),
        case(
            "a note of a hold, after later epochs",
            |_| notes(Noted::Held { attempt: AttemptId(4), hold_us: 1234 }),
            away_and_back,
            Then::Nothing(Done::Noted),
        ),
    ]
}

fn cases() -> Vec<Case> {
    lives().into_iter().chain(members()).chain(failovers()).collect()
}

/// The state after a command was done and the world went on, the command, and its answer.
fn moved_on(case: &Case) -> (Bench, Command, Outcome) {
    let mut bench = Bench::cluster();
    let body = (case.command)(&mut bench);
    let command = bench.command(Some(LEADER), body);
    let first = bench.apply(&command).outcome;
    assert!(matches!(first, Outcome::Done { .. }), "{}: {first:?}", case.what);
    let version = bench.state.version();
    (case.moves_on)(&mut bench);
    assert!(
        bench.state.version() > version || case.what.starts_with("a note"),
        "{}: it stands still",
        case.what
    );
    (bench, command, first)
}

/// What is wrong with the answer to the same request, sent again under any leader, if anything.
fn same_request(case: &Case, switches: Switches) -> Result<(), String> {
    let (bench, command, first) = moved_on(case);
    let bytes = bench.state.encode_with(switches).expect("plain data");
    let reread = State::decode(&bytes).expect("its own bytes");
    for (mut state, leader) in [(bench.state.clone(), LEADER), (bench.state.clone(), OTHER), (reread, OTHER)]
    {
        let before = state.clone();
        let again = state.apply_with(switches, bench.index + 1, leader, &command);
        if !again.repeated || again.outcome != first || !again.rows.is_empty() {
            return Err(format!("{}: it was answered {first:?}, and then {again:?}", case.what));
        }
        if state != before {
            return Err(format!("{}: its duplicate changed the state", case.what));
        }
    }
    Ok(())
}

#[test]
fn a_late_duplicate_of_every_command_is_answered_as_the_first_time_and_changes_nothing() {
    for case in cases() {
        same_request(&case, Switches::default()).expect("a duplicate");
    }
}

#[test]
fn a_late_duplicate_of_every_command_under_an_id_of_its_own_is_stopped_by_what_it_names() {
    for case in cases() {
        let (mut bench, command, _) = moved_on(&case);
        let before = bench.state.clone();
        let fresh = Command { request: request(1_000_000), ..command };
        let answer = bench.state.apply(bench.index + 1, LEADER, &fresh);
        let then = match answer.outcome {
            Outcome::Rejected(why) => Then::Refused(why.code()),
            Outcome::Done { .. } if !answer.rows.is_empty() => Then::Wish,
            Outcome::Done { done, .. } => Then::Nothing(done),
        };
        assert_eq!(then, case.then, "{}", case.what);
        if then != Then::Wish {
            assert_eq!(bench.state.topology(), before.topology(), "{}", case.what);
            assert_eq!(bench.state.history(), before.history(), "{}", case.what);
            assert_eq!(bench.state.lowered_ttl(), before.lowered_ttl(), "{}", case.what);
        }
    }
}

#[test]
fn without_the_memory_of_requests_no_late_duplicate_is_answered_as_the_first_time() {
    let forgetful = Switches { planted: Planted::bug(Bug::RequestForgotten), ..Switches::default() };
    let lossy = Switches { planted: Planted::bug(Bug::RequestsNotInSnapshot), ..Switches::default() };
    for case in cases() {
        for switches in [forgetful, lossy] {
            assert!(same_request(&case, switches).is_err(), "{} rests on nothing", case.what);
        }
    }
}

#[test]
fn a_late_duplicate_of_a_batch_gets_the_first_answer_of_each_of_its_members() {
    let mut bench = Bench::cluster();
    let promote = Promote { fence: Fence::ProvenDead, ..promotion(&bench.state, shard(1), node(2)) };
    let members = [dies(&bench, 1), Body::Promote(promote), dies(&bench, 1)];
    let members: Vec<Command> = members.into_iter().map(|body| bench.command(Some(LEADER), body)).collect();
    let command = bench.command(Some(LEADER), Body::Batch(members.clone()));
    let first = bench.apply(&command);
    let outcomes = |outcome: &Outcome| match outcome {
        Outcome::Done { done: Done::Batch(outcomes), .. } => outcomes.clone(),
        other => panic!("no batch: {other:?}"),
    };
    assert!(outcomes(&first.outcome).iter().all(|outcome| matches!(outcome, Outcome::Done { .. })));
    next_life(&mut bench, 1);
    bench.whole(1);
    promoted(&mut bench, 1);
    let before = bench.state.clone();
    let again = bench.apply(&command);
    assert_eq!((outcomes(&again.outcome), again.repeated), (outcomes(&first.outcome), true));
    assert!(again.rows.is_empty());
    assert_eq!(bench.state, before);

    let fresh = |at: usize| Command { request: request(1_000_000 + at as u64), ..members[at].clone() };
    let fresh = Command { body: Body::Batch((0..members.len()).map(fresh).collect()), ..command };
    let answers = outcomes(&bench.apply(&fresh).outcome);
    let codes: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Outcome::Rejected(why) => why.code(),
            Outcome::Done { done, .. } => panic!("done again: {done:?}"),
        })
        .collect();
    assert_eq!(codes, ["STALEINCARNATION", "STALEEPOCH", "STALEINCARNATION"]);
    assert_eq!(bench.state.topology(), before.topology());
}

#[test]
fn without_rule_13_a_late_duplicate_of_a_death_ends_the_next_life() {
    let switches = Switches { rules: Rules::ALL.without(Rule::DeathNeedsProof), ..Switches::default() };
    let mut bench = Bench::cluster();
    let dead = dies(&bench, 2);
    bench.done(dead.clone());
    next_life(&mut bench, 2);
    let late = bench.command(None, dead);
    let answer = bench.state.apply_with(switches, bench.index, LEADER, &late);
    assert!(matches!(answer.outcome, Outcome::Done { .. }), "{answer:?}");
    assert!(bench.state.topology().nodes[&node(2)].dead, "the rule is what this rests on");
}

#[test]
fn every_kind_of_command_has_a_late_duplicate_here() {
    let tried: BTreeSet<&str> = cases().iter().map(|case| kind(&moved_on(case).1.body)).collect();
    let all: BTreeSet<&str> =
        KINDS.into_iter().filter(|name| *name != kind(&Body::Batch(Vec::new()))).collect();
    assert_eq!(tried, all);
}
