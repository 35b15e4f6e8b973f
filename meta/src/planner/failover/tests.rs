//! Automatic failovers in scenes.

use super::super::Decision;
use super::super::scene::{OTHER, PRIMARY, REPLICA, SHARD, Scene, at, life};
use super::*;

fn dead(replicas: &[NodeId]) -> Scene {
    let mut scene = Scene::new(replicas);
    scene.node(PRIMARY).dead = true;
    scene
}

#[test]
fn a_primary_with_a_lease_is_left_alone_and_one_without_is_failed_over_from() {
    let mut scene = Scene::new(&[REPLICA]);
    scene.hear(PRIMARY);
    assert_eq!(scene.plan(), []);
    scene.pass(6000);
    scene.over.insert(SHARD);
    assert_eq!(scene.ask(), [REPLICA]);
    scene.hear(REPLICA).position = Some(at(4, 9));
    let promotion = scene.promotion();
    assert_eq!((promotion.candidate, promotion.fence), (REPLICA, Fence::LeaseOver));
    assert_eq!((promotion.position, promotion.attempt), (at(4, 9), None));
    assert!(promotion.evidence.contains("last heartbeat 6000 ms before"), "{}", promotion.evidence);
    assert!(promotion.evidence.contains("at 4:9"), "{}", promotion.evidence);
}

#[test]
fn a_primary_that_still_claims_its_shard_lacks_only_a_quorum() {
    let mut scene = Scene::new(&[REPLICA]);
    scene.over.insert(SHARD);
    scene.hear(PRIMARY);
    assert_eq!(scene.plan(), []);
    // One that claims another epoch, or nothing, will not get a grant.
    scene.hear(PRIMARY).claim = None;
    scene.ask();
    // It is back before anybody answered: granting goes on.
    scene.hear(PRIMARY);
    assert!(matches!(scene.plan()[..], [Decision::GiveUp(old)] if old.node == PRIMARY));
}

#[test]
fn a_primary_that_was_just_promoted_has_the_time_of_a_lease_to_ask_for_its_first() {
    let mut scene = Scene::new(&[REPLICA]);
    scene.over.insert(SHARD);
    scene.young.insert(SHARD);
    assert_eq!(scene.plan(), []);
    scene.node(PRIMARY).dead = true;
    assert_eq!(scene.ask(), [REPLICA], "the proof of its death does not wait");
}

#[test]
fn the_end_of_a_process_needs_no_lease_to_be_over_and_its_witness_is_named() {
    let mut scene = dead(&[REPLICA]);
    scene.ask();
    scene.hear(REPLICA);
    let promotion = scene.promotion();
    assert_eq!(promotion.fence, Fence::ProvenDead);
    assert!(promotion.evidence.contains("witness: its supervisor"), "{}", promotion.evidence);
    // The next life has registered: as good a proof.
    scene.node(PRIMARY).dead = false;
    scene.node(PRIMARY).incarnation = life(2);
    scene.node(PRIMARY).whole = false;
    let promotion = scene.promotion();
    assert_eq!((promotion.candidate, promotion.fence), (REPLICA, Fence::ProvenDead));
    assert!(promotion.evidence.contains("the registration of its life 2"), "{}", promotion.evidence);
}

#[test]
fn the_highest_position_wins_and_only_what_was_said_after_the_question_counts() {
    let mut scene = dead(&[REPLICA, OTHER]);
    scene.hear(REPLICA).position = Some(at(4, 100));
    assert_eq!(scene.ask(), [REPLICA, OTHER]);
    scene.hear(OTHER).position = Some(at(4, 5));
    assert_eq!(scene.plan(), [], "one is still asked");
    scene.hear(REPLICA).position = Some(at(4, 4));
    assert_eq!(scene.promotion().candidate, OTHER);
    scene.hear(REPLICA).position = Some(at(4, 6));
    assert_eq!(scene.promotion().candidate, REPLICA);
    // An epoch counts before any number of batches.
    scene.hear(OTHER).position = Some(at(5, 1));
    assert_eq!(scene.promotion().candidate, OTHER);
}

#[test]
fn a_candidate_that_does_not_answer_is_left_out_after_a_while_if_another_has() {
    let mut scene = dead(&[REPLICA, OTHER]);
    scene.ask();
    scene.hear(OTHER);
    scene.pass(299);
    assert_eq!(scene.plan(), []);
    scene.pass(1);
    let promotion = scene.promotion();
    assert_eq!(promotion.candidate, OTHER);
    assert!(promotion.evidence.contains(&format!("{REPLICA} silent")), "{}", promotion.evidence);
}

#[test]
fn one_candidate_alone_is_waited_for_until_the_question_is_given_up() {
    let mut scene = dead(&[REPLICA]);
    scene.ask();
    scene.pass(1499);
    assert_eq!(scene.plan(), []);
    scene.pass(1);
    assert!(matches!(scene.plan()[..], [Decision::GiveUp(_)]));
}

#[test]
fn replicas_that_are_dead_not_whole_or_drained_are_no_candidates() {
    let mut scene = dead(&[REPLICA, OTHER]);
    scene.node(REPLICA).whole = false;
    assert_eq!(scene.ask(), [OTHER]);
    scene.asked.clear();
    scene.node(REPLICA).whole = true;
    scene.topology.drained.insert(OTHER);
    assert_eq!(scene.ask(), [REPLICA]);
    // Where no other copy is left, a drained one is better than none.
    scene.asked.clear();
    scene.node(REPLICA).dead = true;
    assert_eq!(scene.ask(), [OTHER]);
    scene.asked.clear();
    scene.node(OTHER).dead = true;
    assert_eq!(scene.plan(), []);
}

#[test]
fn an_empty_next_life_never_takes_the_place_of_a_whole_copy_that_lives() {
    let mut scene = Scene::new(&[REPLICA]);
    scene.node(PRIMARY).incarnation = life(2);
    scene.node(PRIMARY).whole = false;
    scene.ask();
    assert_eq!(scene.plan(), [], "the copy is waited for");
    scene.node(REPLICA).dead = true;
    scene.asked.clear();
    assert_eq!(scene.promotion().candidate, PRIMARY);
}

#[test]
fn a_candidate_below_the_floor_is_not_chosen() {
    let mut scene = dead(&[REPLICA, OTHER]);
    scene.shard().floor = Some(at(4, 10));
    scene.ask();
    scene.hear(REPLICA).position = Some(at(4, 9));
    scene.hear(OTHER).position = Some(at(4, 10));
    scene.pass(300);
    assert_eq!(scene.promotion().candidate, OTHER);
}
