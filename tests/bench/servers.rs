//! The servers that are compared: real processes on loopback, in folders of their own, stopped by pid.

use capstan_jepsen::resp::{Decoder, Value, encode_command};
use capstan_tests::process::{free_port, on_path, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may take to serve its slots.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long one may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// FLUSHALL of some million keys may take seconds.
const REPLY_MAX: Duration = Duration::from_secs(120);

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

/// A server that serves all slots.
pub(crate) struct Running {
    /// For tables.
    pub(crate) name: &'static str,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// The process that serves.
    pub(crate) pid: u32,
    child: Child,
    command: Vec<String>,
    folder: tempfile::TempDir,
}

impl Kind {
    /// Debian's redis-server, or the one named.
    pub(crate) fn redis(binary: Option<PathBuf>) -> io::Result<Self> {
        let binary = binary.or_else(|| on_path("redis-server"));
        binary.map(|binary| Self::Redis { binary }).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no redis-server on the PATH: apt install redis-server")
        })
    }

    fn command(&self, port: u16, dir: &Path) -> Vec<String> {
        let dir = dir.display();
        let line = match self {
            Self::CapstanCluster { binary, meta } => {
                format!(
                    "{} dev --port {port} --dir {dir}/dev --shards 1 --replicas 0 --meta {meta}",
                    binary.display()
                )
            }
            Self::CapstanEmulated { binary } => {
                format!("{} node --port {port} --dir {dir}/node", binary.display())
            }
            Self::Redis { binary } => format!(
                "{} --port {port} --bind 127.0.0.1 --dir {dir} --cluster-enabled yes --appendonly no --save  --daemonize no",
                binary.display()
            ),
        };
        // An empty word is an argument too: `--save ""`.
        line.split(' ').map(str::to_owned).collect()
    }

    /// Starts it and waits until it serves every slot.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let command = self.command(port, folder.path());
        let log = std::fs::File::create(folder.path().join("output"))?;
        let child = Command::new(&command[0])
            .args(&command[1..])
            // One worker, by the one name that a setting has everywhere.
            .env("CAPSTAN_WORKER_THREADS", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let name = if let Self::Redis { .. } = self { "redis" } else { "capstan" };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut running = Running { name, address, pid: child.id(), child, command, folder };
        running.wait_ready(name == "redis")?;
        let info = running.admin()?.text(&["INFO", "server"])?;
        let pid = info_field(&info, "process_id").and_then(|pid| pid.parse().ok());
        running.pid = pid.ok_or_else(|| io::Error::other("INFO names no process_id"))?;
        Ok(running)
    }
}

impl Running {
    /// A connection for questions.
    pub(crate) fn admin(&self) -> io::Result<Admin> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(REPLY_MAX))?;
        Ok(Admin { stream, decoder: Decoder::default() })
    }

    fn wait_ready(&mut self, assign_slots: bool) -> io::Result<()> {
        let mut assigned = !assign_slots;
        let mut ended = None;
        let ready = wait_until(READY_MAX, || {
            ended = self.child.try_wait().ok().flatten();
            let Ok(mut admin) = self.admin() else { return ended.is_some() };
            if !assigned {
                let slots = admin.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
                assigned = slots.is_ok_and(|reply| reply.is_ok());
            }
            let state = admin.text(&["CLUSTER", "INFO"]).unwrap_or_default();
            let written = admin.call(&["SET", "ready", "yes"]).is_ok_and(|reply| reply.is_ok());
            ended.is_some() || (state.contains("cluster_state:ok") && written)
        });
        if ready && ended.is_none() {
            self.admin()?.call(&["FLUSHALL"])?;
            return Ok(());
        }
        let output = std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
        let last: Vec<&str> = output.lines().rev().take(20).collect();
        let output = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(io::Error::other(format!(
            "`{}` does not serve every slot; its output:\n{output}",
            self.command.join(" ")
        )))
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
        Ok(Configuration { name: self.name.into(), version, command: self.command.join(" "), settings })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `capstan dev` stops its children in order; a SIGKILL would leave that to the kernel.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut ended = false;
        wait_until(STOP_MAX, || {
            ended = matches!(self.child.try_wait(), Ok(Some(_)));
            ended
        });
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The value of a line `name:value` of INFO.
pub(crate) fn info_field(info: &str, name: &str) -> Option<String> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

/// A connection that asks one thing at a time.
pub(crate) struct Admin {
    stream: TcpStream,
    decoder: Decoder,
}

impl Admin {
    /// Asks. An error reply is a reply.
    pub(crate) fn call(&mut self, args: &[&str]) -> io::Result<Value> {
        let mut bytes = Vec::new();
        encode_command(args, &mut bytes);
        self.stream.write_all(&bytes)?;
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(value) = self.decoder.decode().map_err(io::Error::other)? {
                return Ok(value);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.feed(&buffer[..count]),
            }
        }
    }

    /// Asks for a text.
    pub(crate) fn text(&mut self, args: &[&str]) -> io::Result<String> {
        let reply = self.call(args)?;
        let text = if reply.error().is_none() { reply.text() } else { None };
        text.ok_or_else(|| io::Error::other(format!("{args:?} gave {reply:?}")))
    }

    /// How many keys there are.
    pub(crate) fn keys(&mut self) -> io::Result<u64> {
        let reply = self.call(&["DBSIZE"])?;
        let count = reply.integer().and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| io::Error::other(format!("DBSIZE gave {reply:?}")))
    }
}
