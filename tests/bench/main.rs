//! `capstan-bench`: Capstan beside Redis on this machine, in the same run, the two taking turns.
//!
//! Figures are ratios, because a machine is never the same twice; every single run is printed, and a bound that is
//! missed ends the program with code 1. What is compared by default: `capstan dev --shards 1` (a node of a real
//! cluster, serving under a lease, one worker) and `redis-server --cluster-enabled yes` without persistence.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program whose product is its output

mod admin;
mod commands;
mod engine;
mod paced;
mod pairs;
mod proc;
mod process;
mod replies;
mod report;
mod scenarios;
mod servers;
mod stats;

use capstan_proto::env::{Random, RealRandom};
use clap::{Parser, Subcommand};
use pairs::Pair;
use report::{Report, Row};
use scenarios::tails::Phase;
use scenarios::{kills, memory, ratios, replica, resync, tails};
use servers::{Configuration, Kind};
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
    /// Another build of Capstan in Redis' place, to compare the two: its columns are called redis all the same.
    #[arg(long, global = true, conflicts_with_all = ["null", "redis"])]
    beside: Option<PathBuf>,
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

#[derive(Subcommand, Clone, Copy)]
enum Scenario {
    /// Server CPU per SET and GET at pipeline 1, 16, 64; a million random keys, 32-byte values.
    Ratios {
        /// How many keys.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
        /// At this pipeline only.
        #[arg(long)]
        pipeline: Option<usize>,
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
    /// Server CPU per SET of a primary and of its replica at pipeline 1, 16, 64.
    Replica {
        /// How many keys.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
    },
    /// Acknowledged writes missing at the replica when the primary is killed -9 at pipeline 1 and 16.
    Kills {
        /// Kills of each server at each depth.
        #[arg(long, default_value_t = 20)]
        trials: usize,
        /// Draws the moments of the kills.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// A whole copy to a replica under load: seconds, clients' p99, memory of the source.
    Resync {
        /// How many keys.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
        /// Commands a second of the clients.
        #[arg(long, default_value_t = 20_000.0)]
        rate: f64,
    },
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
    let redis = match &args.beside {
        Some(binary) => capstan(args, Some(binary))?,
        None => Kind::redis(args.redis.clone())?,
    };
    let ours = if args.null { redis.clone() } else { capstan(args, args.capstan.as_ref())? };
    let kinds = [&ours, &redis];
    let scenarios = match args.scenario {
        Scenario::Smoke => return smoke(args, kinds).map(|()| true),
        Scenario::All => vec![
            Scenario::Ratios { keys: 1_000_000, pipeline: None },
            Scenario::Large,
            Scenario::Memory,
            Scenario::Tails,
            Scenario::Replica { keys: 1_000_000 },
            Scenario::Kills { trials: 20, seed: None },
            Scenario::Resync { keys: 1_000_000, rate: 20_000.0 },
        ],
        one => vec![one],
    };
    let mut holds = true;
    for scenario in scenarios {
        holds &= measure(args, kinds, scenario)?;
    }
    Ok(holds)
}

fn measure(args: &Args, kinds: [&Kind; 2], scenario: Scenario) -> io::Result<bool> {
    match scenario {
        Scenario::Ratios { keys, pipeline } => {
            let mut plan = ratios::Plan::small_values(args.rounds, keys, args.scale);
            plan.cells.retain(|cell| pipeline.is_none_or(|only| cell.pipeline == only));
            with_servers(args, "ratios", kinds, &plan)
        }
        Scenario::Large => {
            with_servers(args, "large", kinds, &ratios::Plan::large_values(args.rounds, args.scale))
        }
        Scenario::Memory => {
            let rows = memory::run(kinds, &[1_000_000, 5_000_000], &mut say)?;
            finish(args, "memory", configurations(kinds)?, rows)
        }
        Scenario::Growth => tails(args, "growth", kinds, vec![Phase::Growth]),
        Scenario::Flushall => tails(args, "flushall", kinds, vec![Phase::Flush]),
        Scenario::Tails => tails(args, "tails", kinds, vec![Phase::Growth, Phase::Flush]),
        Scenario::Replica { keys } => {
            let plan = replica::Plan { keys, rounds: args.rounds, scale: args.scale };
            let pairs = [Pair::start(kinds[0])?, Pair::start(kinds[1])?];
            let rows = replica::run([&pairs[0], &pairs[1]], plan, &mut say)?;
            finish(args, "replica", of_pairs(&pairs)?, rows)
        }
        Scenario::Kills { trials, seed } => {
            let plan = kills_plan(trials, seed);
            let configurations = of_pairs(&[Pair::start(kinds[0])?, Pair::start(kinds[1])?])?;
            finish(args, "kills", configurations, kills::run(kinds, plan, &mut say)?)
        }
        Scenario::Resync { keys, rate } => {
            let plan = resync::Plan { keys, rate, rounds: args.rounds, quiet: Duration::from_secs(5) };
            let [mut ours, mut redis] = [Pair::start(kinds[0])?, Pair::start(kinds[1])?];
            let rows = resync::run([&mut ours, &mut redis], plan, &mut say)?;
            finish(args, "resync", of_pairs(&[ours, redis])?, rows)
        }
        Scenario::Smoke | Scenario::All => Err(io::Error::other("made of other scenarios")),
    }
}

fn capstan(args: &Args, named: Option<&PathBuf>) -> io::Result<Kind> {
    let binary = match named {
        Some(path) => path.clone(),
        None => capstan_tests::process::capstan_binary()?,
    };
    let binary = std::fs::canonicalize(binary)?;
    Ok(match args.emulated {
        true => Kind::CapstanEmulated { binary },
        false => Kind::CapstanCluster { binary, meta: args.meta },
    })
}

fn kills_plan(trials: usize, seed: Option<u64>) -> kills::Plan {
    let seed = seed.unwrap_or_else(|| RealRandom.u64());
    say(format!("the moments of the kills: --seed {seed}"));
    kills::Plan { trials, seed }
}

fn say(line: String) {
    println!("{line}");
}

fn with_servers(args: &Args, name: &str, kinds: [&Kind; 2], plan: &ratios::Plan) -> io::Result<bool> {
    let running = [kinds[0].start()?, kinds[1].start()?];
    let servers = [&running[0].server, &running[1].server];
    let rows = ratios::run(servers, plan, &mut say)?;
    finish(args, name, vec![servers[0].configuration()?, servers[1].configuration()?], rows)
}

fn tails(args: &Args, name: &str, kinds: [&Kind; 2], phases: Vec<Phase>) -> io::Result<bool> {
    let (keys, growth_rate, quiet) = (5_000_000, 200_000.0, Duration::from_secs(10));
    let plan = tails::Plan { phases, keys, growth_rate, rounds: args.rounds, quiet };
    let running = [kinds[0].start()?, kinds[1].start()?];
    let servers = [&running[0].server, &running[1].server];
    let rows = tails::run(servers, &plan, &mut say)?;
    finish(args, name, vec![servers[0].configuration()?, servers[1].configuration()?], rows)
}

/// Of fresh servers of these kinds.
fn configurations(kinds: [&Kind; 2]) -> io::Result<Vec<Configuration>> {
    kinds.iter().map(|kind| kind.start()?.server.configuration()).collect()
}

fn of_pairs(pairs: &[Pair; 2]) -> io::Result<Vec<Configuration>> {
    let both = pairs.iter().map(Pair::configurations).collect::<io::Result<Vec<_>>>()?;
    Ok(both.into_iter().flatten().collect())
}

fn finish(args: &Args, name: &str, servers: Vec<Configuration>, rows: Vec<Row>) -> io::Result<bool> {
    let report = Report { scenario: name.to_owned(), machine: proc::Machine::look(), servers, rows };
    println!("{}", report.text());
    report.write(&args.out)?;
    println!("written: {}", args.out.join(format!("{name}.{{json,svg}}")).display());
    Ok(report.rows.iter().all(Row::holds))
}

/// Each scenario once, in small, within two minutes.
fn smoke(args: &Args, kinds: [&Kind; 2]) -> io::Result<()> {
    let running = [kinds[0].start()?, kinds[1].start()?];
    let both = [&running[0].server, &running[1].server];
    let mut servers = vec![both[0].configuration()?, both[1].configuration()?];
    let mut rows = ratios::run(both, &ratios::Plan::small_values(1, 200_000, 0.05), &mut say)?;
    rows.extend(ratios::run(both, &ratios::Plan::large_values(1, 0.05), &mut say)?);
    rows.extend(memory::run(kinds, &[200_000], &mut say)?);
    let (keys, growth_rate, quiet) = (200_000, 100_000.0, Duration::from_secs(1));
    let plan = tails::Plan { phases: vec![Phase::Growth, Phase::Flush], keys, growth_rate, rounds: 1, quiet };
    rows.extend(tails::run(both, &plan, &mut say)?);
    drop(running);
    if args.emulated {
        say("SKIPPED: a node alone has no replica".into());
    } else {
        rows.extend(smoke_of_pairs(kinds, &mut servers)?);
    }
    finish(args, "smoke", servers, rows).map(|_| ())
}

fn smoke_of_pairs(kinds: [&Kind; 2], servers: &mut Vec<Configuration>) -> io::Result<Vec<Row>> {
    let mut pairs = [Pair::start(kinds[0])?, Pair::start(kinds[1])?];
    servers.extend(of_pairs(&pairs)?);
    let plan = replica::Plan { keys: 100_000, rounds: 1, scale: 0.05 };
    let mut rows = replica::run([&pairs[0], &pairs[1]], plan, &mut say)?;
    let plan = resync::Plan { keys: 100_000, rate: 5_000.0, rounds: 1, quiet: Duration::from_secs(1) };
    rows.extend(resync::run(pairs.each_mut(), plan, &mut say)?);
    drop(pairs);
    rows.extend(kills::run(kinds, kills_plan(1, None), &mut say)?);
    Ok(rows)
}
