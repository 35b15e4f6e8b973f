//! The explorations: ►12 and ►15 on, and one of them off.

use super::step::Epochs;
use super::world::Bounds;
use crate::explore;
use capstan_proto::rules::{Rule, Rules};

fn bounds() -> Bounds {
    Bounds { writes: 3, promotions: 3, losses: 1, rules: Rules::ALL }
}

#[test]
fn the_highest_position_is_that_of_the_latest_history_through_several_primaries() {
    explore::holds("epochs", &bounds(), Epochs(bounds()));
}

fn breaks(rule: Rule, property: &'static str) {
    let bounds = Bounds { rules: Rules::ALL.without(rule), ..bounds() };
    explore::breaks(&format!("►{} off", rule as u8), property, Epochs(bounds));
}

#[test]
fn without_rule_12_the_tail_of_an_earlier_primary_stands_above_the_one_that_serves() {
    breaks(Rule::EpochOpensWithBatch, "the primary is highest");
}

#[test]
fn without_rule_12_a_tail_that_was_left_behind_comes_back_in_place_of_a_complete_copy() {
    breaks(Rule::EpochOpensWithBatch, "nothing served is undone");
}

#[test]
fn without_rule_15_a_replica_goes_on_behind_a_tail_that_its_primary_never_had() {
    breaks(Rule::TailIsNotContinued, "I6");
}
