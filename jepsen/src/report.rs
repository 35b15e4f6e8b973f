//! What a run comes to: figures from raw instants and counts. Pure; the shell writes the files.

use crate::kill::Kill;
use crate::ledger::Verdict;
use crate::load::{Counts, Shared};
use capstan_proto::env::Boot;
use serde::Serialize;
use std::time::Duration;

/// One kill and what its shard's clients noticed of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outage {
    pub(crate) number: usize,
    pub(crate) shard: usize,
    /// Who was killed.
    pub(crate) node: String,
    pub(crate) pid: u32,
    /// On CLOCK_BOOTTIME.
    pub(crate) killed_at_ns: u64,
    /// From SIGKILL to the first acknowledgement by another node, and which.
    pub(crate) next_served_after_ms: Option<f64>,
    pub(crate) next_node: Option<String>,
    /// The longest time without an acknowledged operation on the shard's keys, its clock starting at SIGKILL.
    pub(crate) longest_silence_ms: f64,
}

/// The keys, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) keys: usize,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) lost: u64,
    pub(crate) keys_with_loss: usize,
    /// The most that one key lost.
    pub(crate) most_lost: u64,
    pub(crate) surplus: u64,
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// What the clients of its shard noticed of each kill, until the next one of the same shard, at most for `window`.
pub(crate) fn outages(shared: &Shared, kills: &[Kill], end: Boot, window: Duration) -> Vec<Outage> {
    let outage = |(number, kill): (usize, &Kill)| {
        let next = kills[number + 1..].iter().find(|next| next.shard == kill.shard);
        let until = next.map_or(end, |next| next.at).min(kill.at.after(window));
        let timeline = shared.timeline(kill.shard);
        let served = timeline.first_by_another(&kill.node, kill.at).filter(|(at, _)| *at < until);
        Outage {
            number: number + 1,
            shard: kill.shard,
            node: kill.node.clone(),
            pid: kill.pid,
            killed_at_ns: kill.at.0,
            next_served_after_ms: served.map(|(at, _)| ms(at.since(kill.at))),
            next_node: served.map(|(_, node)| node.to_owned()),
            longest_silence_ms: ms(timeline.longest_silence(kill.at, until)),
        }
    };
    kills.iter().enumerate().map(outage).collect()
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _even => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The greatest ones, greatest first.
pub(crate) fn worst(values: &[f64], count: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.truncate(count);
    sorted
}

pub(crate) fn totals(verdicts: &[Verdict]) -> Totals {
    let mut totals = Totals { keys: verdicts.len(), ..Totals::default() };
    for verdict in verdicts {
        totals.acknowledged += verdict.acknowledged;
        totals.unknown += verdict.unknown;
        totals.lost += verdict.lost;
        totals.keys_with_loss += usize::from(verdict.lost > 0);
        totals.most_lost = totals.most_lost.max(verdict.lost);
        totals.surplus += verdict.surplus;
    }
    totals
}

/// `shard 0: longest silence 12 ms`, for whole runs and around marks.
pub(crate) fn silences(shared: &Shared, from: Boot, to: Boot) -> Vec<f64> {
    (0..shared.shards.len()).map(|shard| ms(shared.timeline(shard).longest_silence(from, to))).collect()
}

/// The lines that a person reads of a table of kills.
pub(crate) fn table(outages: &[Outage]) -> Vec<String> {
    let mut lines = vec![
        "kill  shard  killed                 served again after  by                     longest silence"
            .into(),
    ];
    for outage in outages {
        let after = outage.next_served_after_ms.map_or("never".to_owned(), |ms| format!("{ms:.1} ms"));
        lines.push(format!(
            "{:>4}  {:>5}  {:<21}  {:>18}  {:<21}  {:>12.1} ms",
            outage.number,
            outage.shard,
            outage.node,
            after,
            outage.next_node.as_deref().unwrap_or("itself"),
            outage.longest_silence_ms
        ));
    }
    lines
}

/// The last word on the silences.
pub(crate) fn summary_of(outages: &[Outage]) -> String {
    let silences: Vec<f64> = outages.iter().map(|outage| outage.longest_silence_ms).collect();
    let median = median(&silences).map_or("none".to_owned(), |ms| format!("{ms:.1} ms"));
    let worst: Vec<String> = worst(&silences, 2).iter().map(|ms| format!("{ms:.1} ms")).collect();
    format!("{} kills: longest silence median {median}, worst two {}", outages.len(), worst.join(" and "))
}

/// The lines on what was sent and what was lost.
pub(crate) fn counts(counts: &Counts, totals: &Totals, seconds: f64) -> Vec<String> {
    vec![
        format!(
            "{} acknowledged in {seconds:.1} s: {:.0} a second; {} unknown, {} refused, {} redirected, {} not sent, {} other errors",
            counts.acknowledged,
            counts.acknowledged as f64 / seconds,
            counts.unknown,
            counts.refused,
            counts.redirected,
            counts.not_sent,
            counts.other_errors
        ),
        format!(
            "{} keys: {} acknowledged increments lost, on {} keys, at most {} on one; {} more than were ever sent",
            totals.keys, totals.lost, totals.keys_with_loss, totals.most_lost, totals.surplus
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_the_worst() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(worst(&[1.0, 5.0, 3.0], 2), [5.0, 3.0]);
    }

    #[test]
    fn losses_are_added_up_over_the_keys() {
        let verdict = |lost, surplus| Verdict {
            key: "k".into(),
            acknowledged: 10,
            unknown: 1,
            value: 10 - lost,
            lost,
            surplus,
        };
        let totals = totals(&[verdict(0, 0), verdict(3, 0), verdict(2, 1)]);
        assert_eq!((totals.lost, totals.keys_with_loss, totals.most_lost, totals.surplus), (5, 2, 3, 1));
    }
}
