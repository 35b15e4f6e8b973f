//! What other clients feel while a table of some million keys grows, and while it is flushed: the p99.9 of an open
//! loop at half of Redis' peak, beside Redis' own quiet one.

use super::{CONNECTIONS, VALUE_BYTES, load, no_errors};
use crate::commands::{Commands, Keys, Verb};
use crate::engine::Engine;
use crate::paced::{self, Lasting, Sample, Source, Stream};
use crate::report::Row;
use crate::servers::Server;
use crate::stats::{Latency, median};
use capstan_jepsen::resp::encode_command;
use std::io;
use std::time::Duration;

/// Keys of the other clients.
const PROBE_KEYS: u64 = 100_000;
/// Added to 1.2 times Redis' quiet p99.9.
const SLACK_US: f64 = 1000.0;
/// Before a flush, and after its reply.
const MARGIN: Duration = Duration::from_secs(2);

/// What is done to the table while others work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It grows from nothing to its full size.
    Growth,
    /// FLUSHALL of all of it.
    Flush,
}

/// How much of it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which phases, in this order.
    pub(crate) phases: Vec<Phase>,
    /// Keys of the table.
    pub(crate) keys: u64,
    /// Keys a second while it grows.
    pub(crate) growth_rate: f64,
    /// Runs of each server.
    pub(crate) rounds: usize,
    /// How long the quiet loop lasts.
    pub(crate) quiet: Duration,
}

#[derive(Default)]
struct Runs {
    quiet: Vec<Latency>,
    growth: Vec<Latency>,
    flush: Vec<Latency>,
}

/// Measures.
pub(crate) fn run(servers: [&Server; 2], plan: &Plan, say: &mut dyn FnMut(String)) -> io::Result<Vec<Row>> {
    let peak = peak(servers[1])?;
    let rate = peak / 2.0;
    say(format!("redis serves {peak:.0} commands a second at its peak: the open loop runs at {rate:.0}"));
    let mut runs = <[Runs; 2]>::default();
    for round in 0..plan.rounds {
        for (server, runs) in servers.iter().zip(&mut runs) {
            one_round(server, plan, rate, runs)?;
            let last = |all: &[Latency]| all.last().map_or_else(|| "-".to_owned(), ToString::to_string);
            let (quiet, growth, flush) = (last(&runs.quiet), last(&runs.growth), last(&runs.flush));
            say(format!(
                "round {}: {:<8} quiet {quiet} | growth {growth} | flush {flush}",
                round + 1,
                server.name
            ));
        }
    }
    let p999 = |all: &[Latency]| all.iter().map(|l| l.p999).collect::<Vec<_>>();
    let quiet = median(&p999(&runs[1].quiet));
    let row = |name: &str, ours: &[Latency], theirs: &[Latency], bound| Row {
        name: name.to_owned(),
        unit: "us, p99.9 of other clients",
        result: median(&p999(ours)),
        bound,
        notes: vec![format!(
            "worst single command: capstan {:.0}, redis {:.0} us",
            ours.iter().map(|l| l.max).fold(0.0, f64::max),
            theirs.iter().map(|l| l.max).fold(0.0, f64::max)
        )],
        capstan: p999(ours),
        redis: p999(theirs),
    };
    let bound = Some(1.2 * quiet + SLACK_US);
    let [ours, theirs] = &runs;
    let mut rows = vec![row("quiet", &ours.quiet, &theirs.quiet, None)];
    if plan.phases.contains(&Phase::Growth) {
        rows.push(row(&format!("growing to {} keys", plan.keys), &ours.growth, &theirs.growth, bound));
    }
    if plan.phases.contains(&Phase::Flush) {
        rows.push(row(&format!("FLUSHALL of {} keys", plan.keys), &ours.flush, &theirs.flush, bound));
    }
    Ok(rows)
}

/// The most that a server does for these clients in a closed loop.
fn peak(server: &Server) -> io::Result<f64> {
    load(server, "prb:", PROBE_KEYS, VALUE_BYTES)?;
    let mut best: f64 = 0.0;
    for seed in 0..3 {
        let mut engine = Engine::connect(server.address, CONNECTIONS)?;
        let closed = engine.closed(&mut probe_commands(seed), 1, 200_000)?;
        best = best.max(closed.ops as f64 / closed.took.as_secs_f64());
    }
    Ok(best)
}

fn probe_commands(seed: u64) -> Commands {
    Commands::new(&[Verb::Get, Verb::Set], "prb:", Keys::random(PROBE_KEYS, seed), VALUE_BYTES)
}

fn probes(rate: f64, seed: u64) -> Stream {
    Stream {
        source: Source::Commands(probe_commands(seed)),
        conns: 0..CONNECTIONS,
        starts: Duration::ZERO,
        rate,
        burst: 1,
        limit: u64::MAX,
    }
}

fn one_round(server: &Server, plan: &Plan, rate: f64, runs: &mut Runs) -> io::Result<()> {
    server.admin()?.call(&["FLUSHALL"])?;
    load(server, "prb:", PROBE_KEYS, VALUE_BYTES)?;
    let seed = runs.quiet.len() as u64;
    let mut engine = Engine::connect(server.address, CONNECTIONS + 2)?;
    let samples = paced::run(&mut engine, vec![probes(rate, seed)], Lasting::For(plan.quiet))?;
    runs.quiet.push(Latency::within(&samples[0], 0..u64::MAX));
    if plan.phases.contains(&Phase::Growth) {
        runs.growth.push(grow(&mut engine, plan, rate, seed)?);
    } else {
        load(server, "key:", plan.keys, VALUE_BYTES)?;
    }
    no_errors(server, &mut engine)?;
    let there = server.admin()?.keys()?;
    if there != plan.keys + PROBE_KEYS {
        return Err(io::Error::other(format!(
            "{} holds {there} keys, not {}",
            server.name,
            plan.keys + PROBE_KEYS
        )));
    }
    if plan.phases.contains(&Phase::Flush) {
        runs.flush.push(flush(&mut engine, rate, seed)?);
        no_errors(server, &mut engine)?;
    }
    Ok(())
}

/// Two connections write new keys at a steady rate while the others go on.
fn grow(engine: &mut Engine, plan: &Plan, rate: f64, seed: u64) -> io::Result<Latency> {
    let grower = Stream {
        source: Source::Commands(Commands::new(&[Verb::Set], "key:", Keys::Sequence(0), VALUE_BYTES)),
        conns: CONNECTIONS..CONNECTIONS + 2,
        starts: Duration::from_millis(500),
        rate: plan.growth_rate,
        burst: 16,
        limit: plan.keys,
    };
    let samples =
        paced::run(engine, vec![probes(rate, seed), grower], Lasting::UntilDone { after: Duration::ZERO })?;
    Ok(Latency::within(&samples[0], during(&samples[1], Duration::ZERO)))
}

/// FLUSHALL from one more connection; what counts is the time until its reply and [`MARGIN`] after it.
fn flush(engine: &mut Engine, rate: f64, seed: u64) -> io::Result<Latency> {
    let mut bytes = Vec::new();
    encode_command(&["FLUSHALL"], &mut bytes);
    let conns = CONNECTIONS..CONNECTIONS + 1;
    let flush = Stream { source: Source::Fixed(bytes), conns, starts: MARGIN, rate: 1.0, burst: 1, limit: 1 };
    let samples = paced::run(engine, vec![probes(rate, seed), flush], Lasting::UntilDone { after: MARGIN })?;
    Ok(Latency::within(&samples[0], during(&samples[1], MARGIN)))
}

/// From the first command of a stream to its last reply, and somewhat longer.
fn during(samples: &[Sample], and_then: Duration) -> std::ops::Range<u64> {
    let begin = samples.iter().map(|s| s.due).min().unwrap_or(0);
    let end = samples.iter().map(|s| s.due + s.took).max().unwrap_or(0);
    begin..end + and_then.as_nanos() as u64
}
