//! Server CPU per operation, ours beside Redis', in a closed loop: the servers take turns on a loaded table and each
//! pair of neighbouring runs gives one ratio.

use super::{CONNECTIONS, check, load};
use crate::commands::{Commands, Keys, Verb};
use crate::engine::Engine;
use crate::proc::{Cpu, load_average};
use crate::report::{Row, short};
use crate::servers::Server;
use crate::stats::{Latency, median, paired_ratio};
use std::io;

/// What is asked of one verb at one depth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// The command.
    pub(crate) verb: Verb,
    /// Commands sent at once.
    pub(crate) pipeline: usize,
    /// Commands of one run.
    pub(crate) ops: u64,
    /// The ratio that is asked.
    pub(crate) bound: Option<f64>,
}

/// The whole table.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What is measured.
    pub(crate) cells: Vec<Cell>,
    /// How many random keys.
    pub(crate) keys: u64,
    /// Bytes of a value.
    pub(crate) value_bytes: usize,
    /// How often the servers alternate.
    pub(crate) rounds: usize,
}

impl Plan {
    /// SET and GET at pipeline 1, 16 and 64 on a million keys of 32 bytes.
    pub(crate) fn small_values(rounds: usize, keys: u64, scale: f64) -> Self {
        let cells = [(1, 400_000, 0.85), (16, 2_000_000, 0.4), (64, 4_000_000, 0.3)];
        Self { cells: both(&cells, scale), keys, value_bytes: 32, rounds }
    }

    /// The same with 16-KiB values on fewer keys: no worse than Redis.
    pub(crate) fn large_values(rounds: usize, scale: f64) -> Self {
        let cells = [(1, 150_000, 1.0), (16, 300_000, 1.0)];
        Self { cells: both(&cells, scale), keys: 20_000, value_bytes: 16 << 10, rounds }
    }
}

fn both(cells: &[(usize, u64, f64)], scale: f64) -> Vec<Cell> {
    let cell = |verb, &(pipeline, ops, bound): &(usize, u64, f64)| {
        let ops = ((ops as f64 * scale) as u64).max(10_000);
        Cell { verb, pipeline, ops, bound: Some(bound) }
    };
    [Verb::Set, Verb::Get].iter().flat_map(|&verb| cells.iter().map(move |c| cell(verb, c))).collect()
}

/// What the runs of one cell on one server gave.
#[derive(Default)]
pub(crate) struct Runs {
    /// Microseconds of server CPU an operation.
    pub(crate) cpu_us: Vec<f64>,
    kops: Vec<f64>,
    latency: Vec<Latency>,
}

impl Runs {
    /// Adds a run.
    pub(crate) fn push(&mut self, cpu_us: f64, kops: f64, latency: Latency) {
        self.cpu_us.push(cpu_us);
        self.kops.push(kops);
        self.latency.push(latency);
    }
}

/// Loads both servers and measures; `say` hears of each run.
pub(crate) fn run(servers: [&Server; 2], plan: &Plan, say: &mut dyn FnMut(String)) -> io::Result<Vec<Row>> {
    for server in servers {
        load(server, "key:", plan.keys, plan.value_bytes)?;
    }
    let mut runs: Vec<[Runs; 2]> = plan.cells.iter().map(|_| <[Runs; 2]>::default()).collect();
    for round in 0..plan.rounds {
        for (cell, runs) in plan.cells.iter().zip(&mut runs) {
            for (server, runs) in servers.iter().zip(runs) {
                let line = measure(server, plan, *cell, round as u64, runs)?;
                say(format!("round {} load {:.1}: {line}", round + 1, load_average()));
            }
        }
    }
    for server in servers {
        server.admin()?.call(&["FLUSHALL"])?;
    }
    Ok(plan.cells.iter().zip(&runs).map(|(cell, runs)| row(plan, cell, runs)).collect())
}

fn measure(server: &Server, plan: &Plan, cell: Cell, seed: u64, runs: &mut Runs) -> io::Result<String> {
    let mut engine = Engine::connect(server.address, CONNECTIONS)?;
    let letters = if cell.verb == Verb::Incr { "ctr:" } else { "key:" };
    let mut commands = Commands::new(&[cell.verb], letters, Keys::random(plan.keys, seed), plan.value_bytes);
    let warm = engine.closed(&mut commands, cell.pipeline, (cell.ops / 20).max(2_000))?;
    check(server, cell.verb, &warm, plan.value_bytes)?;
    let before = Cpu::of(server.pid)?;
    let closed = engine.closed(&mut commands, cell.pipeline, cell.ops)?;
    let cpu = Cpu::of(server.pid)?.since(&before);
    check(server, cell.verb, &closed, plan.value_bytes)?;
    let (cpu_us, kops) =
        (cpu as f64 / 1e3 / closed.ops as f64, closed.ops as f64 / 1e3 / closed.took.as_secs_f64());
    let latency = Latency::of(&closed.latency);
    runs.push(cpu_us, kops, latency);
    let (name, verb) = (server.name, cell.verb.name());
    Ok(format!(
        "{name:<8} {verb} P{:<3} {} us CPU/op, {} kops/s, {latency}",
        cell.pipeline,
        short(cpu_us),
        short(kops)
    ))
}

/// Throughput and latencies of these runs, in a line.
pub(crate) fn note(name: &str, runs: &Runs) -> String {
    let of = |pick: fn(&Latency) -> f64| median(&runs.latency.iter().map(pick).collect::<Vec<_>>());
    let (p50, p99, p999) = (of(|l| l.p50), of(|l| l.p99), of(|l| l.p999));
    let kops = short(median(&runs.kops));
    format!("{name}: {kops} kops/s, batch p50 {p50:.0} p99 {p99:.0} p99.9 {p999:.0} us (medians, saturated)")
}

fn row(plan: &Plan, cell: &Cell, [ours, theirs]: &[Runs; 2]) -> Row {
    Row {
        name: format!("{} {} B pipeline {}", cell.verb.name(), plan.value_bytes, cell.pipeline),
        unit: "us of server CPU an operation",
        result: paired_ratio(&ours.cpu_us, &theirs.cpu_us),
        bound: cell.bound,
        notes: vec![note("capstan", ours), note("redis  ", theirs)],
        capstan: ours.cpu_us.clone(),
        redis: theirs.cpu_us.clone(),
    }
}
