//! A process with a folder of its own, stopped by pid.

use crate::servers::try_until;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use capstan_tests::process::wait_until;

/// How long one may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Lines of its output that are shown when it does not get ready.
const SHOWN: usize = 20;

/// A process; stopped when dropped.
pub(crate) struct Process {
    child: Child,
    command: Vec<String>,
    folder: PathBuf,
}

impl Process {
    /// Starts it in a folder that exists.
    pub(crate) fn start(command: Vec<String>, folder: &Path) -> io::Result<Self> {
        let child = spawn(&command, folder)?;
        Ok(Self { child, command, folder: folder.to_owned() })
    }

    /// Its command line.
    pub(crate) fn line(&self) -> String {
        self.command.join(" ")
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tries until it succeeds, the time is over, or the process has ended; a failure shows the last of the output.
    pub(crate) fn await_ready<T>(
        &mut self,
        limit: Duration,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut ended = false;
        let ready = try_until(limit, "not ready", || match self.child.try_wait() {
            Ok(Some(_)) => {
                ended = true;
                Ok(None)
            }
            Ok(None) | Err(_) => attempt().map(Some),
        });
        let why = match ready {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "it has ended".to_owned(),
            Err(why) => why.to_string(),
        };
        let output = std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        let last: Vec<&str> = output.lines().rev().take(SHOWN).collect();
        let output = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(io::Error::other(format!("`{}`: {why}; its output:\n{output}", self.line())))
    }

    /// Waits for an end that somebody else caused, and starts it again as it was.
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.child.wait()?;
        self.child = spawn(&self.command, &self.folder)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `capstan dev` stops its children in order; a SIGKILL would leave that to the kernel.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), pid_of(self.child.id())) {
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

/// kill -9.
pub(crate) fn kill_9(pid: u32) -> io::Result<()> {
    let pid = pid_of(pid).ok_or_else(|| io::Error::other(format!("{pid} is no pid")))?;
    Ok(kill_process(pid, Signal::KILL)?)
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn spawn(command: &[String], folder: &Path) -> io::Result<Child> {
    let log = std::fs::File::create(folder.join("output"))?;
    Command::new(&command[0])
        .args(&command[1..])
        // One worker, by the one name that a setting has everywhere.
        .env("CAPSTAN_WORKER_THREADS", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
