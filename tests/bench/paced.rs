//! The open loop: commands are due at fixed times, whatever the server does, and latency counts from when a command
//! was due. A server that stalls is thus charged for everybody who would have come meanwhile.

use crate::commands::Commands;
use crate::engine::{Engine, now};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// More owed replies than this: the server will not catch up, the run is void.
const OWED_MAX: usize = 4_000_000;
/// Shorter waits are spent spinning: the kernel wakes a sleeper some 50 us late.
const SPIN: u64 = 100_000;
/// How long the replies still owed at the end may take.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What a stream sends.
pub(crate) enum Source {
    /// Ever new commands.
    Commands(Commands),
    /// The same bytes: one command.
    Fixed(Vec<u8>),
}

/// One kind of client in an open loop.
pub(crate) struct Stream {
    /// What it sends.
    pub(crate) source: Source,
    /// Which of the engine's connections it uses, in turn.
    pub(crate) conns: Range<usize>,
    /// When it begins.
    pub(crate) starts: Duration,
    /// Commands a second, `burst` of them at a time.
    pub(crate) rate: f64,
    /// Commands that are due together.
    pub(crate) burst: u32,
    /// It ends after so many.
    pub(crate) limit: u64,
}

/// How one command fared: when it was due, from the start of the run, and how long it took from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Nanoseconds from the start of the run.
    pub(crate) due: u64,
    /// Nanoseconds.
    pub(crate) took: u64,
}

struct Progress {
    stream: Stream,
    due_next: u64,
    conn_next: usize,
    issued: u64,
    samples: Vec<Sample>,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.samples.len() as u64 >= self.stream.limit
    }
}

/// Runs until the last stream but the first (the probes) is done, and then `after` longer; gives each stream's samples.
pub(crate) fn run(
    engine: &mut Engine,
    streams: Vec<Stream>,
    lasting: Lasting<'_>,
) -> io::Result<Vec<Vec<Sample>>> {
    let start = now();
    let mut all: Vec<Progress> = streams
        .into_iter()
        .map(|stream| Progress {
            due_next: start + stream.starts.as_nanos() as u64,
            conn_next: stream.conns.start,
            issued: 0,
            samples: Vec::new(),
            stream,
        })
        .collect();
    let mut touched = VecDeque::new();
    let mut done_at = None;
    loop {
        let time = now();
        for progress in &mut all {
            issue_due(engine, progress, time, &mut touched);
        }
        while let Some(at) = touched.pop_front() {
            engine.flush(at)?;
        }
        match lasting {
            Lasting::For(limit) if time > start + limit.as_nanos() as u64 => break,
            Lasting::Until(done) if done.load(Ordering::Acquire) => break,
            Lasting::For(_) | Lasting::Until(_) => {}
            Lasting::UntilDone { after } => {
                if done_at.is_none() && all[1..].iter().all(Progress::is_done) {
                    done_at = Some(time);
                }
                if done_at.is_some_and(|at| time > at + after.as_nanos() as u64) {
                    break;
                }
            }
        }
        let due = all.iter().filter(|p| p.issued < p.stream.limit).map(|p| p.due_next).min();
        let idle = due.map_or(SPIN * 10, |due| due.saturating_sub(now())).min(SPIN * 10);
        let wait = Duration::from_nanos(idle.saturating_sub(SPIN));
        receive_ready(engine, &mut all, start, wait)?;
        if engine.conns.iter().map(|conn| conn.owed).sum::<usize>() > OWED_MAX {
            return Err(io::Error::other(format!(
                "the server owes more than {OWED_MAX} replies: the rate is too high"
            )));
        }
    }
    let limit = now() + DRAIN_MAX.as_nanos() as u64;
    while engine.conns.iter().any(|conn| conn.owed > 0) {
        receive_ready(engine, &mut all, start, Duration::from_millis(10))?;
        if now() > limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "replies are still owed at the end"));
        }
    }
    Ok(all.into_iter().map(|progress| progress.samples).collect())
}

/// When an open loop ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lasting<'a> {
    /// After this time.
    For(Duration),
    /// As soon as somebody else says so.
    Until(&'a AtomicBool),
    /// This long after every stream but the first has had all its replies.
    UntilDone {
        /// How much longer the first stream goes on.
        after: Duration,
    },
}

fn issue_due(engine: &mut Engine, progress: &mut Progress, time: u64, touched: &mut VecDeque<usize>) {
    let stream = &mut progress.stream;
    while progress.issued < stream.limit && progress.due_next <= time {
        let count = u64::from(stream.burst).min(stream.limit - progress.issued);
        let conn = &mut engine.conns[progress.conn_next];
        for _ in 0..count {
            match &mut stream.source {
                Source::Commands(commands) => commands.append(&mut conn.out),
                Source::Fixed(bytes) => conn.out.extend_from_slice(bytes),
            }
        }
        conn.owed += count as usize;
        conn.due.push_back((progress.due_next, count as u32));
        touched.push_back(progress.conn_next);
        progress.conn_next = if progress.conn_next + 1 == stream.conns.end {
            stream.conns.start
        } else {
            progress.conn_next + 1
        };
        progress.issued += count;
        progress.due_next += (1e9 * f64::from(stream.burst) / stream.rate) as u64;
    }
}

fn receive_ready(engine: &mut Engine, all: &mut [Progress], start: u64, wait: Duration) -> io::Result<()> {
    for event in 0..engine.wait(Some(wait))? {
        let (at, writable) = engine.event(event);
        if writable {
            engine.flush(at)?;
        }
        let mut ended = engine.receive(at)?;
        let time = now();
        let Some(owner) = all.iter_mut().find(|p| p.stream.conns.contains(&at)) else { continue };
        let conn = &mut engine.conns[at];
        while ended > 0 {
            let Some((due, count)) = conn.due.front_mut() else { break };
            let now_ended = ended.min(*count as usize);
            let sample = Sample { due: *due - start, took: time.saturating_sub(*due) };
            owner.samples.extend(std::iter::repeat_n(sample, now_ended));
            ended -= now_ended;
            *count -= now_ended as u32;
            if *count == 0 {
                conn.due.pop_front();
            }
        }
    }
    Ok(())
}
