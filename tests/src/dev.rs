//! A whole cluster as real processes: `capstan dev` in a folder of its own, stopped as a person would stop it.

use crate::process::{capstan_binary, wait_until};
use capstan_proto::env::{Random, RealRandom};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long the cluster may take until it serves every slot and every replica is whole.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Where the meta servers' ports begin, from the first data node's.
const META_PORTS: u16 = 50;
/// A data node's peer port, from its client port.
const PEER_PORTS: u16 = 10_000;

/// What `capstan dev` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Shards, each with one primary.
    pub shards: u16,
    /// Replicas of each.
    pub replicas: u16,
    /// Meta servers.
    pub meta: u16,
}

/// A running cluster.
pub struct DevCluster {
    child: Child,
    binary: PathBuf,
    base: u16,
    shape: Shape,
    folder: tempfile::TempDir,
    args: Vec<String>,
}

impl DevCluster {
    /// Starts one and waits until it is ready; `args` come after the usual ones.
    pub fn start(shape: Shape, args: &[&str]) -> io::Result<Self> {
        let binary = capstan_binary()?;
        let folder = tempfile::tempdir()?;
        let base = free_base(shape)?;
        let args = args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let child = spawn(&binary, folder.path(), base, shape, &args)?;
        let mut cluster = Self { child, binary, base, shape, folder, args };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Starts it again on its folder, after [`DevCluster::stop`], and waits until it is ready.
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.binary, self.folder.path(), self.base, self.shape, &self.args)?;
        self.wait_ready()
    }

    /// Stops it as Ctrl-C does, and waits for its end.
    pub fn stop(&mut self) -> io::Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::INT)?;
        }
        match wait_until(STOP_WITHIN, || !matches!(self.child.try_wait(), Ok(None))) {
            true => Ok(()),
            false => Err(io::Error::other("`capstan dev` does not stop")),
        }
    }

    /// Runs an admin verb against it.
    pub fn verb(&self, args: &[&str]) -> io::Result<Output> {
        let meta: Vec<String> = self.meta().iter().map(ToString::to_string).collect();
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--meta", &meta.join(",")]).arg("--secret-file").arg(self.secret_file());
        command.stdin(Stdio::null()).output()
    }

    /// The process that serves on each port, as `DIR/pids` has it now.
    #[must_use]
    pub fn serving(&self) -> BTreeMap<u16, u32> {
        list(&self.folder().join("pids"))
    }

    /// The supervisor of each data node, as `DIR/supervisors` has it now.
    #[must_use]
    pub fn supervisors(&self) -> BTreeMap<u16, u32> {
        list(&self.folder().join("supervisors"))
    }

    /// What a server has logged: `node-PORT`, `meta-ID`.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join("logs").join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The client ports of the data nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<SocketAddr> {
        let count = self.shape.shards * (1 + self.shape.replicas);
        (0..count).map(|at| SocketAddr::from(([127, 0, 0, 1], self.base + at))).collect()
    }

    /// The peer ports of the data nodes.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.nodes().iter().map(|node| SocketAddr::new(node.ip(), node.port() + PEER_PORTS)).collect()
    }

    /// The meta servers.
    #[must_use]
    pub fn meta(&self) -> Vec<SocketAddr> {
        (0..self.shape.meta)
            .map(|at| SocketAddr::from(([127, 0, 0, 1], self.base + META_PORTS + at)))
            .collect()
    }

    /// The binary that it runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder of the cluster.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// The file with the cluster secret that `capstan dev` made.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.folder().join("secret")
    }

    /// What all its processes printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// The processes below `capstan dev` whose command line has this word: `node`, `meta`.
    pub fn pids(&self, word: &str) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut open = vec![self.child.id()];
        while let Some(pid) = open.pop() {
            let children = children_of(pid)?;
            for child in children {
                open.push(child);
                let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                if line.split(|&b| b == 0).any(|arg| arg == word.as_bytes()) {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    /// The process that serves a port, as `DIR/pids` names it.
    #[must_use]
    pub fn pid_at(&self, port: u16) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder().join("pids")).ok()?;
        let mut rows = text.lines().filter_map(|line| line.split_once(' '));
        let (_, pid) = rows.find(|(at, _)| at.parse() == Ok(port))?;
        pid.parse().ok()
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let output = self.folder.path().join("output");
        let mut ended = false;
        let ready = wait_until(READY_WITHIN, || {
            ended = !matches!(self.child.try_wait(), Ok(None));
            ended || std::fs::read_to_string(&output).is_ok_and(|text| text.contains("ready after"))
        });
        if ready && !ended {
            return Ok(());
        }
        Err(io::Error::other(format!("`capstan dev` is not ready; its output:\n{}", self.output())))
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if !wait_until(STOP_WITHIN, || !matches!(self.child.try_wait(), Ok(None))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn spawn(binary: &Path, folder: &Path, base: u16, shape: Shape, args: &[String]) -> io::Result<Child> {
    let log = std::fs::File::create(folder.join("output"))?;
    let mut command = Command::new(binary);
    command.arg("dev").args(["--port", &base.to_string()]).arg("--dir").arg(folder.join("cluster"));
    command.args(["--shards", &shape.shards.to_string(), "--replicas", &shape.replicas.to_string()]);
    command.args(["--meta", &shape.meta.to_string()]).args(args);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// `PORT PID` a line.
fn list(path: &Path) -> BTreeMap<u16, u32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pair = |line: &str| {
        let (port, pid) = line.split_once(' ')?;
        Some((port.parse().ok()?, pid.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// The children of a process, by every thread of it.
fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        all.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(all)
}

/// A first port so that all ports of the shape are free now, below the ephemeral range.
fn free_base(shape: Shape) -> io::Result<u16> {
    let nodes = shape.shards * (1 + shape.replicas);
    for _ in 0..200 {
        let base = 11_000 + (RealRandom.u64() % 1_080) as u16 * 10;
        let clients = base..base + nodes;
        let ports = clients.clone().chain(clients.map(|port| port + PEER_PORTS));
        let mut ports = ports.chain(base + META_PORTS..base + META_PORTS + shape.meta);
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    Err(io::Error::other("no free ports between 11000 and 22000"))
}
