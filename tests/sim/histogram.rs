//! How often what happened, over the seeds.

use crate::stage::Outcome;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The sum of what is counted under the names that `of` accepts.
pub(crate) fn sum(outcomes: &[Outcome], of: impl Fn(&str) -> bool) -> u64 {
    let counts = outcomes.iter().flat_map(|outcome| &outcome.counts);
    counts.filter(|(name, _)| of(name)).map(|(_, count)| count).sum()
}

/// A row for each name: the sum, the seeds that have any, and how many a seed has at least, in the middle, at most.
pub(crate) fn of(outcomes: &[Outcome]) -> String {
    let names: BTreeSet<&String> = outcomes.iter().flat_map(|outcome| outcome.counts.keys()).collect();
    let mut text = format!("{:<44} {:>8} {:>6}   a seed: min, median, max", "", "in all", "seeds");
    for name in names {
        let mut each: Vec<u64> =
            outcomes.iter().map(|outcome| outcome.counts.get(name).copied().unwrap_or(0)).collect();
        each.sort_unstable();
        let (all, seeds) = (each.iter().sum::<u64>(), each.iter().filter(|count| **count > 0).count());
        let (min, median, max) = (each[0], each[each.len() / 2], each[each.len() - 1]);
        // A string takes everything.
        let _ = write!(text, "\n{name:<44} {all:>8} {seeds:>6}   {min:>8} {median:>6} {max:>6}");
    }
    text
}
