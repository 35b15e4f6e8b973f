//! Medians, paired ratios and quantiles. Pure.

use crate::engine::histogram;
use crate::paced::Sample;
use serde::Serialize;

/// The middle of some figures; the mean of the two middle ones if they are even. NaN of none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The median of `ours / theirs`, pair by pair: what two neighbouring runs have in common cancels out.
pub(crate) fn paired_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(a, b)| a / b).collect::<Vec<_>>())
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    /// Median.
    pub(crate) p50: f64,
    /// 99 %.
    pub(crate) p99: f64,
    /// 99.9 %.
    pub(crate) p999: f64,
    /// The worst.
    pub(crate) max: f64,
    /// How many.
    pub(crate) count: u64,
}

impl Latency {
    /// Of a histogram of nanoseconds.
    pub(crate) fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1000.0,
            count: histogram.len(),
        }
    }

    /// Of the samples that were due in a window of the run, in nanoseconds.
    pub(crate) fn within(samples: &[Sample], window: std::ops::Range<u64>) -> Self {
        let mut all = histogram();
        samples.iter().filter(|s| window.contains(&s.due)).for_each(|s| all.saturating_record(s.took.max(1)));
        Self::of(&all)
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.0} p99 {:.0} p99.9 {:.0} max {:.0} us", self.p50, self.p99, self.p999, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_ratios_is_not_the_ratio_of_medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        let ratio = paired_ratio(&[1.0, 20.0, 3.0], &[2.0, 20.0, 30.0]);
        assert!((ratio - 0.5).abs() < 1e-9);
    }

    #[test]
    fn only_samples_of_the_window_count() {
        let samples = [Sample { due: 5, took: 1_000 }, Sample { due: 15, took: 9_000 }];
        let latency = Latency::within(&samples, 0..10);
        assert_eq!(latency.count, 1);
        assert!((latency.max - 1.0).abs() < 0.01);
    }
}
