//! The servers that are compared: real processes on loopback, in folders of their own, stopped by pid.

use crate::admin::{Admin, info_field};
use crate::process::Process;
use capstan_jepsen::resp::Value;
use capstan_tests::process::{free_port, on_path, wait_until};
use serde::Serialize;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server may take to serve its slots.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);
/// A question while servers come and go.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
/// Where the ports of the meta servers of `capstan dev` begin.
const META_PORTS: u16 = 50;
/// The ports between servers, from those for clients.
const PEER_PORTS: u16 = 10_000;

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `capstan dev --shards 1`: a node of a real cluster, serving under a lease.
    CapstanCluster {
        /// The binary.
        binary: PathBuf,
        /// How many meta servers.
        meta: u16,
    },
    /// `capstan node` alone: no meta group, no lease.
    CapstanEmulated {
        /// The binary.
        binary: PathBuf,
    },
    /// `redis-server` in cluster mode with all slots, without persistence.
    Redis {
        /// The binary.
        binary: PathBuf,
    },
}

/// What the figures belong to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Configuration {
    /// `capstan` or `redis`.
    pub(crate) name: String,
    /// As `INFO server` says.
    pub(crate) version: String,
    /// The command line.
    pub(crate) command: String,
    /// `CONFIG GET *` of the serving process.
    pub(crate) settings: Vec<(String, String)>,
}

/// One process that answers clients.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// For tables.
    pub(crate) name: &'static str,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// The process that serves.
    pub(crate) pid: u32,
    /// What started it.
    pub(crate) command: String,
}

/// A server that serves all slots, without a replica.
pub(crate) struct Running {
    /// What the figures are about.
    pub(crate) server: Server,
    // Stopped before its folder goes.
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Kind {
    /// Debian's redis-server, or the one named.
    pub(crate) fn redis(binary: Option<PathBuf>) -> io::Result<Self> {
        let binary = binary.or_else(|| on_path("redis-server"));
        binary.map(|binary| Self::Redis { binary }).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no redis-server on the PATH: apt install redis-server")
        })
    }

    /// For tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CapstanCluster { .. } | Self::CapstanEmulated { .. } => "capstan",
            Self::Redis { .. } => "redis",
        }
    }

    /// The command line; `capstan dev` brings the replicas with it, Redis' are servers of their own.
    pub(crate) fn command(&self, port: u16, dir: &Path, replicas: u16) -> Vec<String> {
        let dir = dir.display();
        let line = match self {
            Self::CapstanCluster { binary, meta } => {
                format!(
                    "{} dev --port {port} --dir {dir}/dev --shards 1 --replicas {replicas} --meta {meta}",
                    binary.display()
                )
            }
            Self::CapstanEmulated { binary } => {
                format!("{} node --port {port} --dir {dir}/node", binary.display())
            }
            // Redis would wait five seconds for more replicas before it copies to the first one.
            Self::Redis { binary } => format!(
                "{} --port {port} --bind 127.0.0.1 --dir {dir} --cluster-enabled yes --appendonly no --repl-diskless-sync-delay 0 --save  --daemonize no",
                binary.display()
            ),
        };
        // An empty word is an argument too: `--save ""`.
        line.split(' ').map(str::to_owned).collect()
    }

    /// A port from which on every port that it listens on is free.
    pub(crate) fn free_base(&self) -> io::Result<u16> {
        let offsets: Vec<u16> = match self {
            Self::CapstanCluster { meta, .. } => {
                [1, 1 + PEER_PORTS].into_iter().chain(META_PORTS..META_PORTS + meta).collect()
            }
            Self::CapstanEmulated { .. } | Self::Redis { .. } => vec![],
        };
        for _ in 0..100 {
            let base = free_port()?;
            if offsets.iter().all(|offset| TcpListener::bind(("127.0.0.1", base + offset)).is_ok()) {
                return Ok(base);
            }
        }
        Err(io::Error::other("no free ports"))
    }

    /// Starts it and waits until it serves every slot.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let folder = tempfile::tempdir()?;
        let port = self.free_base()?;
        let mut process = Process::start(self.command(port, folder.path(), 0), folder.path())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut assigned = matches!(self, Self::CapstanCluster { .. } | Self::CapstanEmulated { .. });
        process.await_ready(READY_MAX, || {
            let mut admin = Admin::patient(address, SHORT)?;
            if !assigned {
                admin.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
                assigned = true;
            }
            serves(&mut admin)
        })?;
        let mut admin = Admin::connect(address)?;
        admin.ok(&["FLUSHALL"])?;
        let server = Server { name: self.name(), address, pid: admin.pid()?, command: process.line() };
        Ok(Running { server, _process: process, _folder: folder })
    }
}

/// Fails unless every slot is served and writes are taken.
pub(crate) fn serves(admin: &mut Admin) -> io::Result<()> {
    let state = admin.text(&["CLUSTER", "INFO"])?;
    if !state.contains("cluster_state:ok") {
        return Err(io::Error::other(format!("CLUSTER INFO says {state:?}")));
    }
    admin.ok(&["SET", "ready", "yes"])
}

/// Tries until it succeeds or the time is over; fails with the last failure.
pub(crate) fn try_until<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut outcome = None;
    wait_until(limit, || {
        let tried = attempt();
        let done = tried.is_ok();
        outcome = Some(tried);
        done
    });
    match outcome {
        Some(Ok(value)) => Ok(value),
        Some(Err(why)) => Err(io::Error::other(format!("{what} within {limit:?}: {why}"))),
        None => Err(io::Error::other(format!("{what}: never tried"))),
    }
}

impl Server {
    /// A connection for questions.
    pub(crate) fn admin(&self) -> io::Result<Admin> {
        Admin::connect(self.address)
    }

    /// What it says about itself.
    pub(crate) fn configuration(&self) -> io::Result<Configuration> {
        let mut admin = self.admin()?;
        let info = admin.text(&["INFO", "server"])?;
        let field = |name| info_field(&info, name);
        let version = field("capstan_version").or_else(|| field("redis_version")).unwrap_or_default();
        let settings = admin.call(&["CONFIG", "GET", "*"])?;
        let texts: Vec<String> =
            settings.items().unwrap_or_default().iter().filter_map(Value::text).collect();
        let settings = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Ok(Configuration { name: self.name.into(), version, command: self.command.clone(), settings })
    }
}
