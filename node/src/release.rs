//! Replies that wait until their batch was sent to the replicas, and who writes them then (DESIGN 7, PERFORMANCE B10).
//!
//! A connection whose commands were logged puts its replies into its [`Outbox`], notes the batch they wait for, and goes
//! on reading. Whoever advances the gate (the batcher) takes the outboxes whose batch has passed from one queue of the
//! node, looks at the lease and the epoch once more (►9), and writes to the sockets itself: that is cheaper than waking
//! the connections. A socket that takes no more goes back to its own task. Replies to commands that executed under an
//! epoch that has ended never leave: their connection is closed, since their outcome must stay unknown. A connection
//! whose replies wait for nothing has no outbox.

use crate::core::NodeCore;
use crate::dispatch::FLUSH_BYTES;
use crate::output;
use capstan_proto::ids::ShardEpoch;
use capstan_proto::rules::Rule;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// While so many bytes of replies wait, nothing more is read from the client.
pub const WAITING_MAX: usize = 2 * FLUSH_BYTES;
/// So many outboxes are taken from the queue at a time.
const TAKEN: usize = 256;

/// What replies depend on when they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The batch that must have been sent; 0: none.
    pub batch: u64,
    /// Some command touched data under the lease (►9).
    pub under_lease: bool,
    /// The epoch under which they executed.
    pub epoch: ShardEpoch,
}

impl Stamp {
    /// Whether these replies may leave now, as far as lease and epoch go (►9).
    #[must_use]
    pub fn may_leave(&self, core: &NodeCore) -> bool {
        let serving = &core.serving;
        !self.under_lease
            || !core.env.rules.on(Rule::CheckBeforeReply)
            || (serving.epoch() == self.epoch && serving.covers(serving.now(&*core.env.clock)))
    }
}

/// Why an outbox needs its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The socket takes no more: wait for it, then [`Outbox::write`].
    Blocked,
    /// Replies may not leave any more (►9): close.
    LeaseLost,
    /// The socket failed.
    Failed(io::ErrorKind),
}

struct Mark {
    stamp: Stamp,
    /// Behind the last of its bytes, counted from the beginning of the buffer.
    end: usize,
}

#[derive(Default)]
struct Inner {
    buffer: Vec<u8>,
    /// So many of its bytes have left.
    gone: usize,
    /// So many may leave.
    ready: usize,
    marks: VecDeque<Mark>,
    trouble: Option<Trouble>,
    waker: Option<Waker>,
    /// The newest batch for which the outbox stands in the node's queue.
    queued_for: u64,
    /// The connection waits for no more than this to wait.
    wanted_most: Option<usize>,
}

/// The replies of one connection that have not left yet.
pub struct Outbox {
    stream: Arc<TcpStream>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Outbox {
    /// For a connection.
    #[must_use]
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream, inner: Mutex::default() }
    }

    /// Bytes that have not left.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let inner = self.inner.lock();
        inner.buffer.len() - inner.gone
    }

    /// Says whether the outbox has to be put into the node's queue for the batch, if that was not sent yet.
    fn add(&self, bytes: Vec<u8>, stamp: Stamp) -> bool {
        let mut inner = self.inner.lock();
        if inner.buffer.is_empty() {
            output::give_back(std::mem::replace(&mut inner.buffer, bytes));
        } else {
            inner.buffer.extend_from_slice(&bytes);
            output::give_back(bytes);
        }
        let end = inner.buffer.len();
        inner.marks.push_back(Mark { stamp, end });
        let fresh = stamp.batch > inner.queued_for;
        inner.queued_for = inner.queued_for.max(stamp.batch);
        fresh
    }

    /// Takes over replies that wait for no batch; [`release`](Self::release) lets them go.
    pub(crate) fn gather(&self, bytes: Vec<u8>, stamp: Stamp) {
        self.add(bytes, stamp);
    }

    /// Lets the replies go whose batch is not above `batch`.
    pub(crate) fn release(&self, core: &NodeCore, batch: u64) {
        let mut inner = self.inner.lock();
        while let Some(mark) = inner.marks.front().filter(|mark| mark.stamp.batch <= batch) {
            if !mark.stamp.may_leave(core) {
                return inner.end(Trouble::LeaseLost);
            }
            inner.ready = mark.end;
            inner.marks.pop_front();
        }
        if inner.trouble.is_none() {
            inner.write(core, &self.stream);
        }
    }

    /// What waits was executed under an epoch that is over: closes the connection if anything does.
    fn sweep(&self, core: &NodeCore) {
        let mut inner = self.inner.lock();
        if inner.marks.iter().any(|mark| !mark.stamp.may_leave(core)) {
            inner.end(Trouble::LeaseLost);
        }
    }

    /// Writes what may leave, after [`Trouble::Blocked`]. Whether the socket took it all.
    pub fn write(&self, core: &NodeCore) -> bool {
        let mut inner = self.inner.lock();
        if inner.trouble == Some(Trouble::Blocked) {
            inner.trouble = None;
        }
        if inner.trouble.is_none() {
            inner.write(core, &self.stream);
        }
        inner.trouble != Some(Trouble::Blocked)
    }

    /// Returns when the outbox needs its connection, or when no more than `most` bytes wait.
    pub fn poll_at_most(&self, most: usize, context: &mut Context<'_>) -> Poll<Option<Trouble>> {
        let mut inner = self.inner.lock();
        match inner.trouble {
            Some(trouble) => return Poll::Ready(Some(trouble)),
            None if inner.buffer.len() - inner.gone <= most => return Poll::Ready(None),
            None => {}
        }
        inner.wanted_most = Some(most);
        inner.enlist(context);
        Poll::Pending
    }

    /// Returns when the outbox needs its connection.
    pub fn poll_trouble(&self, context: &mut Context<'_>) -> Poll<Trouble> {
        let mut inner = self.inner.lock();
        if let Some(trouble) = inner.trouble {
            return Poll::Ready(trouble);
        }
        inner.enlist(context);
        Poll::Pending
    }
}

impl Inner {
    fn enlist(&mut self, context: &Context<'_>) {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }

    fn end(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
        self.marks.clear();
        (self.buffer, self.gone, self.ready) = (Vec::new(), 0, 0);
        self.wake();
    }

    fn wake(&mut self) {
        self.wanted_most = None;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn write(&mut self, core: &NodeCore, stream: &TcpStream) {
        while self.gone < self.ready {
            match stream.try_write(self.buffer.get(self.gone..self.ready).unwrap_or_default()) {
                Ok(taken) => self.gone += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.trouble = Some(Trouble::Blocked);
                    return self.wake();
                }
                Err(error) => return self.end(Trouble::Failed(error.kind())),
            }
        }
        core.stats.bytes_out.fetch_add(self.gone as u64, Relaxed);
        if self.marks.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            output::give_back(buffer);
        } else if self.gone > 0 {
            self.buffer.drain(..self.gone);
            self.marks.iter_mut().for_each(|mark| mark.end -= self.gone);
        }
        (self.gone, self.ready) = (0, 0);
        if self.wanted_most.is_some_and(|most| self.buffer.len() <= most) {
            self.wake();
        }
    }
}

/// Which outboxes wait for which batch, in the order of their coming.
#[derive(Debug, Default)]
pub struct Releases {
    waiting: Mutex<VecDeque<(u64, Arc<Outbox>)>>,
}

impl Releases {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }
}

impl NodeCore {
    /// Takes over replies; they leave when their batch was sent, behind those that are there already.
    pub fn leave_later(&self, outbox: &Arc<Outbox>, bytes: Vec<u8>, stamp: Stamp) {
        let fresh = outbox.add(bytes, stamp);
        {
            let mut waiting = self.releases.waiting.lock();
            if !self.log.is_sent(stamp.batch) {
                if fresh {
                    waiting.push_back((stamp.batch, outbox.clone()));
                }
                return;
            }
        }
        outbox.release(self, self.log.sent());
    }

    /// Everything up to this batch was sent: replies that waited for it leave.
    pub fn release(&self, batch: u64) {
        let mut taken = Vec::new();
        loop {
            {
                let mut waiting = self.releases.waiting.lock();
                while taken.len() < TAKEN && waiting.front().is_some_and(|(number, _)| *number <= batch) {
                    taken.extend(waiting.pop_front().map(|(_, outbox)| outbox));
                }
            }
            if taken.is_empty() {
                return;
            }
            taken.drain(..).for_each(|outbox: Arc<Outbox>| outbox.release(self, batch));
        }
    }

    /// The epoch or the lease has ended: whoever waits for replies of it is closed without them (►9).
    pub fn sweep_replies(&self) {
        let waiting: Vec<_> = self.releases.waiting.lock().iter().map(|(_, outbox)| outbox.clone()).collect();
        waiting.iter().for_each(|outbox| outbox.sweep(self));
    }
}

#[cfg(test)]
mod tests;
