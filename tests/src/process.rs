//! Servers as real processes: a node of ours, or Debian's redis-server to compare with. Loopback only, a folder of
//! its own each, killed by pid when dropped.

use crate::wire::Wire;
use capstan_proto::env::{Clock, RealClock};
use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may take until it answers PING.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Peer ports are these plus 10000 and must stay below the ephemeral range.
const PORTS: std::ops::Range<u16> = 11_000..22_000;

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts `program` with arguments made from the port and the folder, and waits until it answers.
    pub fn start(program: &Path, args: impl Fn(u16, &Path) -> Vec<String>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let log = std::fs::File::create(folder.path().join("stdout.log"))?;
        let child = Command::new(program)
            .args(args(port, folder.path()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), folder };
        server.wait_ready()?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder: log and data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new connection to it.
    pub fn connect(&self) -> io::Result<Wire> {
        Wire::connect(self.address)
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let address = self.address;
        let answered = wait_until(READY_WITHIN, || {
            Wire::connect(address).and_then(|mut wire| wire.ask(&["PING"])).is_ok_and(|r| r == b"+PONG\r\n")
        });
        if answered {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.folder.path().join("stdout.log")).unwrap_or_default();
        Err(io::Error::other(format!("no PONG from {address}; its output:\n{log}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is yes or the time is over; says which.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = RealClock.boot();
    loop {
        if done() {
            return true;
        }
        if RealClock.boot().since(start) > limit {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> io::Result<u16> {
    use capstan_proto::env::{Random, RealRandom};
    for _ in 0..200 {
        let span = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + (RealRandom.u64() % span) as u16;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port between 11000 and 22000"))
}

/// Our binary: `CAPSTAN_BIN`, else the one beside the test executable.
pub fn capstan_binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CAPSTAN_BIN").filter(|p| !p.is_empty()) {
        return Ok(path.into());
    }
    let exe = std::env::current_exe()?;
    // A program lies in target/<profile> like capstan itself, a test in target/<profile>/deps.
    let mut beside = exe.ancestors().skip(1).take(2).map(|folder| folder.join("capstan"));
    beside.find(|path| path.is_file()).ok_or_else(|| {
        io::Error::other("no capstan binary: build it first (cargo build), or name it in CAPSTAN_BIN")
    })
}

/// A program on the PATH.
#[must_use]
pub fn on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program.as_ref())).find(|file| file.is_file())
}

/// A node alone that owns every slot.
pub fn capstan_node() -> io::Result<Server> {
    Server::start(&capstan_binary()?, |port, folder| {
        let dir = folder.join("data").display().to_string();
        ["node", "--port", &port.to_string(), "--dir", &dir].map(String::from).to_vec()
    })
}

/// Redis without persistence, with more settings of the caller's.
pub fn redis_server(program: &Path, settings: &[&str]) -> io::Result<Server> {
    Server::start(program, |port, folder| {
        let (port, dir) = (port.to_string(), folder.display().to_string());
        let fixed =
            ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir, "--save", "", "--appendonly", "no"];
        fixed.iter().chain(settings).map(|s| (*s).to_owned()).collect()
    })
}
