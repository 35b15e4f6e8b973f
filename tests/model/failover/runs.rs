//! The explorations: all rules on, and each rule off once.
//!
//! Bounds are chosen so that all models together need less than a minute in a debug build.

use super::step::Failover;
use super::world::{Bounds, Story};
use crate::explore;
use capstan_proto::rules::{Rule, Rules};

fn deaths() -> Bounds {
    Bounds {
        story: Story::Deaths,
        time: 2,
        beats: 2,
        leaders: 1,
        deaths: 1,
        lives: 1,
        writes: 0,
        attempts: 0,
        meta: Rules::ALL,
        node: Rules::ALL,
    }
}

fn elections() -> Bounds {
    Bounds { leaders: 2, lives: 0, ..deaths() }
}

fn attempts() -> Bounds {
    Bounds { story: Story::Attempts, time: 2, lives: 0, writes: 2, attempts: 1, ..deaths() }
}

fn holds(name: &str, bounds: Bounds) {
    explore::holds(name, &bounds.clone(), Failover::new(bounds));
}

fn breaks(name: &str, property: &'static str, bounds: Bounds) {
    explore::breaks(name, property, Failover::new(bounds));
}

fn without(rule: Rule, bounds: Bounds) -> Bounds {
    Bounds { meta: Rules::ALL.without(rule), ..bounds }
}

#[test]
fn one_server_at_a_time_and_no_loss_unsaid_while_processes_die_and_come_back() {
    // One beat less: with two there are more than ten million transitions, and `elections` has two.
    holds("deaths", Bounds { beats: 1, ..deaths() });
}

#[test]
fn one_server_at_a_time_while_leaders_change_in_the_middle_of_a_failover() {
    holds("elections", elections());
}

#[test]
fn a_planned_failover_loses_nothing_whenever_it_is_ended() {
    holds("attempts", attempts());
}

#[test]
fn without_rule_3_a_life_that_came_back_empty_is_promoted_on_its_predecessors_word() {
    breaks(
        "►3 off",
        "whole",
        without(Rule::PromotionIsJudged, Bounds { beats: 1, deaths: 2, time: 0, ..deaths() }),
    );
}

#[test]
fn without_rule_5_a_new_leader_fails_over_while_a_lease_of_the_old_one_lasts() {
    breaks("►5 off", "I4", without(Rule::NewLeaderWaits, Bounds { time: 0, deaths: 0, ..elections() }));
}

#[test]
fn without_rule_6_a_grant_slips_in_between_the_decision_and_the_commit() {
    breaks("►6 off", "I4", without(Rule::StopGrantingFirst, Bounds { lives: 0, deaths: 0, ..deaths() }));
}

#[test]
fn without_rule_13_a_copied_folder_proves_a_primary_dead_that_goes_on_serving() {
    breaks("►13 off", "I4", without(Rule::DeathNeedsProof, Bounds { time: 0, deaths: 0, ..deaths() }));
}

#[test]
fn without_rule_14_a_primary_that_lets_its_clients_go_by_time_serves_beside_its_successor() {
    let node = Rules::ALL.without(Rule::AttemptEndsByCommit);
    breaks("►14 off at the node", "I4", Bounds { node, time: 1, writes: 0, ..attempts() });
}
