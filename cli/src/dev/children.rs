//! The processes of a dev cluster: started, watched, started again with a growing pause, stopped in order.
//!
//! Each child has its own session (a Ctrl-C at the terminal reaches `dev` alone, which stops the others in order) and
//! is killed by the kernel when `dev` ends in whatever way; the child arranges both itself before anything else, see
//! `servers::die_with`. A data node is a supervisor, which says on its standard output which process serves at the moment; its
//! workers end with it.

use capstan_proto::env::{Boot, Env};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

/// The first pause before a child is started again; it doubles up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A child that lived this long is well: its next pause is the first again.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// A child that does not end within this after it was told to is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// A child that ends this often in a row before it was ever well makes the start fail.
pub(crate) const FAILURES_MAX: u32 = 5;

/// What a child does for the cluster; data nodes are stopped before meta servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Meta,
}

impl Kind {
    /// The whole cluster stops: no data node is to look for a successor first.
    const fn stopped_by(self) -> Signal {
        match self {
            Self::Node => Signal::INT,
            Self::Meta => Signal::TERM,
        }
    }
}

/// How far the cluster is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// A child that does not come up is an error; later it is a fault that passes.
    Forming,
    Running,
    StopNodes,
    StopAll,
    /// No more patience.
    KillAll,
}

impl Phase {
    fn ends(self, kind: Kind) -> bool {
        match kind {
            Kind::Node => self >= Self::StopNodes,
            Kind::Meta => self >= Self::StopAll,
        }
    }
}

/// A server to run.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// For people and for the name of its log.
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) args: Vec<String>,
    pub(crate) log: PathBuf,
}

/// Which processes run: `DIR/pids` has those that serve, `DIR/supervisors` those that start the data nodes' ones.
pub(crate) struct Lists {
    serving: Pids,
    supervisors: Pids,
}

impl Lists {
    pub(crate) fn new(env: &Env, dir: &Path) -> Rc<Self> {
        let list = |name: &str| Pids::new(env, dir.join(name));
        Rc::new(Self { serving: list("pids"), supervisors: list("supervisors") })
    }

    /// The list in which a child itself stands.
    fn of(&self, kind: Kind) -> &Pids {
        match kind {
            Kind::Node => &self.supervisors,
            Kind::Meta => &self.serving,
        }
    }
}

/// `PORT PID` of each process of a kind, replaced in one step at each change.
struct Pids {
    env: Env,
    path: PathBuf,
    running: RefCell<BTreeMap<u16, u32>>,
}

impl Pids {
    fn new(env: &Env, path: PathBuf) -> Self {
        Self { env: env.clone(), path, running: RefCell::default() }
    }

    fn kill(&self, port: u16) {
        let pid = self.running.borrow().get(&port).copied();
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // It may have ended at this moment.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn set(&self, port: u16, pid: Option<u32>) {
        let mut running = self.running.borrow_mut();
        match pid {
            Some(pid) => drop(running.insert(port, pid)),
            None => drop(running.remove(&port)),
        }
        let text: String = running.iter().map(|(port, pid)| format!("{port} {pid}\n")).collect();
        if let Err(why) = self.env.disk.replace(&self.path, text.as_bytes()) {
            tracing::warn!(path = %self.path.display(), %why, "the list of processes cannot be written");
        }
    }
}

/// Runs a server until the phase ends it. An error: it never came up.
pub(crate) async fn keep(
    env: Env,
    server: Server,
    lists: Rc<Lists>,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), String> {
    let mut pause = PAUSE_MIN;
    let (mut failures, mut ever_well) = (0, false);
    while !phase.borrow_and_update().ends(server.kind) {
        let started = env.clock.boot();
        let mut child = spawn(&server).map_err(|why| format!("{}: {why}", server.name))?;
        lists.of(server.kind).set(server.port, child.id());
        let told = child.stdout.take().map(|said| list_workers(said, server.port, Rc::clone(&lists)));
        let told = told.map(tokio::task::spawn_local);
        let ended = until_end(&server, &mut child, &lists, &mut phase).await;
        if let Some(told) = told {
            // Only the child had the other end.
            let _ = told.await;
        }
        lists.of(server.kind).set(server.port, None);
        let Some(status) = ended else { return Ok(()) };
        let well = lived(&env, started) >= WELL_AFTER;
        failures = if well { 0 } else { failures + 1 };
        ever_well |= well;
        if failures >= FAILURES_MAX && !ever_well && *phase.borrow() == Phase::Forming {
            return Err(format!(
                "{} ended {failures} times at its start ({status}):\n{}",
                server.name,
                tail(&server.log)
            ));
        }
        pause = if well { PAUSE_MIN } else { pause };
        tracing::warn!(server = server.name, %status, "ended; it is started again in {} ms", pause.as_millis());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut phase, server.kind) => return Ok(()),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Ok(())
}

/// The longest line that a supervisor says.
const LINE_MAX: u64 = 64;

/// Keeps the worker of a supervisor in the list, until the supervisor ends.
async fn list_workers(said: ChildStdout, port: u16, lists: Rc<Lists>) {
    let mut said = BufReader::new(said);
    let mut line = String::new();
    while (&mut said).take(LINE_MAX).read_line(&mut line).await.is_ok_and(|count| count > 0) {
        if let Some(pid) = line.trim_end().strip_prefix("worker ").and_then(|pid| pid.parse().ok()) {
            lists.serving.set(port, Some(pid));
        }
        line.clear();
    }
    lists.serving.set(port, None);
}

fn lived(env: &Env, started: Boot) -> Duration {
    env.clock.boot().since(started)
}

fn spawn(server: &Server) -> io::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&server.log)?;
    let stdout = match server.kind {
        Kind::Node => Stdio::piped(),
        Kind::Meta => log.try_clone()?.into(),
    };
    Command::new(std::env::current_exe()?)
        .args(&server.args)
        .arg(format!("--die-with={}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
}

/// How the child ended by itself, or nothing: it was stopped.
async fn until_end(
    server: &Server,
    child: &mut Child,
    lists: &Lists,
    phase: &mut watch::Receiver<Phase>,
) -> Option<ExitStatus> {
    tokio::select! {
        ended = child.wait() => return ended.ok(),
        () = stopped(phase, server.kind) => {}
    }
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It may have ended at this moment; then there is nothing to tell it.
        let _ = kill_process(pid, server.kind.stopped_by());
    }
    let killed = async {
        while *phase.borrow_and_update() < Phase::KillAll {
            if phase.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let gone = tokio::select! {
        gone = tokio::time::timeout(STOP_LIMIT, child.wait()) => gone.is_ok(),
        () = killed => false,
    };
    if !gone {
        tracing::warn!(server = server.name, "does not end: killed");
        // A worker that does not move would not notice the end of its supervisor either.
        lists.serving.kill(server.port);
        let _ = child.kill().await;
    }
    None
}

/// Returns when a server of this kind is to end.
async fn stopped(phase: &mut watch::Receiver<Phase>, kind: Kind) {
    while !phase.borrow_and_update().ends(kind) {
        if phase.changed().await.is_err() {
            return;
        }
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    const LINES: usize = 8;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8192)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_nodes_end_before_meta_servers() {
        assert!(Phase::StopNodes.ends(Kind::Node) && !Phase::StopNodes.ends(Kind::Meta));
        assert!(Phase::StopAll.ends(Kind::Meta) && Phase::KillAll.ends(Kind::Node));
        assert!(!Phase::Running.ends(Kind::Node));
    }

    #[test]
    fn the_list_of_processes_is_one_line_each() {
        let dir = tempfile::tempdir().expect("a folder");
        let pids = Pids::new(&Env::real(), dir.path().join("pids"));
        pids.set(7001, Some(11));
        pids.set(7000, Some(12));
        let read = || std::fs::read_to_string(dir.path().join("pids")).expect("written");
        assert_eq!(read(), "7000 12\n7001 11\n");
        pids.set(7001, None);
        assert_eq!(read(), "7000 12\n");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).expect("written");
        let shown = tail(&path);
        assert!(shown.starts_with("    line 92\n") && shown.ends_with("    line 99\n"), "{shown}");
        assert_eq!(tail(&dir.path().join("none")), "");
    }
}
