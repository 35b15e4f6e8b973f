//! From bytes that were read to replies that can be sent: the hot path of DESIGN 12, without any waiting.
//!
//! [`run`] takes the complete commands of a read in chunks: `batch` parses them, finds their rows, keys, slots and
//! hashes, and prefetches what they will touch; `execute` runs them one by one under their lanes' locks. What cannot go on
//! without waiting (a lane held by a long command, a full reply buffer, a command that belongs off the I/O workers) is
//! handed back to the connection as a [`Step`].

mod batch;
mod execute;
mod locks;
mod queue;
pub mod soon;

pub use batch::{Scratch, find_keys};
pub use execute::{Call, LongCall};

use crate::core::NodeCore;
use crate::input::Input;
use crate::release::Stamp;
use crate::resp::parse::{Limits, ProtocolError};
use crate::resp::{Error, Reply};
use crate::session::Session;
use crate::store::Busy;
use crate::store::log::take_logged;
use crate::trace::Touched;
use batch::{Batch, End};
use capstan_proto::env::{Boot, UnixMs};
use capstan_proto::ids::ShardEpoch;
use execute::Stop;
use std::sync::atomic::Ordering;

/// Replies are sent when so many bytes of them wait.
pub const FLUSH_BYTES: usize = 256 * 1024;

/// Why a run ended.
#[derive(Debug)]
pub enum Step {
    /// Every complete command was executed: read more.
    Drained,
    /// Enough replies wait: send them, then run again.
    Flush,
    /// A long command holds the lane of the next command: wait for its turn, then run again.
    Busy(Busy),
    /// A planned change holds the slot of the next command: wait for its end, then run again.
    Held,
    /// The next command is to run off the I/O workers; it has been taken from the input.
    Long(Box<LongCall>),
    /// The last command answers later: its future is in `session.later`.
    Later,
    /// Send what waits, then close.
    Close,
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ran {
    /// When its last chunk began.
    pub at: Boot,
    /// Some command touched data under the lease: replies may leave only while it holds (►9).
    pub under_lease: bool,
    /// The last command, by its number in the table.
    pub last_command: usize,
    /// The newest batch that holds something of what was executed; 0: nothing was logged.
    pub batch: u64,
    /// The epoch that was served under when it began.
    pub epoch: ShardEpoch,
}

impl Ran {
    /// What the replies depend on when they leave.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        Stamp { batch: self.batch, under_lease: self.under_lease, epoch: self.epoch }
    }

    /// Takes note of what this thread has logged since it was last asked.
    fn note_logged(&mut self, session: &mut Session) {
        self.batch = self.batch.max(take_logged());
        session.written = session.written.max(self.batch);
    }
}

/// The times that a chunk of commands is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For expiry.
    pub wall: UnixMs,
    /// For the lease.
    pub boot: Boot,
}

impl Now {
    fn read(core: &NodeCore) -> Self {
        Self { wall: core.env.clock.wall_lately(), boot: core.env.clock.boot() }
    }
}

/// Executes the complete commands of the input. Never waits and never blocks for more than another worker's turn.
pub fn run(
    core: &NodeCore,
    session: &mut Session,
    input: &mut Input,
    out: &mut Reply,
    scratch: &mut Scratch,
    ran: &mut Ran,
) -> Step {
    // What somebody else has logged on this thread is no matter of this connection.
    take_logged();
    loop {
        if session.client.as_ref().is_some_and(|client| client.is_killed()) {
            return Step::Close;
        }
        let limits = limits(core, session);
        let (read, end) = scratch.read(core, input, &limits);
        let batch = scratch.batch(input.pending());
        let (all, (done, step)) = (batch.len(), chunk(core, session, out, batch, ran));
        ran.note_logged(session);
        if done == all {
            input.consume(read);
        } else {
            let executed = batch.end_of(done);
            input.consume(executed);
            input.parser.reset();
        }
        if let Some(step) = step {
            return step;
        }
        match end {
            End::Full => {}
            _ if done < all => {}
            End::Unfinished => return Step::Drained,
            End::Failed(error) => return refuse(core, input, out, error),
        }
    }
}

fn limits(core: &NodeCore, session: &Session) -> Limits {
    use crate::config::Key;
    // Offsets within a command are 32 bits wide, and so are the lengths in entries and effects.
    const MOST: u64 = crate::store::raw::LENGTH_MAX as u64;
    Limits {
        bulk_max: core.config.size(Key::ProtoMaxBulkLen).min(MOST) as i64,
        request_max: core.config.size(Key::ClientQueryBufferLimit).min(MOST) as usize,
        authenticated: session.authenticated,
    }
}

/// The bytes are no request: says so and closes.
#[cold]
fn refuse(core: &NodeCore, input: &mut Input, out: &mut Reply, error: ProtocolError) -> Step {
    input.consume(input.pending().len());
    if error == ProtocolError::RequestTooLong {
        core.gauges.cut_for_query.fetch_add(1, Ordering::Relaxed);
    } else {
        let error = Error::err(error.to_string());
        core.note_error(&error);
        out.error(&error);
    }
    Step::Close
}

/// Executes the commands of one chunk. Says how many were, and why it stopped if there is a reason to.
fn chunk(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    batch: Batch<'_>,
    ran: &mut Ran,
) -> (usize, Option<Step>) {
    if batch.len() == 0 {
        return (0, None);
    }
    let now = Now::read(core);
    ran.at = now.boot;
    let mut touched = Touched::begin(core, now.boot);
    let timed = core.stats.samples_now().then_some(now.boot);
    batch.prefetch(&core.lanes);
    let mut tally = Tally::default();
    let mut done = 0;
    let mut step = None;
    for call in batch.calls() {
        if let Some(command) = call.command {
            if execute::is_long(core, session, &call, command.spec) {
                // What was executed before it is answered first, and its own time is not theirs.
                if done == 0 {
                    step = Some(Step::Long(Box::new(call.to_long())));
                    done = 1;
                }
                break;
            }
            ran.last_command = command.id;
        }
        match execute::one(core, session, out, &call, now) {
            Ok(under_lease) => {
                ran.under_lease |= under_lease;
                if let Some(touched) = touched.as_mut().filter(|_| under_lease) {
                    touched.add(&core.lanes, call.keys);
                }
            }
            Err(stop) => {
                step = Some(match stop {
                    Stop::Busy(busy) => Step::Busy(busy),
                    Stop::Held => Step::Held,
                });
                break;
            }
        }
        if let Some(command) = call.command {
            tally.count(core, command.id);
        }
        done += 1;
        step = pause(session, out);
        if step.is_some() {
            break;
        }
    }
    tally.finish(core, done, timed);
    touched.into_iter().for_each(Touched::end);
    (done, step)
}

/// Whether the connection has something to do before the next command.
#[inline]
fn pause(session: &Session, out: &Reply) -> Option<Step> {
    if session.closing {
        Some(Step::Close)
    } else if session.later.is_some() || session.blocked.is_some() {
        Some(Step::Later)
    } else if out.len() >= FLUSH_BYTES {
        Some(Step::Flush)
    } else {
        None
    }
}

/// Adds up runs of equal commands, so that a pipeline of one command costs one addition.
#[derive(Default)]
struct Tally {
    id: usize,
    calls: u64,
}

impl Tally {
    #[inline]
    fn count(&mut self, core: &NodeCore, id: usize) {
        if id != self.id && self.calls > 0 {
            core.stats.command(self.id).calls.fetch_add(self.calls, Ordering::Relaxed);
            self.calls = 0;
        }
        self.id = id;
        self.calls += 1;
    }

    fn finish(&self, core: &NodeCore, done: usize, since: Option<Boot>) {
        if self.calls > 0 {
            core.stats.command(self.id).calls.fetch_add(self.calls, Ordering::Relaxed);
        }
        core.stats.processed.fetch_add(done as u64, Ordering::Relaxed);
        if let Some(since) = since {
            // One chunk in SAMPLE_EVERY is timed; its time stands for those that are not, and goes to its last command.
            let spent = core.env.clock.boot().since(since).as_nanos() as u64;
            let share = spent.saturating_mul(u64::from(crate::stats::SAMPLE_EVERY));
            core.stats.command(self.id).nanos.fetch_add(share, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
