//! Forced failovers, drained nodes and notes, judged one by one.

use super::builders::{Bench, node, promotion, shard};
use crate::state::{Body, Consent, Done, Draining, Fence, Noted, Promote, Rejection, State};
use capstan_proto::ids::{AttemptId, ShardEpoch};
use capstan_proto::topology::ShardPhase;

fn forced(bench: &Bench, n: u8) -> Body {
    let row = &bench.state.topology().shards[&shard(1)];
    Body::BeginForced {
        shard: shard(1),
        candidate: node(n),
        expected_epoch: row.epoch,
        last_attempt: row.last_attempt,
        who: "ada".into(),
        why: "a drill".into(),
    }
}

fn planned(bench: &Bench, n: u8) -> Body {
    let row = &bench.state.topology().shards[&shard(1)];
    Body::BeginPlanned {
        shard: shard(1),
        candidate: node(n),
        expected_epoch: row.epoch,
        last_attempt: row.last_attempt,
        why: "a drill".into(),
    }
}

fn last_event(bench: &Bench) -> String {
    let event = bench.state.history().iter().next_back().expect("an event");
    format!("{}; {}", event.what, event.evidence)
}

#[test]
fn force_lifts_wholeness_and_never_the_fence() {
    let mut bench = Bench::cluster();
    assert!(matches!(bench.refused(planned(&bench, 3)), Rejection::NotWhole { .. }));
    let begin = forced(&bench, 3);
    assert_eq!(bench.done(begin), Done::AttemptBegun { attempt: AttemptId(1) });
    let row = &bench.state.topology().shards[&shard(1)];
    let under_way = ShardPhase::Forced { attempt: AttemptId(1), candidate: node(3), who: "ada".into() };
    assert_eq!(row.phase, under_way);
    assert!(last_event(&bench).contains("ada consented to the loss"));
    let promote = Promote {
        attempt: Some(AttemptId(1)),
        consent: Consent::Operator { who: "ada".into() },
        ..promotion(&bench.state, shard(1), node(3))
    };
    let dead = Promote { fence: Fence::ProvenDead, ..promote.clone() };
    assert!(matches!(bench.refused(Body::Promote(dead)), Rejection::NotFenced { .. }), "I4");
    let without = Promote { consent: Consent::None, ..promote.clone() };
    assert!(matches!(bench.refused(Body::Promote(without)), Rejection::NotWhole { .. }), "►3");
    let handed = Promote { fence: Fence::HandedOver, ..promote };
    assert!(matches!(bench.done(Body::Promote(handed.clone())), Done::Promoted { .. }));
    assert_eq!(bench.state.topology().shards[&shard(1)].phase, ShardPhase::Steady);
    assert!(matches!(bench.refused(Body::Promote(handed)), Rejection::StaleEpoch { .. }));
}

#[test]
fn a_promotion_that_names_an_attempt_is_refused_once_that_was_ended() {
    for begin in [forced, planned] {
        let mut bench = Bench::cluster();
        let begin = begin(&bench, 2);
        bench.done(begin.clone());
        let late = Promote {
            attempt: Some(AttemptId(1)),
            fence: Fence::HandedOver,
            ..promotion(&bench.state, shard(1), node(2))
        };
        let end = Body::EndAttempt { shard: shard(1), attempt: AttemptId(1), why: "hold limit".into() };
        bench.done(end.clone());
        assert!(matches!(bench.refused(Body::Promote(late)), Rejection::AttemptOver { .. }), "►14");
        assert!(matches!(bench.refused(end), Rejection::AttemptOver { .. }));
        assert!(matches!(bench.refused(begin), Rejection::AttemptOver { .. }), "decided on an old attempt");
    }
}

#[test]
fn a_drained_node_stays_drained_over_its_lives_and_is_no_planned_candidate() {
    let mut bench = Bench::cluster();
    let drain = |what| Body::Drain { node: node(2), what };
    bench.done(drain(Draining::Begins));
    assert!(matches!(bench.refused(planned(&bench, 2)), Rejection::NodeDrained { .. }));
    let life = bench.life(2);
    bench.done(Body::Dead { node: node(2), token: life.token });
    bench.done(Body::Register(super::builders::register(2, 77, Some(life))));
    assert!(bench.state.topology().drained.contains(&node(2)));
    let bytes = bench.state.encode().expect("plain data");
    assert_eq!(State::decode(&bytes), Ok(bench.state.clone()));
    let events = bench.state.history().len();
    bench.done(drain(Draining::Begins));
    assert_eq!(bench.state.history().len(), events, "it is so already");
    bench.done(drain(Draining::Ends));
    assert!(bench.state.topology().drained.is_empty());
    let stranger = Body::Drain { node: node(99), what: Draining::Begins };
    assert!(matches!(bench.refused(stranger), Rejection::UnknownNode { .. }));
}

#[test]
fn a_note_stands_in_the_history_once_and_changes_nothing_else() {
    let mut bench = Bench::cluster();
    let note = |epoch| Body::Note {
        shard: shard(1),
        node: node(1),
        what: Noted::FirstServed { epoch: ShardEpoch(epoch) },
        evidence: "3 ms before".into(),
    };
    let before = bench.state.topology().clone();
    assert_eq!(bench.done(note(1)), Done::Noted);
    assert!(last_event(&bench).contains("served its first command of shard 1 in epoch 1; 3 ms before"));
    let events = bench.state.history().len();
    assert_eq!(bench.done(note(1)), Done::Noted);
    assert_eq!(bench.state.history().len(), events);
    assert_eq!(*bench.state.topology(), before);
    assert!(bench.state.is_noted(shard(1), node(1), Noted::FirstServed { epoch: ShardEpoch(1) }));
    assert!(matches!(bench.refused(note(2)), Rejection::StaleEpoch { .. }));
    let held = Noted::Held { attempt: AttemptId(4), hold_us: 1234 };
    bench.done(Body::Note { shard: shard(1), node: node(1), what: held, evidence: String::new() });
    assert!(last_event(&bench).contains("for 1234 us in attempt 4"));
}
