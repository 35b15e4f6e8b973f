//! A primary's session with one replica: judge it, go on from its position or copy everything, then leave new frames to
//! the batcher (`log/follower.rs`) and count what the replica acknowledges.
//!
//! Three things go on at once, and the end of one is the end of the session: listening, sending, signs of life. The
//! memory that a replica can cost is what its socket's queue holds (`QUEUE_MAX`); one that cannot keep up reads from the
//! log, and one that falls out of the log is copied anew.

use super::admission;
use super::standing::Serving;
use super::wire::{Ack, Answer, Hello, Inbox, Message, Received, Refusal, Side, WireError};
use super::{ECHO_EVERY, LINK_TIMEOUT};
use crate::cluster::lease::Lead;
use crate::cluster::view::View;
use crate::core::NodeCore;
use crate::log::{Follower, FollowerOut, Gone};
use capstan_proto::env::Stream;
use capstan_proto::ids::Position;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::sync::{Notify, Semaphore};

/// A peer that has authenticated says who it is within this.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// A replica that knows a newer epoch than this node is refused only if this node has not heard of it within this: a
/// refusal costs the replica a pause, and the clients that its old role still holds.
const NEWS_LIMIT: Duration = Duration::from_millis(500);
/// How often is looked whether the news has come.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Frames are read from the log in portions of this size while a replica catches up.
pub(super) const PORTION: usize = 1 << 20;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the replica closed the connection")]
    Closed,
    #[error("nothing heard for {} s", LINK_TIMEOUT.as_secs())]
    Silent,
    #[error("no hello in time")]
    NoHello,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a second hello")]
    SecondHello,
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("it fell out of the log: {0}")]
    Gone(#[from] Gone),
    #[error("the roles have changed")]
    Ended,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    core: &Arc<NodeCore>,
    stream: Stream,
    from: SocketAddr,
    places: &Semaphore,
) -> SessionError {
    let (mut read, write) = tokio::io::split(stream);
    let mut inbox = Inbox::new(Side::Primary);
    let hello = match tokio::time::timeout(HELLO_LIMIT, first_words(&mut read, &mut inbox)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return error,
        Err(_) => return SessionError::NoHello,
    };
    let out = match Message::Ask.to_bytes() {
        Ok(ask) => FollowerOut::new(write).asking_with(ask),
        Err(error) => return error.into(),
    };
    let (view, judged) = judge(core, &hello).await;
    let place = places.try_acquire().map_err(|_| Refusal::Full);
    let (lead, _place) = match (judged, place) {
        (Ok(lead), Ok(place)) => (lead, place),
        (Err(refusal), _) | (Ok(_), Err(refusal)) => return refuse(&out, refusal).await,
    };
    let follower = core.log.follow(hello.node, hello.incarnation, out.clone());
    let session =
        Session { core, hello, lead, out, follower, copied: AtomicU64::new(0), heard: Notify::new() };
    let (who, position) = (session.hello.node, session.hello.position);
    tracing::info!(replica = %who, %from, ?position, "a replica follows");
    let ended = tokio::select! {
        biased;
        ended = session.listen(read, inbox, view) => ended,
        ended = session.send() => ended,
        ended = session.show_life() => ended,
    };
    core.replication.serves_no_more(who);
    let Err(ended) = ended;
    tracing::info!(replica = %who, %ended, "a replica is gone");
    ended
}

/// Judges a replica by the newest state, and waits for that for a moment if the replica has seen a newer one.
async fn judge(core: &NodeCore, hello: &Hello) -> (Arc<View>, Result<Lead, Refusal>) {
    let until = core.env.clock.boot().after(NEWS_LIMIT);
    loop {
        let view = core.view.load_full();
        let judged = admission::judge(hello, &view);
        if judged.is_ok() || !admission::is_ahead(hello, &view) || core.env.clock.boot() >= until {
            return (view, judged);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// These loops end by an error only.
type Endless = Result<Infallible, SessionError>;

async fn refuse(out: &FollowerOut, refusal: Refusal) -> SessionError {
    match Message::Answer(Answer::Refused(refusal)).to_bytes() {
        Ok(bytes) => match tokio::time::timeout(HELLO_LIMIT, out.send(bytes)).await {
            Ok(Ok(())) => refusal.into(),
            Ok(Err(error)) => error.into(),
            Err(_) => SessionError::Silent,
        },
        Err(error) => error.into(),
    }
}

async fn first_words(read: &mut ReadHalf<Stream>, inbox: &mut Inbox) -> Result<Hello, SessionError> {
    loop {
        if read.read_buf(inbox.room()).await? == 0 {
            return Err(SessionError::Closed);
        }
        match inbox.pop()? {
            None => {}
            Some(Received::Message(Message::Hello(hello))) => return Ok(hello),
            Some(Received::Message(_) | Received::Frame(_)) => return Err(WireError::Foreign.into()),
        }
    }
}

pub(super) struct Session<'a> {
    pub(super) core: &'a Arc<NodeCore>,
    pub(super) hello: Hello,
    lead: Lead,
    pub(super) out: FollowerOut,
    pub(super) follower: Follower,
    /// Bytes of pieces that the replica has taken in.
    pub(super) copied: AtomicU64,
    /// It has acknowledged something.
    pub(super) heard: Notify,
}

impl Session<'_> {
    /// Counts acknowledgements, for as long as the replica is one (I5).
    async fn listen(&self, mut read: ReadHalf<Stream>, mut inbox: Inbox, mut view: Arc<View>) -> Endless {
        loop {
            let mut newest = None;
            while let Some(received) = inbox.pop()? {
                match received {
                    Received::Message(Message::Ack(ack)) => newest = Some(ack),
                    Received::Message(_) | Received::Frame(_) => return Err(SessionError::SecondHello),
                }
            }
            if let Some(ack) = newest {
                self.check(&mut view)?;
                self.count(ack);
            }
            match tokio::time::timeout(LINK_TIMEOUT, read.read_buf(inbox.room())).await {
                Err(_) => return Err(SessionError::Silent),
                Ok(Ok(0)) => return Err(SessionError::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }

    fn check(&self, view: &mut Arc<View>) -> Result<(), SessionError> {
        let present = self.core.view.load();
        if !Arc::ptr_eq(&present, view) {
            if !admission::still_holds(&self.hello, self.lead, &present) {
                return Err(SessionError::Ended);
            }
            *view = Arc::clone(&present);
        }
        if self.follower.has_ended() { Err(SessionError::Ended) } else { Ok(()) }
    }

    fn count(&self, ack: Ack) {
        self.follower.acked(ack.number, ack.clock_ms);
        self.copied.store(ack.copied, Relaxed);
        self.heard.notify_one();
    }

    /// Sends everything, for ever.
    async fn send(&self) -> Endless {
        let mut position = match self.resumable() {
            Some(position) => {
                self.core.replication.serves(self.hello.node, Serving::Following);
                self.core.replication.continued.fetch_add(1, Relaxed);
                let level = self.core.log.last();
                self.out.send(Message::Answer(Answer::Continue { level }).to_bytes()?).await?;
                position
            }
            None => {
                self.core.replication.serves(self.hello.node, Serving::Copying);
                let position = self.copy().await?;
                self.core.replication.serves(self.hello.node, Serving::Following);
                position
            }
        };
        loop {
            position = self.catch_up(position).await?;
            if !self.follower.level_from(position)? {
                continue;
            }
            while self.follower.is_level() {
                self.out.flush().await?;
                self.follower.changed().await;
            }
            if self.follower.has_ended() {
                return Err(SessionError::Ended);
            }
            // It has fallen behind what may wait for its socket: what is queued leaves, then the log is read again.
            self.out.flush().await?;
            let batch = self.follower.queued_up_to();
            position = Position { epoch: self.lead.epoch, batch };
        }
    }

    /// From where the replica can go on: its log is a prefix of this one, which still holds what follows (I6, ►15).
    fn resumable(&self) -> Option<Position> {
        let (log, position) = (&self.core.log, self.hello.position?);
        if log.continues(position) && log.read_after(position, 0).is_ok() {
            return Some(position);
        }
        self.core.replication.refused_positions.fetch_add(1, Relaxed);
        tracing::info!(
            replica = %self.hello.node,
            theirs = %position,
            ours = %log.last(),
            "the log of the replica is no prefix of this one, or lies too far back"
        );
        None
    }

    /// Sends what the log holds behind a position, and says how far that was.
    pub(super) async fn catch_up(&self, mut position: Position) -> Result<Position, SessionError> {
        loop {
            if self.follower.has_ended() {
                return Err(SessionError::Ended);
            }
            let frames = self.core.log.read_after(position, PORTION)?;
            if frames.is_empty() {
                return Ok(position);
            }
            for frame in &frames {
                self.out.send_frame(frame).await?;
                position = frame.position();
            }
        }
    }

    /// Gives the replica its clock back under a valid lease, and shows it that the link lives.
    async fn show_life(&self) -> Endless {
        loop {
            tokio::time::sleep(ECHO_EVERY).await;
            let leased = self.core.serving.covers(self.core.env.clock.boot());
            let clock_ms = if leased { self.follower.clock_ms() } else { 0 };
            self.out.send(Message::Echo { clock_ms }.to_bytes()?).await?;
        }
    }
}
