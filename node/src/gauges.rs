//! What is measured now and then instead of per command: rates, peaks, errors by their code, clients cut off.
//!
//! A ticker in the server calls [`Gauges::tick`]; the hot path never comes here. Errors do, and a client that makes
//! them as fast as it can pays with one short lock each.

use capstan_proto::env::Boot;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often the rates are sampled.
pub const TICK: Duration = Duration::from_millis(100);
/// Rates are taken over so many samples, as in Redis: 1.6 s.
const SAMPLES: usize = 16;
/// More different error codes than this are not told apart (I12): codes come from our own closed list.
const CODES_MAX: usize = 128;

/// Totals at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Commands processed.
    pub commands: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
}

/// Changes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Commands.
    pub commands: u64,
    /// KiB read.
    pub kib_in: f64,
    /// KiB written.
    pub kib_out: f64,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Gauges {
    samples: Mutex<VecDeque<(Boot, Totals)>>,
    memory_peak: AtomicU64,
    clients_input_max: AtomicU64,
    clients_output_max: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    /// Wrong passwords.
    pub logins_refused: AtomicU64,
    /// Clients cut off because their request outgrew `client-query-buffer-limit`.
    pub cut_for_query: AtomicU64,
    /// Clients cut off because their replies outgrew `client-output-buffer-limit`.
    pub cut_for_output: AtomicU64,
    /// Clients cut off because they were silent for `timeout`.
    pub cut_for_silence: AtomicU64,
}

impl Gauges {
    /// Samples the totals.
    pub fn tick(&self, now: Boot, totals: Totals) {
        let mut samples = self.samples.lock();
        // After CONFIG RESETSTAT the totals begin again.
        if samples.back().is_some_and(|(_, last)| last.commands > totals.commands) {
            samples.clear();
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, totals));
    }

    /// What happened per second lately.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let samples = self.samples.lock();
        let (Some((from, first)), Some((to, last))) = (samples.front(), samples.back()) else {
            return Rates::default();
        };
        let seconds = to.since(*from).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let per_second = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Rates {
            commands: per_second(first.commands, last.commands).round() as u64,
            kib_in: per_second(first.bytes_in, last.bytes_in) / 1024.0,
            kib_out: per_second(first.bytes_out, last.bytes_out) / 1024.0,
        }
    }

    /// The most memory ever seen, this sight included.
    pub fn memory_peak(&self, used: u64) -> u64 {
        self.memory_peak.fetch_max(used, Relaxed).max(used)
    }

    /// The largest buffers seen at one client, these included.
    pub fn client_buffers(&self, input: u64, output: u64) -> (u64, u64) {
        (
            self.clients_input_max.fetch_max(input, Relaxed).max(input),
            self.clients_output_max.fetch_max(output, Relaxed).max(output),
        )
    }

    /// An error reply was given; its code is the first word.
    pub fn note_error(&self, error: &impl std::fmt::Display) {
        let text = error.to_string();
        let code = text.split(' ').next().unwrap_or("ERR");
        let mut errors = self.errors.lock();
        let has_room = errors.len() < CODES_MAX;
        match errors.get_mut(code) {
            Some(count) => *count += 1,
            None if has_room => drop(errors.insert(code.to_owned(), 1)),
            None => {}
        }
    }

    /// How often each error code was answered.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self, memory: u64) {
        self.samples.lock().clear();
        self.errors.lock().clear();
        self.memory_peak.store(memory, Relaxed);
        for counter in
            [&self.logins_refused, &self.cut_for_query, &self.cut_for_output, &self.cut_for_silence]
        {
            counter.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_taken_over_the_last_samples_only() {
        let gauges = Gauges::default();
        assert_eq!(gauges.rates(), Rates::default());
        for tenth in 0..100u64 {
            let commands = if tenth < 50 { 0 } else { (tenth - 50) * 100 };
            let totals = Totals { commands, bytes_in: tenth * 1024, bytes_out: 0 };
            gauges.tick(Boot(tenth * 100_000_000), totals);
        }
        assert_eq!(gauges.rates().commands, 1000);
        assert!((gauges.rates().kib_in - 10.0).abs() < 1e-9);
        gauges.tick(Boot(10_000_000_000), Totals::default());
        assert_eq!(gauges.rates().commands, 0, "the totals began again");
    }

    #[test]
    fn errors_are_counted_by_code_and_the_codes_are_bounded() {
        let gauges = Gauges::default();
        gauges.note_error(&"WRONGTYPE Operation against");
        gauges.note_error(&"WRONGTYPE again");
        (0..1000).for_each(|i| gauges.note_error(&format!("CODE{i} x")));
        let errors = gauges.errors();
        assert_eq!(errors.len(), CODES_MAX);
        assert!(errors.contains(&("WRONGTYPE".into(), 2)));
        gauges.reset(7);
        assert!(gauges.errors().is_empty());
        assert_eq!(gauges.memory_peak(5), 7);
    }
}
