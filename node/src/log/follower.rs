//! A replica that follows this node's log: how far it was sent and has acknowledged, and the frames that go to it.
//!
//! While it catches up its session reads the log and sends by itself; once it is level the batcher writes each new frame
//! to its socket directly, without waiting. What the socket does not take stays queued, bounded by [`QUEUE_MAX`], and the
//! session finishes it; a follower whose queue is full is no longer level and reads the log again. A follower that blocks
//! is not waited for by anybody but those who ask for acknowledgements.

use super::frame::Frame;
use super::{Gone, Log};
use bytes::{Buf, Bytes};
use capstan_proto::env::Boot;
use capstan_proto::ids::{BatchNumber, Incarnation, NodeId, Position};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// Bytes of frames that may wait for a level follower's socket.
pub const QUEUE_MAX: usize = 16 << 20;

/// The write half of a follower's connection: its session and the batcher both send through it, each in its turn.
#[derive(Clone)]
pub struct FollowerOut {
    shared: Arc<Mutex<Out>>,
    /// What asks the replica for an acknowledgement.
    ask: Bytes,
}

impl std::fmt::Debug for FollowerOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FollowerOut(..)")
    }
}

struct Out {
    sink: Box<dyn AsyncWrite + Send + Unpin>,
    queue: VecDeque<(Bytes, u64)>,
    queued: usize,
    /// The newest batch that was queued.
    newest: u64,
    /// The newest batch that the socket took to its last byte.
    sent: u64,
    failed: Option<io::ErrorKind>,
}

impl Out {
    fn add(&mut self, bytes: Bytes, number: u64) {
        self.queued += bytes.len();
        self.newest = self.newest.max(number);
        self.queue.push_back((bytes, number));
    }

    /// Writes what waits, until nothing does or the socket takes no more.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        while let Some((bytes, number)) = self.queue.front_mut() {
            if bytes.is_empty() {
                self.sent = self.sent.max(*number);
                self.queue.pop_front();
                continue;
            }
            match Pin::new(&mut *self.sink).poll_write(context, bytes) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return self.fail(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Ready(Ok(taken)) => {
                    bytes.advance(taken);
                    self.queued -= taken;
                }
            }
        }
        match Pin::new(&mut *self.sink).poll_flush(context) {
            Poll::Ready(Err(error)) => self.fail(error),
            done @ (Poll::Ready(Ok(())) | Poll::Pending) => done,
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.failed = Some(error.kind());
        self.queue.clear();
        self.queued = 0;
        Poll::Ready(Err(error))
    }
}

impl FollowerOut {
    /// Over the write half of a connection.
    #[must_use]
    pub fn new(sink: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let out =
            Out { sink: Box::new(sink), queue: VecDeque::new(), queued: 0, newest: 0, sent: 0, failed: None };
        Self { shared: Arc::new(Mutex::new(out)), ask: Bytes::new() }
    }

    /// With the message that asks the replica for an acknowledgement.
    #[must_use]
    pub fn asking_with(self, ask: Bytes) -> Self {
        Self { ask, ..self }
    }

    /// Sends bytes that are no frame of the log, and waits until the socket has taken them and what was queued before.
    pub async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.shared.lock().add(bytes, 0);
        self.flush().await
    }

    /// Sends a frame that was read from the log, and waits as [`Self::send`].
    pub async fn send_frame(&self, frame: &Frame) -> io::Result<()> {
        self.shared.lock().add(frame.bytes().clone(), frame.number());
        self.flush().await
    }

    /// Waits until the socket has taken everything that is queued. May be given up at any point and begun again.
    pub async fn flush(&self) -> io::Result<()> {
        poll_fn(|context| self.shared.lock().write(context)).await
    }

    /// Bytes that wait for the socket.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.lock().queued
    }
}

/// What became of a frame that the batcher has for a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The socket took it.
    Taken,
    /// It waits behind what the socket did not take yet.
    Blocked,
    /// The follower is not level: its session reads the log.
    NotLevel,
    /// Too much waits, or the connection failed: not level any more.
    Fallen,
}

/// One follower, as the log sees it.
pub(super) struct Slot {
    who: NodeId,
    incarnation: Incarnation,
    out: FollowerOut,
    level: AtomicBool,
    ended: AtomicBool,
    acked: AtomicU64,
    /// When it last acknowledged anything, on this node's clock; 0: never.
    heard: AtomicU64,
    /// Its own clock at its last acknowledgement.
    clock_ms: AtomicU64,
    changed: Notify,
}

impl Slot {
    pub(super) fn new(who: NodeId, incarnation: Incarnation, out: FollowerOut) -> Self {
        Self {
            who,
            incarnation,
            out,
            level: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            clock_ms: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Hands a frame to the socket if the follower is level. Never waits.
    pub(super) fn push(&self, frame: &Frame) -> Pushed {
        if !self.level.load(SeqCst) {
            return Pushed::NotLevel;
        }
        let mut out = self.out.shared.lock();
        if frame.number() <= out.newest {
            // It became level a moment ago, with this frame among what it had missed.
            return Pushed::Blocked;
        }
        debug_assert_eq!(frame.number(), out.newest + 1, "a level follower has everything before");
        let waits = !out.queue.is_empty();
        if waits && out.queued + frame.bytes().len() > QUEUE_MAX {
            self.level.store(false, SeqCst);
            return Pushed::Fallen;
        }
        out.add(frame.bytes().clone(), frame.number());
        if waits {
            // The session waits for the socket with a waker of its own, which must not be replaced.
            return Pushed::Blocked;
        }
        match out.write(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Pushed::Taken,
            Poll::Pending => Pushed::Blocked,
            Poll::Ready(Err(_)) => {
                self.level.store(false, SeqCst);
                Pushed::Fallen
            }
        }
    }

    /// Asks for an acknowledgement at once, if nothing waits in front: else there is none to be had at once.
    fn ask(&self) {
        let mut out = self.out.shared.lock();
        if !self.level.load(SeqCst) || !out.queue.is_empty() {
            return;
        }
        out.add(self.out.ask.clone(), 0);
        if !matches!(out.write(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))) {
            self.tell();
        }
    }

    pub(super) fn is_of(&self, who: NodeId) -> bool {
        self.who == who
    }

    /// Wakes the session.
    pub(super) fn tell(&self) {
        self.changed.notify_one();
    }

    /// The log has a hole: what follows it has to be copied.
    pub(super) fn fall(&self) {
        self.level.store(false, SeqCst);
        self.tell();
    }

    /// This node is no primary any more.
    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.fall();
    }
}

/// How a follower stands, for INFO, ROLE and the commands that count acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which node.
    pub who: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The newest batch that its socket took.
    pub sent: u64,
    /// The newest batch that it has acknowledged.
    pub acked: u64,
    /// When it last acknowledged; `None`: never.
    pub heard: Option<Boot>,
    /// Whether it gets new frames at once.
    pub is_level: bool,
}

/// A registered replica; dropped, it is gone.
pub struct Follower {
    log: Arc<Log>,
    slot: Arc<Slot>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("who", &self.slot.who).finish_non_exhaustive()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.log.shared.lock().followers.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        self.log.progress.notify_waiters();
    }
}

impl Follower {
    pub(super) const fn new(log: Arc<Log>, slot: Arc<Slot>) -> Self {
        Self { log, slot }
    }

    /// The replica has everything up to this batch, and its clock shows that. Never counts more than there is.
    pub fn acked(&self, number: u64, clock_ms: u64) {
        let number = number.min(self.log.sent.load(SeqCst));
        self.slot.acked.fetch_max(number, SeqCst);
        self.slot.clock_ms.store(clock_ms, SeqCst);
        self.slot.heard.store(self.log.clock.boot().0.max(1), SeqCst);
        self.log.progress.notify_waiters();
    }

    /// The way to it.
    #[must_use]
    pub fn out(&self) -> FollowerOut {
        self.slot.out.clone()
    }

    /// The replica's own clock at its last acknowledgement, to be sent back to it.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.slot.clock_ms.load(SeqCst)
    }

    /// The session has sent everything up to `position`: from here on the batcher sends. What is missing up to now is
    /// queued first; if that is too much, `Ok(false)`: go on reading.
    pub fn level_from(&self, position: Position) -> Result<bool, Gone> {
        let shared = self.log.shared.lock();
        let missing = shared.ring.read_after(position, QUEUE_MAX)?;
        let reached = missing.last().map_or(position, Frame::position);
        if reached != shared.ring.last() || self.slot.ended.load(SeqCst) {
            return Ok(false);
        }
        let mut out = self.slot.out.shared.lock();
        (out.sent, out.newest) = (out.sent.max(position.batch.0), out.newest.max(position.batch.0));
        let waits = !missing.is_empty();
        missing.into_iter().for_each(|frame| out.add(frame.bytes().clone(), frame.number()));
        self.slot.level.store(true, SeqCst);
        drop((out, shared));
        if waits {
            self.slot.tell();
        }
        Ok(true)
    }

    /// Whether the batcher sends new frames by itself. If not, the session has to read the log.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.slot.level.load(SeqCst)
    }

    /// Whether this node has stopped being the primary: the session ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.slot.ended.load(SeqCst)
    }

    /// Returns when there is something for the session to do: frames to read while it is not level, frames that the
    /// socket did not take ([`FollowerOut::flush`]), or its end. May return without a reason.
    pub async fn changed(&self) {
        self.slot.changed.notified().await;
    }

    /// The newest batch whose last byte the socket took.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.slot.out.shared.lock().sent
    }

    /// The newest batch that is queued or sent: where reading goes on for a follower that has fallen.
    #[must_use]
    pub fn queued_up_to(&self) -> BatchNumber {
        BatchNumber(self.slot.out.shared.lock().newest)
    }
}

impl Log {
    /// The newest batch that was handed to the replicas that take it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }

    /// Everybody who follows.
    #[must_use]
    pub fn followers(&self) -> Vec<Standing> {
        let shared = self.shared.lock();
        let standing = |slot: &Arc<Slot>| Standing {
            who: slot.who,
            incarnation: slot.incarnation,
            sent: slot.out.shared.lock().sent,
            acked: slot.acked.load(SeqCst),
            heard: Some(Boot(slot.heard.load(SeqCst))).filter(|heard| heard.0 > 0),
            is_level: slot.level.load(SeqCst),
        };
        shared.followers.iter().map(standing).collect()
    }

    /// How many followers have acknowledged this batch.
    #[must_use]
    pub fn count_acked(&self, batch: u64) -> usize {
        let shared = self.shared.lock();
        shared.followers.iter().filter(|slot| slot.acked.load(SeqCst) >= batch).count()
    }

    /// Returns once a condition on the acknowledgements of a batch holds. Whoever lacks it is asked for one, once it was
    /// sent: by themselves replicas acknowledge only now and then.
    pub async fn until_acked<T>(&self, batch: u64, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        let mut asked = false;
        self.until(|log| {
            let found = condition(log);
            if found.is_none() && !asked && log.is_sent(batch) {
                asked = true;
                let shared = log.shared.lock();
                shared
                    .followers
                    .iter()
                    .filter(|slot| slot.acked.load(SeqCst) < batch)
                    .for_each(|slot| slot.ask());
            }
            found
        })
        .await
    }

    /// Returns once a condition on the log or its followers holds; asked again after each change.
    pub async fn until<T>(&self, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.progress.notified();
            tokio::pin!(changed);
            // Enlist first, then look: a change in between cannot be missed.
            changed.as_mut().enable();
            if let Some(found) = condition(self) {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests;
