//! One worker: a child process with a control pipe as its standard input.
//!
//! Nothing about it is found by its number: the kernel tells the end of exactly this child, once, and until it has been asked
//! for, the number is nobody else's.

use super::judge::How;
use capstan_node::supervised::{LINE_MAX, Word};
use capstan_proto::ids::SpawnToken;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// What a worker said last is read within this after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What happened to a worker.
#[derive(Debug)]
pub(super) enum Event {
    Said(Word),
    Ended(How),
}

/// A worker that runs, or has ended and was not asked yet.
pub(super) struct Worker {
    child: Child,
    pipe: UnixStream,
    open: bool,
    line: Vec<u8>,
}

impl Worker {
    /// Starts the program that this process runs, with these arguments, and gives it its token. Called from the main
    /// thread of a process that has no other.
    pub(super) fn start(args: &[OsString], token: SpawnToken) -> io::Result<Self> {
        let (mut ours, theirs) = StdUnixStream::pair()?;
        writeln!(ours, "{token}")?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program());
        command.as_std_mut().arg0("capstan");
        // What `dev` reads of us is not the worker's to write to.
        command.args(args).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(io::stderr()));
        let child = command.spawn()?;
        // The other end is the worker's alone from here on.
        drop(command);
        Ok(Self { child, pipe: UnixStream::from_std(ours)?, open: true, line: Vec::new() })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Passes a signal on. A worker that has just ended hears nothing.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            && let Err(why) = kill_process(pid, signal)
        {
            tracing::warn!(%why, ?signal, "the worker was not told");
        }
    }

    /// The next thing that happens. Words come before the end, whichever is noticed first. Can be given up and called again.
    pub(super) async fn event(&mut self) -> io::Result<Event> {
        loop {
            if let Some(word) = self.word() {
                return Ok(Event::Said(word));
            }
            let mut part = [0; LINE_MAX];
            tokio::select! {
                biased;
                read = self.pipe.read(&mut part), if self.open => self.took(read, &part),
                ended = self.child.wait() => {
                    let how = how(ended?);
                    while self.open {
                        match tokio::time::timeout(LAST_WORDS, self.pipe.read(&mut part)).await {
                            Ok(read) => self.took(read, &part),
                            // Somebody else holds the other end, which nobody should.
                            Err(_) => self.open = false,
                        }
                    }
                    // Asked again, the child answers the same.
                    return Ok(self.word().map_or(Event::Ended(how), Event::Said));
                }
            }
        }
    }

    fn took(&mut self, read: io::Result<usize>, part: &[u8]) {
        match read {
            Ok(count @ 1..) => self.line.extend_from_slice(&part[..count]),
            Ok(0) | Err(_) => self.open = false,
        }
    }

    /// Takes the next whole line that is a word.
    fn word(&mut self) -> Option<Word> {
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]).into_owned();
            match Word::parse(&text) {
                Some(word) => return Some(word),
                None => tracing::debug!(text, "a worker said what this program does not know"),
            }
        }
        if self.line.len() > LINE_MAX {
            self.line.clear();
        }
        None
    }
}

/// The file of this program; if it was replaced meanwhile, what this process runs.
fn program() -> PathBuf {
    let here = std::env::current_exe().ok().filter(|path| path.exists());
    here.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Code(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => How::Signal(signal.unwrap_or_default()),
    }
}
