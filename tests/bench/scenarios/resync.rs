//! A whole copy under load: the replica is killed and comes back empty. How long until it is whole again, what the
//! clients of the primary feel meanwhile, and how much memory the primary takes for it.

use super::{CONNECTIONS, VALUE_BYTES, load, no_errors, present};
use crate::commands::{Commands, Keys, Verb};
use crate::engine::{Engine, now};
use crate::paced::{self, Lasting, Source, Stream};
use crate::pairs::Pair;
use crate::proc::family_bytes;
use crate::report::Row;
use crate::stats::{Latency, paired_ratio};
use capstan_tests::process::wait_until;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The first letters of every key.
const LETTERS: &str = "key:";
/// Between two looks at the memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the replica.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A copy takes seconds.
const WHOLE_MAX: Duration = Duration::from_secs(180);
/// How much of the memory before the copy the source may have at its peak.
const MEMORY_BOUND: f64 = 1.1;

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many keys are copied.
    pub(crate) keys: u64,
    /// Commands a second of the clients, half of them SET and half GET, whatever the server does.
    pub(crate) rate: f64,
    /// How often the pairs alternate.
    pub(crate) rounds: usize,
    /// How long the load without a copy lasts.
    pub(crate) quiet: Duration,
}

/// What one copy took.
#[derive(Debug, Clone, Copy)]
struct Copied {
    quiet: Latency,
    meanwhile: Latency,
    seconds: f64,
    memory: Memory,
}

/// Resident bytes of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    before: u64,
    peak: u64,
}

impl Memory {
    fn ratio(self) -> f64 {
        self.peak as f64 / self.before.max(1) as f64
    }
}

/// Loads both pairs and measures.
pub(crate) fn run(
    mut pairs: [&mut Pair; 2],
    plan: Plan,
    say: &mut dyn FnMut(String),
) -> io::Result<Vec<Row>> {
    for pair in &pairs {
        load(&pair.primary, LETTERS, plan.keys, VALUE_BYTES)?;
        pair.level()?;
    }
    let mut copies = <[Vec<Copied>; 2]>::default();
    for round in 0..plan.rounds {
        for (pair, copies) in pairs.iter_mut().zip(&mut copies) {
            let copied = one(pair, plan, round as u64)?;
            say(format!(
                "round {}: {:<8} {} keys whole after {:.2} s at {} commands/s | quiet {} | meanwhile {} | source {} MiB, peak {} MiB",
                round + 1,
                pair.primary.name,
                plan.keys,
                copied.seconds,
                plan.rate,
                copied.quiet,
                copied.meanwhile,
                copied.memory.before >> 20,
                copied.memory.peak >> 20
            ));
            copies.push(copied);
        }
    }
    for pair in &pairs {
        pair.primary.admin()?.ok(&["FLUSHALL"])?;
        pair.level()?;
    }
    Ok(rows(plan, &copies))
}

fn rows(plan: Plan, copies: &[Vec<Copied>; 2]) -> Vec<Row> {
    let figures =
        |pick: fn(&Copied) -> f64| copies.each_ref().map(|all| all.iter().map(pick).collect::<Vec<_>>());
    let worst = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let row = |what: &str, unit, [capstan, redis]: [Vec<f64>; 2], result, bound, notes| Row {
        name: what.to_owned(),
        unit,
        result,
        bound: Some(bound),
        notes,
        capstan,
        redis,
    };
    let seconds = figures(|c| c.seconds);
    let p99 = figures(|c| c.meanwhile.p99);
    let memory = figures(|c| c.memory.ratio());
    let (ratio_seconds, ratio_p99) = (paired_ratio(&seconds[0], &seconds[1]), paired_ratio(&p99[0], &p99[1]));
    let both = |what: &str, [ours, theirs]: [Vec<f64>; 2]| {
        format!("{what}: capstan at most {:.0}, redis at most {:.0}", worst(&ours), worst(&theirs))
    };
    let latencies = vec![
        both("p99 without a copy, us", figures(|c| c.quiet.p99)),
        both("worst command meanwhile, us", figures(|c| c.meanwhile.max)),
        format!("open loop, {} commands/s, half SET, half GET", plan.rate),
    ];
    let sizes = vec![
        both("MiB before", figures(|c| c.memory.before as f64 / f64::from(1 << 20))),
        both("MiB at the peak", figures(|c| c.memory.peak as f64 / f64::from(1 << 20))),
        "Redis' with what its fork child holds alone".to_owned(),
    ];
    let worst_memory = worst(&memory[0]);
    vec![
        row(
            &format!("copy of {} keys", plan.keys),
            "s from the replica's death until it is whole",
            seconds,
            ratio_seconds,
            1.0,
            vec![],
        ),
        row("p99 during the copy", "us, of the primary's clients", p99, ratio_p99, 1.0, latencies),
        row(
            "memory during the copy",
            "of what it had before, at its peak",
            memory,
            worst_memory,
            MEMORY_BOUND,
            sizes,
        ),
    ]
}

fn one(pair: &mut Pair, plan: Plan, seed: u64) -> io::Result<Copied> {
    let source = pair.primary.clone();
    let mut engine = Engine::connect(source.address, CONNECTIONS)?;
    let clients = |seed| {
        vec![Stream {
            source: Source::Commands(Commands::new(
                &[Verb::Get, Verb::Set],
                LETTERS,
                Keys::random(plan.keys, seed),
                VALUE_BYTES,
            )),
            conns: 0..CONNECTIONS,
            starts: Duration::ZERO,
            rate: plan.rate,
            burst: 1,
            limit: u64::MAX,
        }]
    };
    let (quiet, before) =
        with_peak(source.pid, || paced::run(&mut engine, clients(seed), Lasting::For(plan.quiet)))?;
    no_errors(&source, &mut engine)?;
    let copies = source.admin()?.copies()?;
    let start = now();
    let ((window, samples), peak) = with_peak(source.pid, || {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let copying = scope.spawn(|| {
                let window = copy(pair, plan.keys);
                done.store(true, Ordering::Release);
                window
            });
            let samples = paced::run(&mut engine, clients(seed + 1000), Lasting::Until(&done))?;
            Ok((joined(copying)?, samples))
        })
    })?;
    no_errors(&source, &mut engine)?;
    if source.admin()?.copies()? == copies {
        return Err(io::Error::other(format!("{}: the replica was not copied to", source.name)));
    }
    pair.level()?;
    let mut replica = pair.replica.admin()?;
    replica.ok(&["READONLY"])?;
    let keys: Vec<u64> = (0..plan.keys).collect();
    let missing = present(&mut replica, LETTERS, &keys)?.iter().filter(|there| !**there).count();
    if missing > 0 {
        return Err(io::Error::other(format!("{}: {missing} keys are missing in the copy", source.name)));
    }
    let seconds = Duration::from_nanos(window.end - window.start).as_secs_f64();
    let window = window.start - start..window.end - start;
    Ok(Copied {
        quiet: Latency::within(&quiet[0], 0..u64::MAX),
        meanwhile: Latency::within(&samples[0], window),
        seconds,
        memory: Memory { before, peak },
    })
}

/// Kills the replica and waits until it is whole again; gives the time from the one to the other.
fn copy(pair: &mut Pair, keys: u64) -> io::Result<Range<u64>> {
    let killed = now();
    pair.kill_replica()?;
    loop {
        let looked = pair.look_if_whole(keys);
        let time = now();
        if matches!(looked, Ok(true)) {
            return Ok(killed..time);
        }
        if time > killed + WHOLE_MAX.as_nanos() as u64 {
            return Err(io::Error::other(format!(
                "{}: the replica is not whole after {WHOLE_MAX:?}: {looked:?}",
                pair.primary.name
            )));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Does something, and looks at the memory of a process meanwhile.
fn with_peak<T>(pid: u32, work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, u64)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut peak = 0;
            loop {
                // Once more after the end: what was done may have taken less than a pause.
                let last = wait_until(SAMPLE_EVERY, || done.load(Ordering::Acquire));
                peak = family_bytes(pid)?.max(peak);
                if last {
                    return Ok(peak);
                }
            }
        });
        let worked = work();
        done.store(true, Ordering::Release);
        let peak = joined(sampling)?;
        Ok((worked?, peak))
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the benchmark panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_seen_from_another_thread() {
        let (held, peak) = with_peak(std::process::id(), || {
            let held = vec![1_u8; 64 << 20];
            assert_eq!(held.iter().filter(|byte| **byte == 1).count(), 64 << 20);
            Ok(held)
        })
        .unwrap();
        assert!(peak > held.len() as u64);
    }
}
