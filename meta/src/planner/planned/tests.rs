//! Planned and forced failovers in scenes.

use super::super::Decision;
use super::super::scene::{OTHER, PRIMARY, REPLICA, SHARD, Scene, at, life};
use super::*;

/// An attempt to hand over to REPLICA is under way, all are heard.
fn under_way(phase: ShardPhase) -> Scene {
    let mut scene = Scene::new(&[REPLICA, OTHER]);
    scene.shard().phase = phase;
    scene.attempts.insert(SHARD, (AttemptId(7), scene.now));
    for node in [PRIMARY, REPLICA, OTHER] {
        scene.hear(node);
    }
    scene
}

fn planned() -> Scene {
    under_way(ShardPhase::Planned { attempt: AttemptId(7), candidate: REPLICA })
}

fn forced() -> Scene {
    under_way(ShardPhase::Forced { attempt: AttemptId(7), candidate: REPLICA, who: "ada".into() })
}

#[test]
fn a_primary_that_is_drained_or_about_to_stop_hands_over_to_the_best_replica() {
    let mut scene = Scene::new(&[REPLICA, OTHER]);
    scene.hear(PRIMARY).wants_handover = true;
    assert_eq!(scene.plan(), [], "no replica was heard of");
    scene.hear(REPLICA).position = Some(at(4, 3));
    scene.hear(OTHER).position = Some(at(4, 7));
    let began = |scene: &Scene| match scene.attempt() {
        Body::BeginPlanned { candidate, expected_epoch, last_attempt, .. } => {
            assert_eq!((expected_epoch.0, last_attempt), (4, AttemptId(7)));
            candidate
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(began(&scene), OTHER);
    scene.topology.drained.insert(OTHER);
    assert_eq!(began(&scene), REPLICA);
    scene.hear(PRIMARY).wants_handover = false;
    assert_eq!(scene.plan(), []);
    scene.topology.drained.insert(PRIMARY);
    assert_eq!(began(&scene), REPLICA);
    // A replica that is silent for a while is not trusted with it.
    scene.pass(2000);
    assert_eq!(scene.plan(), []);
}

#[test]
fn the_primarys_word_for_this_very_attempt_is_the_fence() {
    let mut scene = planned();
    assert_eq!(scene.plan(), []);
    scene.hear(PRIMARY).handed_over = Some((AttemptId(6), at(4, 50)));
    assert_eq!(scene.plan(), [], "of an earlier attempt");
    scene.hear(PRIMARY).handed_over = Some((AttemptId(7), at(4, 50)));
    let promotion = scene.promotion();
    assert_eq!((promotion.candidate, promotion.fence), (REPLICA, Fence::HandedOver));
    assert_eq!((promotion.attempt, promotion.position), (Some(AttemptId(7)), at(4, 50)));
    assert_eq!(promotion.consent, Consent::None);
}

#[test]
fn an_attempt_is_ended_at_the_hold_limit_or_when_its_candidate_falls_away() {
    let ended = |scene: &Scene| match scene.attempt() {
        Body::EndAttempt { attempt, why, .. } => {
            assert_eq!(attempt, AttemptId(7));
            why
        }
        other => panic!("{other:?}"),
    };
    let mut scene = planned();
    scene.pass(2499);
    assert_eq!(scene.plan(), []);
    scene.pass(1);
    assert!(ended(&scene).contains("2500 ms"), "{}", ended(&scene));
    let mut scene = planned();
    scene.node(REPLICA).dead = true;
    assert!(ended(&scene).contains("has ended"));
    let mut scene = planned();
    scene.node(REPLICA).incarnation = life(2);
    scene.node(REPLICA).whole = false;
    assert!(ended(&scene).contains("no complete copy"));
}

#[test]
fn a_primary_that_ends_within_an_attempt_is_failed_over_from_to_whoever_is_best() {
    let mut scene = planned();
    scene.node(PRIMARY).dead = true;
    assert_eq!(scene.ask(), [REPLICA, OTHER]);
}

#[test]
fn a_forced_one_stops_granting_and_waits_for_the_lease_or_the_primarys_word() {
    let mut scene = forced();
    assert!(matches!(scene.plan()[..], [Decision::Stop(old)] if old.node == PRIMARY));
    scene.pass(4000);
    scene.hear(PRIMARY);
    scene.over.insert(SHARD);
    let promotion = scene.promotion();
    assert_eq!((promotion.fence, promotion.candidate), (Fence::LeaseOver, REPLICA));
    assert_eq!(promotion.consent, Consent::Operator { who: "ada".into() });
    assert!(promotion.evidence.contains("waited 4000 ms"), "{}", promotion.evidence);
    scene.hear(PRIMARY).handed_over = Some((AttemptId(7), at(4, 9)));
    assert_eq!(scene.promotion().fence, Fence::HandedOver);
}

#[test]
fn a_forced_one_takes_a_candidate_without_a_complete_copy_but_none_that_has_ended() {
    let mut scene = forced();
    scene.node(REPLICA).whole = false;
    scene.node(PRIMARY).dead = true;
    let promotion = scene.promotion();
    assert_eq!((promotion.fence, promotion.candidate), (Fence::ProvenDead, REPLICA));
    scene.node(REPLICA).dead = true;
    assert!(matches!(scene.attempt(), Body::EndAttempt { .. }));
}

#[test]
fn every_wait_has_a_deadline_to_wake_for() {
    let scene = planned();
    let due = super::super::next_deadline(&scene.view()).expect("the hold limit");
    assert_eq!(due, scene.now.after(Duration::from_millis(2500)));
    assert_eq!(super::super::next_deadline(&Scene::new(&[REPLICA]).view()), None);
}
