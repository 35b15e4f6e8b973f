//! `capstan-jepsen`: workloads against a cluster, under faults, and what became of what was acknowledged.
//!
//! `increments` counts up keys; `kills` does so while it kills the primaries in turn; both say per shard how long nothing
//! was acknowledged and per key what was lost. The same program runs against Capstan and against Redis: only addresses and
//! the list of processes differ. `redis-cluster` starts the latter.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program whose product is its output

mod facts;
mod kill;
mod ledger;
mod load;
mod marks;
mod redis_cluster;
mod report;
mod run;
mod shards;
mod svg;
mod timeline;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Workloads against a cluster of Capstan or Redis, under faults.
#[derive(Parser)]
#[command(name = "capstan-jepsen", version, about, long_about = None)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Increments random keys, then reads all of them and says what was lost
    Increments(Increments),
    /// The same while the primaries are killed in turn with SIGKILL
    Kills(Kills),
    /// Adds the present instant to a file of marks, for `increments --marks`
    Mark {
        /// The file
        file: PathBuf,
        /// What happens now
        label: String,
    },
    /// Starts a cluster of redis-server to compare with, until Ctrl-C
    RedisCluster(redis_cluster::Flags),
}

#[derive(clap::Args)]
struct Increments {
    #[command(flatten)]
    load: load::Flags,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Instants of faults, a line each: nanoseconds of CLOCK_BOOTTIME and what happened; read at the end
    #[arg(long)]
    marks: Option<PathBuf>,
    /// How long after a mark its consequences are looked for
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    window: u64,
    /// Where reports and raw files go
    #[arg(long)]
    out: PathBuf,
}

#[derive(clap::Args)]
struct Kills {
    #[command(flatten)]
    load: load::Flags,
    /// The list of processes: PORT PID a line, rewritten at each start
    #[arg(long)]
    pids: PathBuf,
    /// The shards whose primaries are killed in turn, counted from 0 in the order of their slots; all of them by default
    #[arg(long, value_delimiter = ',')]
    shards: Vec<usize>,
    /// How many kills
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// The least number of seconds from one kill to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    every: u64,
    /// The run ends if a shard has no served primary with a replica for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    ready_within: u64,
    /// Kill although there are no replicas: all data is lost, and the times are those of a restart
    #[arg(long)]
    without_replicas: bool,
    /// How long after a kill its consequences are looked for
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    window: u64,
    /// Where reports and raw files go
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let verb = Args::parse().verb;
    let runtime = match &verb {
        Verb::Increments(_) | Verb::Kills(_) | Verb::Mark { .. } => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        }
        Verb::RedisCluster(_) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let ended = runtime.map_err(|why| why.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            match verb {
                Verb::Increments(args) => run::increments(args).await,
                Verb::Kills(args) => run::kills(args).await,
                Verb::Mark { file, label } => marks::add(&file, &label).map_err(|why| why.to_string()),
                Verb::RedisCluster(flags) => redis_cluster::run(flags).await.map_err(|why| why.to_string()),
            }
        })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("capstan-jepsen: {why}");
            ExitCode::FAILURE
        }
    }
}
