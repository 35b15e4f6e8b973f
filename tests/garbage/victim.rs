//! The servers under assault: their processes, the data that must stay as it is, and the questions that they must
//! answer at any time.

use crate::port::{Port, Speaks};
use capstan_jepsen::connection::{CallError, Connection, Options};
use capstan_jepsen::resp::Value;
use capstan_proto::env::{Clock, RealClock};
use capstan_tests::dev::DevCluster;
use capstan_tests::process::Server;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long free memory may take to go back.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// And so much may stay, well below what any assault may cost.
const SETTLED_BYTES: u64 = 8 << 20;
/// Keys that must keep their values.
const KEYS: usize = 2_000;

/// What is under assault.
pub(crate) struct Victim {
    node: SocketAddr,
    node_pid: u32,
    node_bytes: u64,
    meta: Option<Meta>,
}

/// A meta server, and how to ask it.
struct Meta {
    at: SocketAddr,
    pid: u32,
    bytes: u64,
    binary: PathBuf,
    secret_file: PathBuf,
}

impl Victim {
    /// A node alone.
    pub(crate) async fn alone(server: &Server) -> io::Result<Self> {
        Self::fill(server.address(), None).await
    }

    /// The first node and the first meta server of a cluster.
    pub(crate) async fn cluster(cluster: &DevCluster) -> io::Result<Self> {
        let pid = cluster.pids("meta")?.first().copied();
        let pid = pid.ok_or_else(|| io::Error::other("no process of a meta server below capstan dev"))?;
        let (at, binary, secret_file) =
            (cluster.meta()[0], cluster.binary().to_owned(), cluster.secret_file());
        Self::fill(
            cluster.nodes()[0],
            Some(Meta { at, pid, bytes: resident_bytes(pid), binary, secret_file }),
        )
        .await
    }

    async fn fill(node: SocketAddr, meta: Option<Meta>) -> io::Result<Self> {
        let mut victim = Self { node, node_pid: 0, node_bytes: 0, meta };
        victim.node_pid = victim.pid_now().await?;
        let mut connection = victim.connect().await.map_err(io::Error::other)?;
        let sets: Vec<_> = (0..KEYS).map(|at| vec![b"SET".to_vec(), key(at), value(at)]).collect();
        let replies = connection.pipeline(&sets).await.map_err(io::Error::other)?;
        victim.node_bytes = resident_bytes(victim.node_pid);
        match replies.into_iter().find(|reply| !reply.is_ok()) {
            None => Ok(victim),
            Some(reply) => Err(io::Error::other(format!("SET gave {reply:?}"))),
        }
    }

    /// A client's connection to the node.
    pub(crate) async fn connect(&self) -> Result<Connection, CallError> {
        let options = Options { reply_timeout: Duration::from_secs(10), ..Options::default() };
        Connection::open(&self.node.to_string(), &options).await
    }

    /// Asks the node for something that must succeed.
    pub(crate) async fn ask(&self, args: &[&str]) -> io::Result<Value> {
        let reply =
            self.connect().await.map_err(io::Error::other)?.call(args).await.map_err(io::Error::other)?;
        match reply.error() {
            None => Ok(reply),
            Some(error) => Err(io::Error::other(format!("{args:?} gave {error}"))),
        }
    }

    async fn pid_now(&self) -> io::Result<u32> {
        let info = self.ask(&["INFO", "server"]).await?.text().unwrap_or_default();
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        pid.ok_or_else(|| io::Error::other(format!("INFO names no process_id: {info:?}")))
    }

    /// The process behind a port, and its resident bytes before the first assault.
    fn process(&self, port: &Port) -> (u32, u64) {
        match (port.speaks, &self.meta) {
            (Speaks::MetaRaw | Speaks::MetaGreeted, Some(meta)) => (meta.pid, meta.bytes),
            (_, _) => (self.node_pid, self.node_bytes),
        }
    }

    /// Resident bytes of the process behind a port now.
    pub(crate) fn resident_bytes(&self, port: &Port) -> u64 {
        resident_bytes(self.process(port).0)
    }

    /// Resident bytes of the process behind a port before the first assault.
    pub(crate) fn baseline(&self, port: &Port) -> u64 {
        self.process(port).1
    }

    /// Waits until the process behind a port has given back what earlier assaults left free: a node keeps that for a
    /// while. If it stays, so be it: what is measured next tells.
    pub(crate) async fn settle(&self, port: &Port) -> io::Result<()> {
        if self.process(port).0 == self.node_pid {
            self.ask(&["MEMORY", "PURGE"]).await?;
        }
        let end = RealClock.boot().after(SETTLE_MAX);
        while self.resident_bytes(port) > self.baseline(port) + SETTLED_BYTES && RealClock.boot() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Every port answers, the data is as it was, and nobody was restarted. A port may need a moment to get rid of the
    /// connections of an assault: it is asked until the limit.
    pub(crate) async fn check(&self, limit: Duration) -> Result<(), String> {
        let answered = tokio::time::timeout(limit, async {
            loop {
                match self.pid_now().await {
                    Ok(pid) => return pid,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        let pid = answered.await.map_err(|_| format!("the node did not answer within {limit:?}"))?;
        if pid != self.node_pid {
            return Err(format!("the node's process {} was replaced by {pid}", self.node_pid));
        }
        self.check_data().await?;
        self.check_meta()
    }

    async fn check_data(&self) -> Result<(), String> {
        let mut connection = self.connect().await.map_err(|error| error.to_string())?;
        let gets: Vec<_> = (0..KEYS).map(|at| vec![b"GET".to_vec(), key(at)]).collect();
        let replies = connection.pipeline(&gets).await.map_err(|error| error.to_string())?;
        for (at, reply) in replies.iter().enumerate() {
            if !matches!(reply, Value::Bulk(bytes) if bytes.as_ref() == value(at)) {
                return Err(format!("key {at} is now {reply:?}"));
            }
        }
        Ok(())
    }

    /// A meta server answers when the command line can show the cluster's status.
    fn check_meta(&self) -> Result<(), String> {
        let Some(meta) = &self.meta else { return Ok(()) };
        let mut command = Command::new(&meta.binary);
        command.args(["status", "--meta", &meta.at.to_string(), "--json"]).stdin(Stdio::null());
        command.env("CAPSTAN_SECRET_FILE", &meta.secret_file);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            return Err(format!("capstan status failed: {}", String::from_utf8_lossy(&text)));
        }
        match std::fs::metadata(format!("/proc/{}", meta.pid)) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the meta server's process {} is gone", meta.pid)),
        }
    }
}

/// Exact: `VmRSS` of `status` lags behind by some pages a thread.
fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn key(at: usize) -> Vec<u8> {
    format!("kept:{at}").into_bytes()
}

fn value(at: usize) -> Vec<u8> {
    format!("value {at} ").repeat(1 + at % 7).into_bytes()
}
