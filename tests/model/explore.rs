//! How a model is explored: exhaustively with all rules on, and with one off until a property breaks.

use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;

/// More transitions than any exploration here needs: one that gets there was not exhaustive.
const ENOUGH: usize = 12_000_000;
/// An exploration that sees less than this shows little.
const STATES_MIN: usize = 100_000;

/// Explores every schedule, prints how many states there were, and fails if a property breaks in one.
pub(crate) fn holds<M>(name: &str, bounds: &impl Debug, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Debug + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug + Send + Sync,
{
    println!("{name}: {bounds:?}");
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(ENOUGH)
        .spawn_dfs()
        .join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("{name}: {states} distinct states, {steps} transitions, depth {}", checker.max_depth());
    checker.assert_properties();
    assert!(states >= STATES_MIN, "only {states} distinct states");
    assert!(steps < ENOUGH, "not exhaustive");
}

/// Explores until this property breaks, and prints the shortest schedule that breaks it; fails if there is none.
pub(crate) fn breaks<M>(name: &str, property: &'static str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Debug + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug + Send + Sync,
{
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .target_state_count(ENOUGH)
        .spawn_bfs()
        .join();
    let Some(path) = checker.discovery(property) else {
        panic!("{name}: no schedule breaks {property} in {} states", checker.unique_state_count())
    };
    println!("{name}: {property} breaks after {} distinct states", checker.unique_state_count());
    for (number, step) in path.into_actions().into_iter().enumerate() {
        println!("  {:2} {step:?}", number + 1);
    }
}
