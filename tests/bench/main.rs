//! `capstan-bench`: Capstan beside Redis on this machine, in the same run, the two taking turns.
//!
//! Figures are ratios, because a machine is never the same twice; every single run is printed, and a bound that is
//! missed ends the program with code 1. What is compared by default: `capstan dev --shards 1` (a node of a real
//! cluster, serving under a lease, one worker) and `redis-server --cluster-enabled yes` without persistence.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program whose product is its output

mod commands;
mod engine;
mod paced;
mod proc;
mod replies;
mod report;
mod scenarios;
mod servers;
mod stats;

use clap::{Parser, Subcommand};
use report::{Report, Row};
use scenarios::tails::Phase;
use scenarios::{memory, ratios, tails};
use servers::{Kind, Running};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Capstan beside Redis, in the same run.
#[derive(Parser)]
#[command(name = "capstan-bench", about, long_about = None)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    /// Capstan's binary (default: CAPSTAN_BIN, else beside this program).
    #[arg(long, global = true)]
    capstan: Option<PathBuf>,
    /// Redis' binary (default: redis-server on the PATH).
    #[arg(long, global = true)]
    redis: Option<PathBuf>,
    /// A node alone instead of a node of a cluster: no lease is checked.
    #[arg(long, global = true)]
    emulated: bool,
    /// Redis on both sides: what differs then is noise.
    #[arg(long, global = true, conflicts_with = "emulated")]
    null: bool,
    /// Meta servers of the cluster.
    #[arg(long, global = true, default_value_t = 3)]
    meta: u16,
    /// How often the servers take turns.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Operations of each run, as a part of the usual number.
    #[arg(long, global = true, default_value_t = 1.0)]
    scale: f64,
    /// Where NAME.json and NAME.svg go.
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// Server CPU per SET and GET at pipeline 1, 16, 64; a million random keys, 32-byte values.
    Ratios {
        /// How many keys.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
    },
    /// The same with 16-KiB values.
    Large,
    /// Resident bytes per key at 1 and at 5 million keys.
    Memory,
    /// Other clients' p99.9 while a table of 5 million keys grows.
    Growth,
    /// Other clients' p99.9 during FLUSHALL of 5 million keys.
    Flushall,
    /// Growth and FLUSHALL, one after the other.
    Tails,
    /// All of the above in small: does it run, and what does it print? Bounds are shown, not enforced.
    Smoke,
    /// Everything.
    All,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("capstan-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> io::Result<bool> {
    let redis = Kind::redis(args.redis.clone())?;
    let ours = if args.null { redis.clone() } else { capstan(args)? };
    let kinds = [&ours, &redis];
    if args.scenario == Scenario::Smoke {
        smoke(args, kinds)?;
        return Ok(true);
    }
    let mut holds = true;
    let all = args.scenario == Scenario::All;
    if let Scenario::Ratios { keys } = args.scenario {
        holds &=
            with_servers(args, "ratios", kinds, &ratios::Plan::small_values(args.rounds, keys, args.scale))?;
    } else if all {
        holds &= with_servers(
            args,
            "ratios",
            kinds,
            &ratios::Plan::small_values(args.rounds, 1_000_000, args.scale),
        )?;
    }
    if all || args.scenario == Scenario::Large {
        holds &= with_servers(args, "large", kinds, &ratios::Plan::large_values(args.rounds, args.scale))?;
    }
    if all || args.scenario == Scenario::Memory {
        let rows = memory::run(kinds, &[1_000_000, 5_000_000], &mut say)?;
        let servers = [kinds[0].start()?, kinds[1].start()?];
        holds &= finish(args, "memory", &servers, rows)?;
    }
    if let Some((name, phases)) = phases(args.scenario) {
        let (keys, growth_rate, quiet) = (5_000_000, 200_000.0, Duration::from_secs(10));
        let plan = tails::Plan { phases, keys, growth_rate, rounds: args.rounds, quiet };
        let servers = [kinds[0].start()?, kinds[1].start()?];
        let rows = tails::run([&servers[0], &servers[1]], &plan, &mut say)?;
        holds &= finish(args, name, &servers, rows)?;
    }
    Ok(holds)
}

fn phases(scenario: Scenario) -> Option<(&'static str, Vec<Phase>)> {
    match scenario {
        Scenario::Growth => Some(("growth", vec![Phase::Growth])),
        Scenario::Flushall => Some(("flushall", vec![Phase::Flush])),
        Scenario::Tails | Scenario::All => Some(("tails", vec![Phase::Growth, Phase::Flush])),
        Scenario::Ratios { .. } | Scenario::Large | Scenario::Memory | Scenario::Smoke => None,
    }
}

fn capstan(args: &Args) -> io::Result<Kind> {
    let binary = match &args.capstan {
        Some(path) => path.clone(),
        None => capstan_tests::process::capstan_binary()?,
    };
    let binary = std::fs::canonicalize(binary)?;
    Ok(match args.emulated {
        true => Kind::CapstanEmulated { binary },
        false => Kind::CapstanCluster { binary, meta: args.meta },
    })
}

fn say(line: String) {
    println!("{line}");
}

fn with_servers(args: &Args, name: &str, kinds: [&Kind; 2], plan: &ratios::Plan) -> io::Result<bool> {
    let servers = [kinds[0].start()?, kinds[1].start()?];
    let rows = ratios::run([&servers[0], &servers[1]], plan, &mut say)?;
    finish(args, name, &servers, rows)
}

fn finish(args: &Args, name: &str, servers: &[Running; 2], rows: Vec<Row>) -> io::Result<bool> {
    let servers = servers.iter().map(Running::configuration).collect::<io::Result<_>>()?;
    let report = Report { scenario: name.to_owned(), machine: proc::Machine::look(), servers, rows };
    println!("{}", report.text());
    report.write(&args.out)?;
    println!("written: {}", args.out.join(format!("{name}.{{json,svg}}")).display());
    Ok(report.rows.iter().all(Row::holds))
}

/// Each scenario once, in small, within a minute or so.
fn smoke(args: &Args, kinds: [&Kind; 2]) -> io::Result<()> {
    let servers = [kinds[0].start()?, kinds[1].start()?];
    let both = [&servers[0], &servers[1]];
    let mut rows = ratios::run(both, &ratios::Plan::small_values(1, 200_000, 0.05), &mut say)?;
    rows.extend(ratios::run(both, &ratios::Plan::large_values(1, 0.05), &mut say)?);
    rows.extend(memory::run(kinds, &[200_000], &mut say)?);
    let (keys, growth_rate, quiet) = (200_000, 100_000.0, Duration::from_secs(1));
    let plan = tails::Plan { phases: vec![Phase::Growth, Phase::Flush], keys, growth_rate, rounds: 1, quiet };
    rows.extend(tails::run(both, &plan, &mut say)?);
    finish(args, "smoke", &servers, rows).map(|_| ())
}
