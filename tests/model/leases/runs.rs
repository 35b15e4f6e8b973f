//! The explorations: all rules on, and each rule off once.
//!
//! Bounds are chosen so that all of them together need less than a minute in a debug build.

use super::step::Leases;
use super::world::{Bounds, Story};
use crate::explore;
use capstan_proto::rules::{Rule, Rules};

fn promote() -> Bounds {
    Bounds {
        story: Story::Promote,
        big: 3,
        tiny: 1,
        heartbeats: 1,
        arrivals: 2,
        rounds: 2,
        commits: 2,
        leaders: 2,
        second_life: false,
        slow_lanes: false,
        meta: Rules::ALL,
        node: Rules::ALL,
        checked_in_lane: true,
    }
}

fn next_life() -> Bounds {
    Bounds { second_life: true, leaders: 1, commits: 3, big: 2, arrivals: 1, ..promote() }
}

fn one_leader() -> Bounds {
    Bounds { leaders: 1, arrivals: 1, ..promote() }
}

/// For schedules that need no time to pass.
fn at_once(bounds: Bounds) -> Bounds {
    Bounds { big: 0, tiny: 0, arrivals: 1, ..bounds }
}

fn take() -> Bounds {
    Bounds {
        story: Story::Take,
        heartbeats: 2,
        arrivals: 1,
        big: 2,
        slow_lanes: true,
        leaders: 1,
        ..promote()
    }
}

fn holds(name: &str, bounds: Bounds) {
    explore::holds(name, &bounds.clone(), Leases { bounds });
}

fn breaks(name: &str, bounds: Bounds) {
    explore::breaks(name, "I4", Leases { bounds });
}

#[test]
fn one_server_at_a_time_while_a_shard_is_promoted_away_and_back() {
    holds("promote", promote());
}

#[test]
fn one_server_at_a_time_while_the_next_life_of_the_primary_registers() {
    holds("next life", next_life());
}

#[test]
fn one_server_at_a_time_while_a_slot_is_taken_from_a_living_primary() {
    holds("take", take());
}

#[test]
fn without_rule_4_on_the_node_a_lease_counted_from_its_answer_outlives_the_leaders_count() {
    breaks(
        "►4 off at the node",
        Bounds { node: Rules::ALL.without(Rule::LeaderCountsLonger), ..one_leader() },
    );
}

#[test]
fn without_rule_4_at_the_leader_a_slower_clock_makes_two_primaries() {
    breaks(
        "►4 off at the leader",
        Bounds { meta: Rules::ALL.without(Rule::LeaderCountsLonger), ..one_leader() },
    );
}

#[test]
fn without_rule_5_a_new_leader_promotes_while_a_lease_of_the_old_one_lasts() {
    breaks("►5 off", Bounds { meta: Rules::ALL.without(Rule::NewLeaderWaits), ..at_once(promote()) });
}

#[test]
fn without_rule_6_a_grant_slips_in_between_the_check_and_the_commit() {
    breaks("►6 off", Bounds { meta: Rules::ALL.without(Rule::StopGrantingFirst), ..one_leader() });
}

#[test]
fn without_rule_7_a_primary_with_an_old_copy_serves_a_slot_that_was_taken_from_it() {
    breaks("►7 off", Bounds { node: Rules::ALL.without(Rule::GrantWaitsForVersion), ..take() });
}

#[test]
fn without_rule_8_at_confirming_a_lane_still_serves_what_the_node_has_confirmed_to_have_lost() {
    breaks(
        "►8 off at confirming",
        Bounds { node: Rules::ALL.without(Rule::CheckUnderLaneLock), ..at_once(take()) },
    );
}

#[test]
fn without_rule_8_in_the_lane_a_command_that_was_let_in_before_executes_after() {
    breaks("►8 off in the lane", Bounds { checked_in_lane: false, ..at_once(take()) });
}
