//! The two workloads from start to end: who serves what, the load, the faults, the last reads, the files of the report.

use crate::kill::{Kill, Plan, Replicas};
use crate::ledger::{Ledger, Verdict};
use crate::load::{Flags, Load, Shared};
use crate::report::{self, Outage, Totals};
use crate::{Increments, Kills, facts, marks, shards, svg};
use capstan_jepsen::cluster::ClusterClient;
use capstan_proto::env::{Boot, Clock, Random, RealClock, RealRandom};
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// The load runs so long before the first fault.
const WARM_UP: Duration = Duration::from_secs(3);
/// Every key must be readable within this at the end.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Before a kill so much is kept of the acknowledgements by the millisecond, and after it so much.
const RAW_BEFORE: Duration = Duration::from_millis(500);
const RAW_AFTER: Duration = Duration::from_secs(10);
/// The plot over time counts in spans of so many milliseconds.
const SPAN_MS: usize = 200;

fn now() -> Boot {
    RealClock.boot()
}

/// A run that is under way: its load, and what it writes to.
struct Run<'a> {
    flags: &'a Flags,
    out: &'a Path,
    servers: Vec<facts::Server>,
    lines: Vec<String>,
}

/// What a program reads of a run.
#[derive(Serialize)]
struct Summary<'a> {
    flags: &'a Flags,
    servers: &'a [facts::Server],
    seconds: f64,
    counts: crate::load::Counts,
    totals: Totals,
    /// Of each shard, over the whole run, in milliseconds.
    longest_silences: Vec<f64>,
    median_silence_ms: Option<f64>,
    worst_silences_ms: Vec<f64>,
    outages: &'a [Outage],
}

impl<'a> Run<'a> {
    /// Looks at the cluster and starts the load.
    async fn begin(flags: &'a Flags, out: &'a Path) -> Result<(Self, Load), String> {
        std::fs::create_dir_all(out).map_err(|why| format!("{}: {why}", out.display()))?;
        let options = flags.options();
        let ranges = facts::slots(&flags.nodes, &options).await.map_err(|error| error.to_string())?;
        let servers = facts::servers(&flags.nodes, &options).await.map_err(|error| error.to_string())?;
        let mut shards = shards::of(&ranges);
        let name = format!("{:08x}", RealRandom.u64() as u32);
        let ledger = Ledger::new(shards::name_keys(&mut shards, &name, flags.keys));
        let mut run = Self { flags, out, servers, lines: Vec::new() };
        run.introduce(shards.len(), ledger.len());
        Ok((run, Load::start(flags, shards, ledger)))
    }

    fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        println!("{line}");
        self.lines.push(line);
    }

    fn introduce(&mut self, shards: usize, keys: usize) {
        for server in self.servers.clone() {
            let software = match &server.capstan_version {
                Some(version) => format!("Capstan {version}"),
                None => format!("Redis {}", server.redis_version),
            };
            self.say(format!(
                "{}: {software}, cluster-node-timeout {} ms",
                server.address, server.node_timeout_ms
            ));
        }
        let flags = self.flags;
        let rate = if flags.rate == 0 { "no limit".to_owned() } else { format!("{} a second", flags.rate) };
        self.say(format!(
            "{} clients with a connection to each of {shards} shards, {keys} keys, rate: {rate}, at most {} commands at once",
            flags.clients, flags.pipeline
        ));
        self.say(format!(
            "client timeouts: connect {} ms, reply {} ms, pause after a refusal {} ms",
            flags.connect_timeout, flags.reply_timeout, flags.pause
        ));
    }

    /// Ends the load, reads every key, writes everything down.
    async fn finish(&mut self, load: Load, kills: &[Kill], window: Duration) -> Result<(), String> {
        let end = now();
        let shared = load.end().await;
        let seconds = end.since(shared.begun()).as_secs_f64();
        let verdicts = read_all(self.flags, &shared).await?;
        let (counts, totals) = (shared.counts(), report::totals(&verdicts));
        let outages = report::outages(&shared, kills, end, window);
        if !outages.is_empty() {
            report::table(&outages).into_iter().for_each(|line| self.say(line));
            self.say(report::summary_of(&outages));
        }
        report::counts(&counts, &totals, seconds).into_iter().for_each(|line| self.say(line));
        let longest_silences = report::silences(&shared, shared.begun(), end);
        for (shard, ms) in longest_silences.iter().enumerate() {
            self.say(format!("shard {shard}: longest silence of the whole run {ms:.1} ms"));
        }
        if let Some(error) = shared.strange() {
            self.say(format!("the first error that no client expects: {error}"));
        }
        let silences: Vec<f64> = outages.iter().map(|outage| outage.longest_silence_ms).collect();
        let summary = Summary {
            flags: self.flags,
            servers: &self.servers,
            seconds,
            counts,
            totals,
            longest_silences,
            median_silence_ms: report::median(&silences),
            worst_silences_ms: report::worst(&silences, 2),
            outages: &outages,
        };
        self.write(&shared, &summary, &verdicts, kills, end)
            .map_err(|why| format!("{}: {why}", self.out.display()))
    }

    fn write(
        &self,
        shared: &Shared,
        summary: &Summary<'_>,
        verdicts: &[Verdict],
        kills: &[Kill],
        end: Boot,
    ) -> io::Result<()> {
        let file = |name: &str| std::fs::File::create(self.out.join(name)).map(BufWriter::new);
        serde_json::to_writer_pretty(file("summary.json")?, summary)?;
        let mut keys = file("keys.csv")?;
        writeln!(keys, "key,acknowledged,unknown,value,lost,surplus")?;
        for row in verdicts {
            let Verdict { key, acknowledged, unknown, value, lost, surplus } = row;
            writeln!(keys, "{key},{acknowledged},{unknown},{value},{lost},{surplus}")?;
        }
        keys.flush()?;
        if !kills.is_empty() {
            let mut raw = file("kills.jsonl")?;
            for outage in summary.outages {
                serde_json::to_writer(&mut raw, outage)?;
                writeln!(raw)?;
            }
            raw.flush()?;
            write_acknowledgements(shared, kills, file("acknowledgements.csv")?)?;
            let bars: Vec<(usize, f64)> =
                summary.outages.iter().map(|outage| (outage.shard, outage.longest_silence_ms)).collect();
            let title = "Longest time without an acknowledged operation on the shard's keys, from SIGKILL";
            std::fs::write(
                self.out.join("silences.svg"),
                svg::bars(title, &bars, summary.median_silence_ms),
            )?;
        }
        std::fs::write(self.out.join("rates.svg"), rates(shared, kills, end))?;
        std::fs::write(self.out.join("report.txt"), self.lines.join("\n") + "\n")
    }
}

/// The acknowledgements of a killed primary's shard, in each millisecond around the kill.
fn write_acknowledgements(shared: &Shared, kills: &[Kill], mut file: impl Write) -> io::Result<()> {
    writeln!(file, "kill,shard,ms_from_kill,acknowledged")?;
    for (number, kill) in kills.iter().enumerate() {
        let from = Boot(kill.at.0.saturating_sub(RAW_BEFORE.as_nanos() as u64)).max(shared.begun());
        let before = kill.at.since(from).as_millis() as i64;
        let counts = shared.timeline(kill.shard).counts(from, kill.at.after(RAW_AFTER), 1);
        for (ms, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            writeln!(file, "{},{},{},{count}", number + 1, kill.shard, ms as i64 - before)?;
        }
    }
    file.flush()
}

fn rates(shared: &Shared, kills: &[Kill], end: Boot) -> String {
    let per_second = 1000.0 / SPAN_MS as f64;
    let shard = |shard| {
        let counts = shared.timeline(shard).counts(shared.begun(), end, SPAN_MS);
        counts.into_iter().map(|count| f64::from(count) * per_second).collect()
    };
    let shards: Vec<Vec<f64>> = (0..shared.shards.len()).map(shard).collect();
    let marks: Vec<(usize, f64)> =
        kills.iter().map(|kill| (kill.shard, kill.at.since(shared.begun()).as_secs_f64())).collect();
    svg::rates("Acknowledged operations a second, by shard", &shards, SPAN_MS as f64 / 1000.0, &marks)
}

/// Reads every key, once nobody writes any more.
async fn read_all(flags: &Flags, shared: &Shared) -> Result<Vec<Verdict>, String> {
    let deadline = now().after(READ_WITHIN);
    let mut client =
        ClusterClient::connect(&flags.nodes, flags.options()).await.map_err(|e| e.to_string())?;
    let mut verdicts = Vec::with_capacity(shared.ledger.len());
    for key in 0..shared.ledger.len() {
        let name = shared.ledger.name(key);
        let value = loop {
            match client.call(name.as_bytes(), &["GET", name]).await {
                // A read may be asked for again, whatever became of the last one.
                Err(error) if now() > deadline => return Err(format!("{name} cannot be read: {error}")),
                Err(_) => {
                    tokio::time::sleep(flags.options().pause).await;
                    // It is asked for again in any case.
                    let _ = client.refresh().await;
                }
                Ok(reply) => match (reply.error(), reply.integer()) {
                    (Some(error), _) => return Err(format!("{name} cannot be read: {error}")),
                    (None, value) => break value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0),
                },
            }
        };
        verdicts.push(shared.ledger.judge(key, value));
    }
    Ok(verdicts)
}

/// `capstan-jepsen increments`
pub(crate) async fn increments(args: Increments) -> Result<(), String> {
    let (mut run, load) = Run::begin(&args.load, &args.out).await?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let window = Duration::from_secs(args.window);
    if let Some(path) = &args.marks {
        let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        let found = marks::read(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        let end = now();
        for mark in found.iter().filter(|mark| mark.at >= load.shared.begun()) {
            let silences = report::silences(&load.shared, mark.at, mark.at.after(window).min(end));
            let silences: Vec<String> = silences.iter().map(|ms| format!("{ms:.1}")).collect();
            let label = &mark.label;
            run.say(format!(
                "{} {label}: longest silence of each shard {} ms",
                mark.at.0,
                silences.join(", ")
            ));
        }
    }
    run.finish(load, &[], window).await
}

/// `capstan-jepsen kills`
pub(crate) async fn kills(args: Kills) -> Result<(), String> {
    let (mut run, load) = Run::begin(&args.load, &args.out).await?;
    let count = load.shared.shards.len();
    let chosen = if args.shards.is_empty() { (0..count).collect() } else { args.shards.clone() };
    if let Some(shard) = chosen.iter().find(|shard| **shard >= count) {
        return Err(format!("there is no shard {shard}: the cluster has {count}, from 0"));
    }
    tokio::time::sleep(WARM_UP).await;
    let plan = Plan {
        nodes: run
            .servers
            .iter()
            .map(|server| server.address.clone())
            .chain(args.load.nodes.clone())
            .collect(),
        options: args.load.options(),
        pids: args.pids.clone(),
        shards: chosen,
        kills: args.kills,
        every: Duration::from_secs(args.every),
        ready_within: Duration::from_secs(args.ready_within),
        replicas: if args.without_replicas { Replicas::None } else { Replicas::Needed },
    };
    let mut killed = Vec::new();
    let told = |kill: &Kill| {
        println!("SIGKILL to {} (process {}), primary of shard {}", kill.node, kill.pid, kill.shard);
        killed.push(kill.clone());
    };
    let ended = plan.run(&load.shared, told).await;
    // What was seen until then is written down, however it ended.
    run.finish(load, &killed, Duration::from_secs(args.window)).await?;
    ended.map(drop)
}
