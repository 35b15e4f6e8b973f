//! When one shard's operations were acknowledged, and by whom: how many in each millisecond, and every silence. Pure.

use capstan_proto::env::Boot;
use std::time::Duration;

/// Silences shorter than this are not kept one by one.
const NOTED: Duration = Duration::from_millis(3);

/// The acknowledgements of one shard, in order.
#[derive(Debug)]
pub(crate) struct Timeline {
    begun: Boot,
    last: Boot,
    /// Beginning and end of each silence that was noted.
    silences: Vec<(Boot, Boot)>,
    /// Acknowledgements in each millisecond since the beginning.
    per_ms: Vec<u32>,
    /// Who answered from which instant on.
    answered_by: Vec<(Boot, String)>,
}

impl Timeline {
    pub(crate) fn new(begun: Boot) -> Self {
        Self { begun, last: begun, silences: Vec::new(), per_ms: Vec::new(), answered_by: Vec::new() }
    }

    /// So many operations were acknowledged at this instant.
    pub(crate) fn note(&mut self, at: Boot, count: u32, node: &str) {
        if at.since(self.last) >= NOTED {
            self.silences.push((self.last, at));
        }
        self.last = self.last.max(at);
        let ms = self.ms(at);
        if self.per_ms.len() <= ms {
            self.per_ms.resize(ms + 1, 0);
        }
        self.per_ms[ms] += count;
        if self.answered_by.last().is_none_or(|(_, last)| last != node) {
            self.answered_by.push((at, node.to_owned()));
        }
    }

    fn ms(&self, at: Boot) -> usize {
        at.since(self.begun).as_millis() as usize
    }

    /// The newest acknowledgement.
    pub(crate) fn last(&self) -> Boot {
        self.last
    }

    /// The longest time without an acknowledgement between two instants: the clock starts at the first of them.
    pub(crate) fn longest_silence(&self, from: Boot, to: Boot) -> Duration {
        let within = |(begin, end): &(Boot, Boot)| {
            let (begin, end) = ((*begin).max(from), (*end).min(to));
            if end > begin { end.since(begin) } else { Duration::ZERO }
        };
        let open = (self.last, to);
        self.silences.iter().chain([&open]).map(within).max().unwrap_or_default()
    }

    /// The first acknowledgement by another node than this one after an instant.
    pub(crate) fn first_by_another(&self, node: &str, after: Boot) -> Option<(Boot, &str)> {
        let mut later = self.answered_by.iter().filter(|(at, who)| *at > after && who != node);
        later.next().map(|(at, who)| (*at, who.as_str()))
    }

    /// Acknowledgements in each span of so many milliseconds between two instants.
    pub(crate) fn counts(&self, from: Boot, to: Boot, ms: usize) -> Vec<u32> {
        let (from, to) = (self.ms(from), self.ms(to));
        let count = |at: usize| -> u32 {
            let (begin, end) = (at.min(self.per_ms.len()), (at + ms).min(self.per_ms.len()));
            self.per_ms[begin..end].iter().sum()
        };
        (from..to).step_by(ms.max(1)).map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Boot {
        Boot(ms * 1_000_000)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_silence_counts_from_the_instant_that_is_asked_about() {
        let mut timeline = Timeline::new(at(1000));
        for t in [1001, 1002, 1100, 1101, 1300] {
            timeline.note(at(t), 1, "h:1");
        }
        assert_eq!(timeline.longest_silence(at(1000), at(1200)), ms(99), "cut off at the end of the window");
        assert_eq!(timeline.longest_silence(at(1000), at(1101)), ms(98));
        assert_eq!(timeline.longest_silence(at(1090), at(1101)), ms(10), "the clock starts in the silence");
        assert_eq!(timeline.longest_silence(at(1300), at(1350)), ms(50), "nothing came after it");
    }

    #[test]
    fn acknowledgements_are_counted_by_millisecond_and_by_who_answered() {
        let mut timeline = Timeline::new(at(1000));
        timeline.note(at(1001), 3, "h:1");
        timeline.note(at(1005), 2, "h:1");
        timeline.note(at(1009), 4, "h:2");
        assert_eq!(timeline.counts(at(1000), at(1010), 5), [3, 6]);
        assert_eq!(timeline.counts(at(1008), at(1012), 1), [0, 4, 0, 0]);
        assert_eq!(timeline.first_by_another("h:1", at(1002)), Some((at(1009), "h:2")));
        assert_eq!(timeline.first_by_another("h:2", at(1002)), None);
    }
}
