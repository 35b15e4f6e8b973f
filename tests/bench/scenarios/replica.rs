//! What one replica costs: server CPU per SET of the primary and of the replica, ours beside Redis', counted until the
//! replica has applied everything.

use super::ratios::{Cell, Runs, note};
use super::{CONNECTIONS, VALUE_BYTES, check, load};
use crate::commands::{Commands, Keys, Verb};
use crate::engine::Engine;
use crate::pairs::Pair;
use crate::proc::{Cpu, load_average};
use crate::report::{Row, short};
use crate::stats::{Latency, paired_ratio};
use std::io;

/// Pipeline, operations of a run, what is asked of the primary and of the replica.
const CELLS: [(usize, u64, f64, f64); 3] =
    [(1, 400_000, 0.95, 0.7), (16, 2_000_000, 0.45, 0.25), (64, 4_000_000, 0.3, 0.2)];

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many random keys.
    pub(crate) keys: u64,
    /// How often the pairs alternate.
    pub(crate) rounds: usize,
    /// Operations of each run, as a part of the usual number.
    pub(crate) scale: f64,
}

/// Both servers of a pair.
#[derive(Default)]
struct PairRuns {
    primary: Runs,
    replica_us: Vec<f64>,
}

/// Loads both pairs and measures; `say` hears of each run.
pub(crate) fn run(pairs: [&Pair; 2], plan: Plan, say: &mut dyn FnMut(String)) -> io::Result<Vec<Row>> {
    for pair in pairs {
        load(&pair.primary, "key:", plan.keys, VALUE_BYTES)?;
        pair.level()?;
    }
    let mut runs = CELLS.map(|_| <[PairRuns; 2]>::default());
    for round in 0..plan.rounds {
        for (&(pipeline, ops, bound, _), runs) in CELLS.iter().zip(&mut runs) {
            let ops = ((ops as f64 * plan.scale) as u64).max(10_000);
            let cell = Cell { verb: Verb::Set, pipeline, ops, bound: Some(bound) };
            for (pair, runs) in pairs.iter().zip(runs) {
                let line = measure(pair, plan.keys, cell, round as u64, runs)?;
                say(format!("round {} load {:.1}: {line}", round + 1, load_average()));
            }
        }
    }
    for pair in pairs {
        pair.primary.admin()?.ok(&["FLUSHALL"])?;
        pair.level()?;
    }
    Ok(CELLS.iter().zip(runs).flat_map(|(cell, runs)| rows(*cell, runs)).collect())
}

fn measure(pair: &Pair, keys: u64, cell: Cell, seed: u64, runs: &mut PairRuns) -> io::Result<String> {
    let server = &pair.primary;
    let mut engine = Engine::connect(server.address, CONNECTIONS)?;
    let mut commands = Commands::new(&[cell.verb], "key:", Keys::random(keys, seed), VALUE_BYTES);
    let warm = engine.closed(&mut commands, cell.pipeline, (cell.ops / 20).max(2_000))?;
    check(server, cell.verb, &warm, VALUE_BYTES)?;
    pair.level()?;
    let copies = server.admin()?.copies()?;
    let before = [Cpu::of(server.pid)?, Cpu::of(pair.replica.pid)?];
    let closed = engine.closed(&mut commands, cell.pipeline, cell.ops)?;
    pair.level()?;
    let after = [Cpu::of(server.pid)?, Cpu::of(pair.replica.pid)?];
    check(server, cell.verb, &closed, VALUE_BYTES)?;
    if server.admin()?.copies()? != copies {
        return Err(io::Error::other(format!(
            "{}: the replica fell behind and was copied to anew",
            server.name
        )));
    }
    let us = |at: usize| after[at].since(&before[at]) as f64 / 1e3 / closed.ops as f64;
    let (primary, replica) = (us(0), us(1));
    let latency = Latency::of(&closed.latency);
    let kops = closed.ops as f64 / 1e3 / closed.took.as_secs_f64();
    runs.primary.push(primary, kops, latency);
    runs.replica_us.push(replica);
    Ok(format!(
        "{:<8} {} P{:<3} primary {} us, replica {} us CPU/op, {} kops/s, {latency}",
        server.name,
        cell.verb.name(),
        cell.pipeline,
        short(primary),
        short(replica),
        short(kops)
    ))
}

fn rows((pipeline, _, of_primary, of_replica): (usize, u64, f64, f64), runs: [PairRuns; 2]) -> [Row; 2] {
    let [ours, theirs] = runs;
    let notes = vec![note("capstan", &ours.primary), note("redis  ", &theirs.primary)];
    let row = |who: &str, ours: Vec<f64>, theirs: Vec<f64>, bound, notes| Row {
        name: format!("SET pipeline {pipeline}, {who}"),
        unit: "us of its CPU an operation",
        result: paired_ratio(&ours, &theirs),
        bound: Some(bound),
        notes,
        capstan: ours,
        redis: theirs,
    };
    [
        row("primary", ours.primary.cpu_us, theirs.primary.cpu_us, of_primary, notes),
        row("replica", ours.replica_us, theirs.replica_us, of_replica, vec![]),
    ]
}
