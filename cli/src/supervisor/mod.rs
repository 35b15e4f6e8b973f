//! The supervisor of a data node: the process that starts the one that serves, and knows for certain when it has ended
//! (DESIGN 6, proof of death).
//!
//! Small and single-threaded, so that it outlives what the worker does not. It draws a token for each life, starts the worker
//! as its child, and learns its end from the kernel; then [`deaths`] has the meta group commit that end, while the next worker
//! starts at once. [`judge`] decides what follows from an end. SIGTERM and SIGINT are passed on; with SIGINT nobody is told, so
//! that a cluster that is stopped as a whole does not fail over on its way down.

mod deaths;
mod judge;
mod worker;

pub(crate) use judge::Respawn;

use crate::output::{self, Ended};
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use capstan_proto::ids::SpawnToken;
use deaths::Deaths;
use judge::{End, Heard, How, Next, Pace, Told};
use rustix::process::Signal;
use std::ffi::OsString;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{self, SignalKind};
use worker::{Event, Worker};

/// How long the supervisor's own end waits for the meta group to hear of the worker's.
const LAST_DEATH_WITHIN: Duration = Duration::from_secs(3);

/// Whether somebody reads the numbers of the workers on standard output, as `dev` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announce {
    Workers,
    Nothing,
}

/// What a supervisor is started with.
pub(crate) struct Supervisor {
    pub(crate) env: Env,
    pub(crate) secret: Secret,
    /// `HOST:PORT,...` of the meta servers.
    pub(crate) meta: String,
    /// The worker's arguments.
    pub(crate) args: Vec<OsString>,
    pub(crate) respawn: Respawn,
    pub(crate) announce: Announce,
}

impl Supervisor {
    /// Runs workers, one after the other, until the last one.
    pub(crate) fn run(self) -> Ended {
        // One thread, the main one: workers are started from it.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(why) => return Ended::refused(format!("no runtime: {why}")),
        };
        let ended = runtime.block_on(self.supervise());
        runtime.shutdown_background();
        ended
    }

    async fn supervise(self) -> Ended {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(why) => return Ended::refused(format!("no signals: {why}")),
        };
        let servers = self.meta.split(',').map(str::trim).filter(|server| !server.is_empty());
        let deaths =
            Deaths::start(self.env.clone(), self.secret.clone(), servers.map(str::to_owned).collect());
        let mut pace = Pace::default();
        let mut started = false;
        let ended = loop {
            let token = self.draw();
            let after = match Worker::start(&self.args, token) {
                Err(why) if !started => {
                    return Ended::refused(format!("the worker cannot be started: {why}"));
                }
                Err(why) => {
                    tracing::error!(%why, "the worker cannot be started");
                    pace.after(Duration::ZERO)
                }
                Ok(mut worker) => {
                    started = true;
                    let end = match self.watch(&mut worker, token, &mut signals, &deaths).await {
                        Ok(end) => end,
                        Err(why) => break Ended::refused(format!("the worker cannot be watched: {why}")),
                    };
                    if let Some(death) = end.death(token) {
                        deaths.tell(death);
                    }
                    match pace.next(&end, self.respawn) {
                        Next::Finish(ended) => break ended,
                        Next::Start { after } => after,
                    }
                }
            };
            tokio::select! {
                biased;
                _ = signals.next() => break Ended::Well,
                () = tokio::time::sleep(after) => {}
            }
        };
        deaths.settled(LAST_DEATH_WITHIN).await;
        ended
    }

    /// Watches one worker until its end.
    async fn watch(
        &self,
        worker: &mut Worker,
        token: SpawnToken,
        signals: &mut Signals,
        deaths: &Deaths,
    ) -> io::Result<End> {
        let pid = worker.pid().unwrap_or_default();
        tracing::info!(pid, %token, "worker started");
        if self.announce == Announce::Workers {
            output::line(format!("worker {pid}"));
        }
        let begun = self.env.clock.boot();
        let (mut heard, mut told) = (Heard::default(), None);
        let how = loop {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    worker.signal(match signal {
                        Told::Stop => Signal::INT,
                        Told::HandOver => Signal::TERM,
                    });
                    // A stop that follows a hand-over cuts it short; the other way round it comes too late.
                    told = if told.is_none() || signal == Told::Stop { Some(signal) } else { told };
                }
                event = worker.event() => match event? {
                    Event::Ended(how) => break how,
                    Event::Said(word) => {
                        heard.take(word);
                        if word == capstan_node::supervised::Word::Registered {
                            deaths.superseded();
                        }
                    }
                },
            }
        };
        let end = End { how, heard, told, lived: self.env.clock.boot().since(begun) };
        let lived_ms = u64::try_from(end.lived.as_millis()).unwrap_or(u64::MAX);
        match (how, told) {
            (How::Code(0), _) | (_, Some(_)) => tracing::info!(pid, %how, lived_ms, "worker ended"),
            (How::Code(_) | How::Signal(_), None) => tracing::warn!(pid, %how, lived_ms, "worker ended"),
        }
        Ok(end)
    }

    fn draw(&self) -> SpawnToken {
        let mut token = [0; 16];
        self.env.random.fill(&mut token);
        SpawnToken(token)
    }
}

/// The signals that are passed on.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::HandOver,
            // The terminal is gone: as a service manager would stop it.
            _ = self.hang_up.recv() => Told::HandOver,
        }
    }
}
