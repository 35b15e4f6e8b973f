//! Whether two nodes ever served the same slots at the same instant (I4), from what `capstan node --trace-serving` wrote.
//!
//! Pure but for reading lines. All files are of one machine, whose clock they share. Two spans of different nodes on one lane of a
//! shard must not overlap; a span marked `late` served nobody after its lease, so of it only the beginning counts. Nodes with
//! different numbers of lanes are compared shard by shard, which is stricter.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::sync::Arc;

/// Nanoseconds of `CLOCK_BOOTTIME`.
type Instant = u64;

/// One span of serving.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// When it began.
    pub from: Instant,
    /// When it had ended.
    pub to: Instant,
    /// Who served; one text for all spans of a node, since there are millions.
    pub node: Arc<str>,
    /// Under which shard epoch.
    pub epoch: u64,
}

/// Two nodes that served the same at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The shard.
    pub shard: String,
    /// The lane; `None`: all of them.
    pub lane: Option<u32>,
    /// The span that began first.
    pub first: Span,
    /// The one that began before its end.
    pub second: Span,
}

/// What the traces say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many spans there are.
    pub spans: usize,
    /// How many of them outlasted their lease.
    pub late: usize,
    /// Which nodes served each shard, and under which epochs.
    pub served: BTreeMap<String, BTreeSet<(u64, String)>>,
    /// Where I4 is broken, the first of each lane.
    pub overlaps: Vec<Overlap>,
}

/// A line that is none of a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It could not be read.
    #[error("line {0}: {1}")]
    Read(usize, io::Error),
    /// It says nothing that is known.
    #[error("line {0} is none of a serving trace: {1}")]
    Parse(usize, String),
    /// Spans before anybody said whose they are.
    #[error("line {0}: nobody has said whose trace this is")]
    Nobody(usize),
}

/// The traces of a run, one file a node.
#[derive(Debug, Default)]
pub struct Traces {
    /// By shard and lane; no lane: spans over all of them.
    spans: BTreeMap<String, BTreeMap<Option<u32>, Vec<Span>>>,
    lane_counts: BTreeMap<String, BTreeSet<u32>>,
    count: usize,
    late: usize,
}

impl Traces {
    /// Takes in a file. A last line without an end was being written when its process was killed.
    pub fn read(&mut self, mut from: impl BufRead) -> Result<(), TraceError> {
        let mut who: Option<(Arc<str>, u32)> = None;
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let length = from.read_line(&mut line).map_err(|error| TraceError::Read(number, error))?;
            if length == 0 || !line.ends_with('\n') {
                break;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let bad = || TraceError::Parse(number, line.trim_end().to_owned());
            match words[..] {
                ["node", node, "lanes", lanes] => {
                    who = Some((node.into(), lanes.parse().map_err(|_| bad())?));
                }
                [shard, epoch, lane, from, to, kind @ ("served" | "late")] => {
                    let (node, lanes) = who.clone().ok_or(TraceError::Nobody(number))?;
                    let late = kind == "late";
                    let from = from.parse().map_err(|_| bad())?;
                    let to = if late { from } else { to.parse().map_err(|_| bad())? };
                    let epoch = epoch.parse().map_err(|_| bad())?;
                    let lane = if lane == "*" { None } else { Some(lane.parse().map_err(|_| bad())?) };
                    self.lane_counts.entry(shard.to_owned()).or_default().insert(lanes);
                    let of_shard = self.spans.entry(shard.to_owned()).or_default();
                    of_shard.entry(lane).or_default().push(Span { from, to, node, epoch });
                    self.count += 1;
                    self.late += usize::from(late);
                }
                _ => return Err(bad()),
            }
        }
        Ok(())
    }

    /// What they say together.
    #[must_use]
    pub fn report(self) -> Report {
        let mut report = Report { spans: self.count, late: self.late, ..Report::default() };
        for (shard, mut lanes) in self.spans {
            let all: BTreeSet<_> = lanes.values().flatten().map(|span| (span.epoch, &*span.node)).collect();
            let all = all.into_iter().map(|(epoch, node)| (epoch, node.to_owned())).collect();
            report.served.insert(shard.clone(), all);
            if self.lane_counts.get(&shard).is_some_and(|counts| counts.len() > 1) {
                let every = std::mem::take(&mut lanes).into_values().flatten().collect();
                lanes.insert(None, every);
            }
            let whole = lanes.remove(&None).unwrap_or_default();
            let found = first_overlap(whole.clone()).map(|pair| (None, pair));
            let per_lane = lanes.into_iter().filter_map(|(lane, mut spans)| {
                spans.extend(whole.iter().cloned());
                first_overlap(spans).map(|pair| (lane, pair))
            });
            let broken = found.into_iter().chain(per_lane);
            report.overlaps.extend(broken.map(|(lane, (first, second))| Overlap {
                shard: shard.clone(),
                lane,
                first,
                second,
            }));
        }
        report
    }
}

/// The first two spans of different nodes that share an instant.
fn first_overlap(mut spans: Vec<Span>) -> Option<(Span, Span)> {
    spans.sort();
    // For each node the span that ends last so far: a later one of another node must not begin before its end.
    let mut open: BTreeMap<Arc<str>, Span> = BTreeMap::new();
    for span in spans {
        let other = open.values().find(|other| other.node != span.node && span.from < other.to);
        if let Some(other) = other {
            return Some((other.clone(), span));
        }
        let longest = open.entry(span.node.clone()).or_insert_with(|| span.clone());
        if span.to > longest.to {
            *longest = span;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: &[&str]) -> Report {
        let mut traces = Traces::default();
        for file in files {
            traces.read(file.as_bytes()).expect("a trace");
        }
        traces.report()
    }

    const OLD: &str = "node a lanes 64\ns 1 5 100 110 served\ns 1 5 110 120 served\n";

    #[test]
    fn one_after_the_other_is_well_and_at_the_same_instant_is_not() {
        let well = report(&[OLD, "node b lanes 64\ns 2 5 120 130 served\n"]);
        assert_eq!((well.spans, well.late, well.overlaps.len()), (3, 0, 0));
        assert_eq!(well.served["s"], BTreeSet::from([(1, "a".into()), (2, "b".into())]));
        let broken = report(&[OLD, "node b lanes 64\ns 2 5 119 130 served\n"]);
        assert_eq!(broken.overlaps.len(), 1, "I4");
        assert_eq!((broken.overlaps[0].lane, broken.overlaps[0].second.epoch), (Some(5), 2));
    }

    #[test]
    fn other_lanes_and_other_shards_do_not_matter_and_a_span_over_all_lanes_does() {
        let overlaps = |file| report(&[OLD, file]).overlaps.len();
        assert_eq!(overlaps("node b lanes 64\ns 2 6 100 130 served\n"), 0);
        assert_eq!(overlaps("node b lanes 64\nt 2 5 100 130 served\n"), 0);
        assert_eq!(overlaps("node b lanes 64\ns 2 * 100 130 served\n"), 1);
        assert_eq!(overlaps("node b lanes 32\ns 2 6 100 130 served\n"), 1);
    }

    #[test]
    fn of_a_span_that_outlasted_its_lease_only_the_beginning_counts() {
        let late = "node a lanes 64\ns 1 5 100 900 late\n";
        assert_eq!(report(&[late, "node b lanes 64\ns 2 5 500 510 served\n"]).overlaps, []);
        let began_late = "node a lanes 64\ns 1 5 505 900 late\n";
        assert_eq!(report(&[began_late, "node b lanes 64\ns 2 5 500 510 served\n"]).overlaps.len(), 1);
    }

    #[test]
    fn a_long_span_is_not_hidden_by_a_short_one_after_it() {
        let file = "node a lanes 64\ns 1 5 100 900 served\ns 1 5 200 210 served\n";
        assert_eq!(report(&[file, "node b lanes 64\ns 2 5 300 310 served\n"]).overlaps.len(), 1);
    }

    #[test]
    fn a_line_that_was_cut_off_by_the_end_of_its_process_is_left_out_and_garbage_is_refused() {
        assert_eq!(report(&["node a lanes 64\ns 1 5 100 110 served\ns 1 5 1"]).spans, 1);
        for garbage in
            ["s 1 5 100 110 served\n", "node a lanes x\n", "node a lanes 64\ns 1 5 100 110 perhaps\n"]
        {
            assert!(Traces::default().read(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
