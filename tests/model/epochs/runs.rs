//! The explorations: ►12 and ►15 on, and one of them off.

use super::step::Epochs;
use super::world::Bounds;
use capstan_proto::rules::{Rule, Rules};
use stateright::{Checker, HasDiscoveries, Model};

/// More transitions than the exploration needs: one that gets there was not exhaustive.
const ENOUGH: usize = 12_000_000;

fn bounds() -> Bounds {
    Bounds { writes: 3, promotions: 3, losses: 1, rules: Rules::ALL }
}

#[test]
fn the_highest_position_is_that_of_the_latest_history_through_several_primaries() {
    let bounds = bounds();
    println!("epochs: {bounds:?}");
    let checker = Epochs(bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(ENOUGH)
        .spawn_dfs()
        .join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("epochs: {states} distinct states, {steps} transitions, depth {}", checker.max_depth());
    checker.assert_properties();
    assert!(states >= 100_000, "only {states} distinct states");
    assert!(steps < ENOUGH, "not exhaustive");
}

fn breaks(rule: Rule, property: &'static str) {
    let bounds = Bounds { rules: Rules::ALL.without(rule), ..bounds() };
    let number = rule as u8;
    let checker = Epochs(bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .target_state_count(ENOUGH)
        .spawn_bfs()
        .join();
    let Some(path) = checker.discovery(property) else {
        panic!("►{number} off: no schedule breaks '{property}' in {} states", checker.unique_state_count())
    };
    println!("►{number} off: '{property}' breaks after {} distinct states", checker.unique_state_count());
    for (number, step) in path.into_actions().into_iter().enumerate() {
        println!("  {:2} {step:?}", number + 1);
    }
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
