//! A dev cluster for a test: started, asked, stopped. It leaves no process and no folder behind.

use capstan_proto::env::{Clock, Random, RealClock, RealRandom};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_capstan");
/// On a busy machine with two cores six processes start slowly.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Dev {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Dev {
    /// A cluster without replicas that is ready.
    pub(crate) fn start() -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let port = free_ports();
            let child = spawn(&folder, &["--port", &port.to_string(), "--replicas", "0"]);
            let mut dev = Self { child, folder, port };
            match dev.until_ready() {
                Ok(()) => return dev,
                Err(output) if output.contains("in use") => said = output,
                Err(output) => panic!("the cluster did not get ready:\n{output}\n{}", dev.logs()),
            }
        }
        panic!("no free ports: {said}");
    }

    /// The same cluster again, after [`Dev::stop`].
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, &[]);
        if let Err(output) = self.until_ready() {
            panic!("the cluster did not get ready again:\n{output}\n{}", self.logs());
        }
    }

    /// What a second `capstan dev` on this folder says.
    pub(crate) fn second_start(&self) -> (i32, String) {
        let dir = self.dir().display().to_string();
        let output = Command::new(BINARY).args(["dev", "--dir", &dir]).output().expect("the binary runs");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Stops it as Ctrl-C or `kill` does; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        signal(self.pid(), Signal::TERM);
        let child = &mut self.child;
        assert!(
            wait_until(LIMIT, || child.try_wait().is_ok_and(|status| status.is_some())),
            "it does not stop"
        );
        self.child.wait().ok().and_then(|status| status.code())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&self, pid: u32) {
        signal(pid, Signal::KILL);
    }

    /// `DIR/pids`: the process of each port.
    pub(crate) fn children(&self) -> BTreeMap<u16, u32> {
        let text = std::fs::read_to_string(self.dir().join("pids")).unwrap_or_default();
        let pair = |line: &str| {
            let (port, pid) = line.split_once(' ')?;
            Some((port.parse().ok()?, pid.parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// Exit code, output and errors of an admin verb.
    pub(crate) fn verb(&self, args: &[&str]) -> (i32, String, String) {
        let meta: Vec<String> = (50..53).map(|above| format!("127.0.0.1:{}", self.port + above)).collect();
        let mut command = Command::new(BINARY);
        command.args(args).args(["--meta", &meta.join(",")]);
        command.arg("--secret-file").arg(self.dir().join("secret"));
        let output = command.stdin(Stdio::null()).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// What an admin verb answers with `--json`; it must end well.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.verb(&[args, &["--json"]].concat());
        assert_eq!(code, 0, "{args:?}: {out}{err}\n{}", self.logs());
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{args:?}: {why}: {out}"))
    }

    /// Waits for a condition; the logs are shown if it never comes.
    pub(crate) fn wait(&self, what: &str, done: impl FnMut() -> bool) {
        assert!(wait_until(LIMIT, done), "never: {what}\n{}", self.logs());
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    fn until_ready(&mut self) -> Result<(), String> {
        let output = self.folder.path().join("output");
        let child = &mut self.child;
        let mut ready = false;
        let settled = wait_until(LIMIT, || {
            ready = std::fs::read_to_string(&output).is_ok_and(|text| text.contains("ready after"));
            ready || child.try_wait().is_ok_and(|status| status.is_some())
        });
        if settled && ready { Ok(()) } else { Err(self.output()) }
    }

    fn logs(&self) -> String {
        let Ok(logs) = std::fs::read_dir(self.dir().join("logs")) else { return String::new() };
        let logs = logs.filter_map(Result::ok).map(|log| {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            format!("--- {}\n{last}\n", log.file_name().to_string_lossy())
        });
        logs.collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The children die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, more: &[&str]) -> Child {
    let output = std::fs::File::create(folder.path().join("output")).expect("a file");
    let mut command = Command::new(BINARY);
    command.args(["dev", "--dir"]).arg(folder.path().join("cluster")).args(more);
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file")).stderr(output);
    command.spawn().expect("the binary runs")
}

/// The first of a row of ports that nobody listens on: nodes, meta servers, peers.
fn free_ports() -> u16 {
    for _ in 0..200 {
        let port = 11_000 + (RealRandom.u64() % 1100) as u16 * 10;
        let wanted = (0..3).flat_map(|i| [port + i, port + 50 + i, port + 10_000 + i]);
        if wanted.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no free ports between 11000 and 22000");
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("our own process");
}

/// Whether a process runs; a zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = RealClock.boot();
    loop {
        if done() {
            return true;
        }
        if RealClock.boot().since(start) > limit {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
