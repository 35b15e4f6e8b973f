//! The servers under assault: their processes, the data that must stay as it is, and the questions that they must
//! answer at any time.

use crate::port::{Port, Speaks};
use capstan_jepsen::connection::{CallError, Connection, Options};
use capstan_jepsen::resp::Value;
use capstan_tests::dev::DevCluster;
use capstan_tests::process::Server;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Keys that must keep their values.
const KEYS: usize = 2_000;

/// What is under assault.
pub(crate) struct Victim {
    node: SocketAddr,
    node_pid: u32,
    meta: Option<(SocketAddr, u32, PathBuf)>,
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
        let meta = (cluster.meta()[0], pid, cluster.binary().to_owned());
        Self::fill(cluster.nodes()[0], Some(meta)).await
    }

    async fn fill(node: SocketAddr, meta: Option<(SocketAddr, u32, PathBuf)>) -> io::Result<Self> {
        let mut victim = Self { node, node_pid: 0, meta };
        victim.node_pid = victim.pid_now().await?;
        let mut connection = victim.connect().await.map_err(io::Error::other)?;
        let sets: Vec<_> = (0..KEYS).map(|at| vec![b"SET".to_vec(), key(at), value(at)]).collect();
        let replies = connection.pipeline(&sets).await.map_err(io::Error::other)?;
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

    /// Resident bytes of the process behind a port.
    pub(crate) fn resident_bytes(&self, port: &Port) -> u64 {
        let pid = match (port.speaks, &self.meta) {
            (Speaks::MetaRaw | Speaks::MetaGreeted, Some((_, pid, _))) => *pid,
            (_, _) => self.node_pid,
        };
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
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
        let Some((address, pid, binary)) = &self.meta else { return Ok(()) };
        let mut command = Command::new(binary);
        command.args(["status", "--meta", &address.to_string(), "--json"]).stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            return Err(format!("capstan status failed: {}", String::from_utf8_lossy(&text)));
        }
        match std::fs::metadata(format!("/proc/{pid}")) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the meta server's process {pid} is gone")),
        }
    }
}

fn key(at: usize) -> Vec<u8> {
    format!("kept:{at}").into_bytes()
}

fn value(at: usize) -> Vec<u8> {
    format!("value {at} ").repeat(1 + at % 7).into_bytes()
}
