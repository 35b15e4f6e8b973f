//! A replica's link to its primary: dialled again and again, until the role of this node changes (I5).
//!
//! It lives for one (shard, primary, epoch): a newer state of the cluster means another receiver. [`Receiver::stop_and_join`]
//! returns when everything that had come is in the log and applied, and nothing more will be: what a killed primary has
//! left in the socket is read to its end. It acknowledges what it has applied now and then, and at once when asked. Whatever breaks the link is said once and tried again after a pause.

use super::apply::Unfinished;
use super::intake::Intake;
use super::moderation::{self, Moderation};
use super::standing::{clock_ms, say_once};
use super::wire::{Hello, Inbox, Message, Refusal, Side, Start, WireError};
use super::{LINK_TIMEOUT, standing};
use crate::core::NodeCore;
use crate::log::{FrameError, NotNext};
use crate::store::codec::DecodeError;
use capstan_proto::env::Boot;
use capstan_proto::ids::{NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::rpc::transport;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The first pause after a link broke; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
/// The longest.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// A replica that stops reads on for as long as something comes within this.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);
/// But not longer than this altogether: a promotion waits for it.
const DRAIN_MAX: Duration = Duration::from_millis(200);
/// Acknowledgements that nobody has asked for are this far apart: each costs both sides a system call and a wake-up.
const ACK_PAUSE: Duration = Duration::from_millis(1);
/// An acknowledgement that the socket does not take within this is given up, and all later ones.
const ACK_LIMIT: Duration = Duration::from_secs(2);

/// Whom a receiver follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: ShardId,
    /// Its primary.
    pub primary: NodeId,
    /// Since which promotion.
    pub epoch: ShardEpoch,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection, or it broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The primary ended it.
    #[error("the primary closed the connection")]
    Closed,
    /// Nothing came.
    #[error("nothing heard for {} s", LINK_TIMEOUT.as_secs())]
    Silent,
    /// It serves us not.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// What came is no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A frame that is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that cannot follow (I6).
    #[error(transparent)]
    NotNext(NotNext),
    /// A batch that could not be applied as a whole.
    #[error(transparent)]
    Unfinished(Unfinished),
    /// An entry of a copy that this program does not know.
    #[error(transparent)]
    Entry(DecodeError),
    /// Something that has no place here.
    #[error("{0} came out of place")]
    OutOfPlace(&'static str),
    /// A batch of an epoch that this link is not for (I5).
    #[error("{0} is of a newer epoch than this link")]
    NewerEpoch(Position),
    /// This node does not know yet who it is, or how its primary is reached.
    #[error("this node does not know how to reach its primary")]
    Unknown,
    /// The process is ending.
    #[error("the node is stopping")]
    Stopping,
}

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    target: Target,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Follows the primary of an epoch of a shard from now on.
    #[must_use]
    pub fn start(core: &Arc<NodeCore>, shard: ShardId, primary: NodeId, epoch: ShardEpoch) -> Self {
        let target = Target { shard, primary, epoch };
        if core.replication.log_is_of(shard) {
            tracing::info!(%shard, "this node replicates another shard now: its log begins anew");
            core.log.start_over(Position::default(), Vec::new());
            core.report.set_whole_of(None);
        }
        let (stop, stopped) = watch::channel(false);
        let task = core.replication.spawn(run(Arc::clone(core), target, stopped));
        Self { target, stop, task }
    }

    /// Whom it follows.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Ends it. When this returns, everything that had come is in the log and applied, and nothing more will be.
    pub async fn stop_and_join(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            tracing::error!(%error, "the receiver panicked");
        }
    }
}

async fn run(core: Arc<NodeCore>, target: Target, mut stop: watch::Receiver<bool>) {
    let (mut said, mut pause) = (String::new(), BACK_OFF_FIRST);
    while !*stop.borrow() {
        let began = core.env.clock.boot();
        let address = address(&core, target.primary);
        let ended = match &address {
            None => Err(LinkError::Unknown),
            Some(address) => follow(&core, target, address, &mut stop).await,
        };
        core.replication.link_is_down(core.env.clock.boot());
        match ended {
            Ok(()) => break,
            Err(error) => say_once(&mut said, &error, address.as_deref().unwrap_or("?")),
        }
        if core.env.clock.boot().since(began) > LINK_TIMEOUT {
            (said, pause) = (String::new(), BACK_OFF_FIRST);
        }
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(BACK_OFF_MAX);
    }
}

/// Returns when the receiver is to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say so.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where the primary's peer port is. A node that announces no address listens on loopback only.
fn address(core: &NodeCore, primary: NodeId) -> Option<String> {
    let topology = core.topology.load();
    let at = &topology.nodes.get(&primary)?.addresses;
    let ip = if at.ip.is_empty() { "127.0.0.1" } else { &at.ip };
    Some(if ip.contains(':') { format!("[{ip}]:{}", at.peer_port) } else { format!("{ip}:{}", at.peer_port) })
}

fn hello(core: &NodeCore, target: Target) -> Option<Hello> {
    let view = core.view.load();
    let starts = core.log.epochs().iter().map(|start| -> Start { (start.epoch.0, start.first.0) }).collect();
    Some(Hello {
        group: view.topology().group?,
        shard: target.shard,
        node: view.me(),
        incarnation: view.incarnation()?,
        epoch: target.epoch,
        position: Some(core.log.last()).filter(|last| *last != Position::default()),
        starts,
    })
}

/// One link, until it breaks; `Ok` when it was told to stop, and everything that had come is applied.
async fn follow(
    core: &Arc<NodeCore>,
    target: Target,
    address: &str,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), LinkError> {
    let hello = hello(core, target).ok_or(LinkError::Unknown)?;
    let hello = Message::Hello(hello).to_bytes()?;
    let secret = core.replication.secret();
    let opening = async {
        let mut stream = transport::dial(&core.env, &secret, address).await?;
        stream.write_all(&hello).await?;
        stream.flush().await?;
        Ok::<_, io::Error>(stream)
    };
    let stream = tokio::select! {
        biased;
        () = told(stop) => return Ok(()),
        opened = opening => opened?,
    };
    let (read, write) = tokio::io::split(stream);
    let mut link = Link {
        core,
        read,
        acks: Some(write),
        inbox: Inbox::new(Side::Replica),
        intake: Intake::new(core, target),
        moderation: Moderation::default(),
        owes: false,
        last_ack: Boot::default(),
    };
    link.run(stop).await
}

struct Link<'a> {
    core: &'a Arc<NodeCore>,
    read: ReadHalf<capstan_proto::env::Stream>,
    /// Gone once an acknowledgement could not be sent: what still comes is read to its end all the same.
    acks: Option<WriteHalf<capstan_proto::env::Stream>>,
    inbox: Inbox,
    intake: Intake<'a>,
    moderation: Moderation,
    /// Something came that is not acknowledged.
    owes: bool,
    last_ack: Boot,
}

impl Link<'_> {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), LinkError> {
        loop {
            let patience = if self.owes { ACK_PAUSE } else { LINK_TIMEOUT };
            let got = tokio::select! {
                biased;
                () = told(stop) => return self.drain().await,
                got = tokio::time::timeout(patience, self.read.read_buf(self.inbox.room())) => got,
            };
            match got {
                Err(_) if self.owes => {}
                Err(_) => return Err(LinkError::Silent),
                Ok(Ok(0)) => return Err(LinkError::Closed),
                Ok(Err(error)) => return Err(error.into()),
                Ok(Ok(read)) => {
                    self.take_in().await?;
                    self.owes = true;
                    let (now, asked) = (self.core.env.clock.boot(), self.intake.take_ask());
                    let pauses = self.moderation.pauses_after(now, read, asked);
                    if asked || now.since(self.last_ack) >= ACK_PAUSE {
                        self.acknowledge().await?;
                    }
                    if pauses {
                        let _ = tokio::time::timeout(moderation::PAUSE, told(stop)).await;
                    }
                    continue;
                }
            }
            self.acknowledge().await?;
        }
    }

    /// Everything that is complete in what was read.
    async fn take_in(&mut self) -> Result<(), LinkError> {
        while let Some(received) = self.inbox.pop()? {
            self.intake.take(received).await?;
        }
        let now = self.core.env.clock.boot();
        self.core.replication.with_link(|link| link.last_io = Some(now));
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), LinkError> {
        (self.owes, self.last_ack) = (false, self.core.env.clock.boot());
        let Some(acks) = &mut self.acks else { return Ok(()) };
        let ack = Message::Ack(self.intake.ack()).to_bytes()?;
        let sending = async {
            acks.write_all(&ack).await?;
            acks.flush().await
        };
        if !matches!(tokio::time::timeout(ACK_LIMIT, sending).await, Ok(Ok(()))) {
            // Closing now would throw away what the primary has sent before it went.
            self.acks = None;
        }
        Ok(())
    }

    /// Told to stop: what has come already, or comes at once, is taken in.
    async fn drain(&mut self) -> Result<(), LinkError> {
        let until = clock_ms(self.core) + DRAIN_MAX.as_millis() as u64;
        while standing::clock_ms(self.core) < until {
            let reading = self.read.read_buf(self.inbox.room());
            let Ok(Ok(1..)) = tokio::time::timeout(DRAIN_PAUSE, reading).await else { break };
            if let Err(error) = self.take_in().await {
                tracing::warn!(%error, "the last that came of the old primary ends here");
                break;
            }
        }
        // The primary may still count what came last.
        self.acknowledge().await
    }
}
