//! A cluster of Debian's redis-server beside which ours is measured: primaries and one replica of each, every process by
//! its own folder, started again when it ends, and listed in `DIR/pids` as `capstan dev` lists its own.

use crate::facts;
use capstan_jepsen::connection::{CallError, Connection, Options};
use capstan_proto::slot::SLOTS;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Forming a cluster takes some seconds of gossip.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is started, and where.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    /// The first port; the others follow, and each one's bus is 10000 above it
    #[arg(long, default_value_t = 7400)]
    port: u16,
    /// Where its folders, logs and the list of processes go
    #[arg(long, default_value = "./redis-cluster")]
    dir: PathBuf,
    /// Primaries; each has one replica
    #[arg(long, default_value_t = 3)]
    shards: u16,
    /// cluster-node-timeout in milliseconds
    #[arg(long, default_value_t = 5000)]
    node_timeout: u64,
    /// A process that ended is started again after so many milliseconds. A primary that is back before its replica is
    /// elected stays primary, without any data
    #[arg(long, default_value_t = 15_000)]
    respawn_after: u64,
    /// The program
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
}

/// `DIR/pids`, replaced in one step at each change.
struct Pids {
    path: PathBuf,
    running: Mutex<BTreeMap<u16, u32>>,
}

impl Pids {
    fn set(&self, port: u16, pid: Option<u32>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match pid {
            Some(pid) => drop(running.insert(port, pid)),
            None => drop(running.remove(&port)),
        }
        let text: String = running.iter().map(|(port, pid)| format!("{port} {pid}\n")).collect();
        let fresh = self.path.with_extension("new");
        let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.path));
        if let Err(why) = written {
            eprintln!("{}: {why}", self.path.display());
        }
    }
}

/// Runs the cluster until Ctrl-C or SIGTERM. In a runtime of one thread: a process dies with the thread that started it.
pub(crate) async fn run(flags: Flags) -> io::Result<()> {
    println!("starting {} servers below {} ...", 2 * flags.shards, flags.dir.display());
    std::fs::create_dir_all(&flags.dir)?;
    let ports: Vec<u16> = (0..2 * flags.shards).map(|at| flags.port + at).collect();
    let pids = Arc::new(Pids { path: flags.dir.join("pids"), running: Mutex::default() });
    let mut keepers = tokio::task::JoinSet::new();
    for port in &ports {
        let child = spawn(&flags, *port)?;
        pids.set(*port, child.id());
        keepers.spawn(keep(flags.clone(), *port, child, Arc::clone(&pids)));
    }
    let formed = tokio::select! {
        biased;
        () = told_to_end() => return Ok(()),
        formed = tokio::time::timeout(READY_WITHIN, form(&ports, usize::from(flags.shards))) => formed,
    };
    match formed {
        Ok(Ok(())) => {
            println!("ready: {} primaries and as many replicas from port {}", flags.shards, flags.port)
        }
        Ok(Err(error)) => return Err(io::Error::other(error)),
        Err(_) => return Err(io::Error::other("the cluster did not form in time")),
    }
    told_to_end().await;
    // The processes end with their keepers.
    Ok(())
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn spawn(flags: &Flags, port: u16) -> io::Result<Child> {
    let folder = std::path::absolute(flags.dir.join(port.to_string()))?;
    std::fs::create_dir_all(&folder)?;
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    let timeout = flags.node_timeout.to_string();
    // It dies with this process, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(&flags.redis).args(["--port", &port.to_string()]);
    command.args(["--bind", "127.0.0.1", "--dir"]).arg(&folder);
    command.args(["--save", "", "--appendonly", "no", "--cluster-enabled", "yes"]);
    command.args(["--cluster-config-file", "nodes.conf", "--cluster-node-timeout", &timeout]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).spawn()
}

/// Starts a process again whenever it ends.
async fn keep(flags: Flags, port: u16, mut child: Child, pids: Arc<Pids>) {
    loop {
        let ended = child.wait().await;
        pids.set(port, None);
        eprintln!("the process at port {port} ended: {ended:?}");
        tokio::time::sleep(Duration::from_millis(flags.respawn_after)).await;
        match spawn(&flags, port) {
            Ok(again) => child = again,
            Err(why) => return eprintln!("the process at port {port} cannot be started again: {why}"),
        }
        pids.set(port, child.id());
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

async fn ask(port: u16, args: &[&str]) -> Result<String, CallError> {
    facts::text(&address(port), &Options::default(), args).await
}

/// Asks for something that must be done.
async fn must(port: u16, args: &[&str]) -> Result<(), String> {
    let mut connection =
        Connection::open(&address(port), &Options::default()).await.map_err(|error| error.to_string())?;
    let reply = connection.call(args).await.map_err(|error| error.to_string())?;
    if reply.is_ok() { Ok(()) } else { Err(format!("{args:?} at port {port} gave {reply:?}")) }
}

async fn until(mut so: impl AsyncFnMut() -> bool) {
    while !so().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Slots for the primaries, a replica for each, and everybody knows everybody. One that was formed before is taken as
/// it is.
async fn form(ports: &[u16], shards: usize) -> Result<(), String> {
    for port in ports {
        until(async || ask(*port, &["PING"]).await.is_ok()).await;
    }
    if !is_whole(ports, shards).await {
        for (at, port) in ports.iter().enumerate() {
            // Refused on a second start: it is set already.
            let _ = must(*port, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
            must(*port, &["CLUSTER", "MEET", "127.0.0.1", &ports[0].to_string()]).await?;
        }
        for (at, port) in ports[..shards].iter().enumerate() {
            let (first, last) = slots_of(at, shards);
            must(*port, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await?;
        }
        for (at, port) in ports[shards..].iter().enumerate() {
            let primary = ask(ports[at], &["CLUSTER", "MYID"]).await.map_err(|error| error.to_string())?;
            // It must have heard of its primary first.
            until(async || must(*port, &["CLUSTER", "REPLICATE", &primary]).await.is_ok()).await;
        }
    }
    until(async || is_whole(ports, shards).await).await;
    Ok(())
}

/// The slots of one of the shards.
fn slots_of(shard: usize, shards: usize) -> (usize, usize) {
    let slots = usize::from(SLOTS);
    (slots * shard / shards, slots * (shard + 1) / shards - 1)
}

async fn is_whole(ports: &[u16], shards: usize) -> bool {
    let mut primaries = 0;
    for port in ports {
        let info = ask(*port, &["CLUSTER", "INFO"]).await.unwrap_or_default();
        let ok = facts::field(&info, "cluster_state") == Some("ok");
        if !ok || facts::field(&info, "cluster_known_nodes") != Some(&ports.len().to_string()) {
            return false;
        }
        let replication = ask(*port, &["INFO", "replication"]).await.unwrap_or_default();
        primaries += usize::from(facts::following(&replication).is_some_and(|replicas| replicas > 0));
    }
    primaries == shards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_the_shards_are_all_slots_each_once() {
        let mut next = 0;
        for shard in 0..3 {
            let (first, last) = slots_of(shard, 3);
            assert_eq!(first, next);
            next = last + 1;
        }
        assert_eq!(next, 16384);
    }
}
