//! The shards of a cluster as they are when a workload begins: their slots, and the keys that are counted in them. Pure.
//!
//! A shard is what a client can see of one: the slots that one primary serves. No workload here moves slots, so a shard
//! keeps its slots whoever becomes its primary.

use capstan_jepsen::slots::Range;
use capstan_proto::slot::Slot;

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its slots, first and last of each run.
    pub(crate) runs: Vec<(u16, u16)>,
    /// Who served them at the beginning.
    pub(crate) primary: String,
    /// Its keys, by their number among all.
    pub(crate) keys: Vec<usize>,
}

impl Shard {
    /// Its slots, one by one.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        let all = self.runs.iter().flat_map(|(first, last)| *first..=*last);
        all.filter_map(Slot::new)
    }

    fn owns(&self, slot: Slot) -> bool {
        self.runs.iter().any(|(first, last)| (*first..=*last).contains(&(slot.index() as u16)))
    }
}

/// The shards that `CLUSTER SLOTS` shows, in the order of their first slots.
pub(crate) fn of(ranges: &[Range]) -> Vec<Shard> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.from);
    let mut shards: Vec<Shard> = Vec::new();
    for range in ranges {
        let run = (range.from, range.to);
        match shards.iter_mut().find(|shard| shard.primary == range.primary) {
            Some(shard) => shard.runs.push(run),
            None => shards.push(Shard { runs: vec![run], primary: range.primary, keys: Vec::new() }),
        }
    }
    shards
}

/// Names at least `count` keys, the same number in each shard.
pub(crate) fn name_keys(shards: &mut [Shard], run: &str, count: usize) -> Vec<String> {
    let each = count.div_ceil(shards.len().max(1));
    let mut names = Vec::with_capacity(each * shards.len());
    let mut n = 0u64;
    while shards.iter().any(|shard| shard.keys.len() < each) {
        let name = format!("increments:{run}:{n}");
        n += 1;
        let slot = Slot::of_key(name.as_bytes());
        let Some(shard) = shards.iter_mut().find(|shard| shard.owns(slot)) else { continue };
        if shard.keys.len() < each {
            shard.keys.push(names.len());
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u16, to: u16, primary: &str) -> Range {
        Range { from, to, primary: primary.to_owned() }
    }

    #[test]
    fn a_shard_is_what_one_primary_serves_and_every_shard_gets_as_many_keys() {
        let ranges =
            [range(8000, 16383, "h:2"), range(0, 99, "h:1"), range(200, 7999, "h:1"), range(100, 199, "h:3")];
        let mut shards = of(&ranges);
        assert_eq!(shards.len(), 3);
        assert_eq!(shards[0].runs, [(0, 99), (200, 7999)]);
        assert_eq!(shards.iter().map(|shard| shard.slots().count()).sum::<usize>(), 16384);
        let names = name_keys(&mut shards, "x", 10);
        assert_eq!(names.len(), 12);
        for shard in &shards {
            assert_eq!(shard.keys.len(), 4);
            assert!(shard.keys.iter().all(|key| shard.owns(Slot::of_key(names[*key].as_bytes()))));
        }
    }
}
