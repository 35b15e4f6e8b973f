//! The way of a command into the log: a bounded queue, and one task that writes what arrives together as one entry.
//!
//! openraft 0.9 flushes once an entry (CRATES 1.3.6), so commands that wait while others are written share the next
//! entry as a [`Body::Batch`]. It decides what is known about a command that was not answered: not written at all, or
//! unknown. An unknown one may still commit; its sender asks again with the same request id.

use super::lead::Lead;
use super::types::{MetaNode, Raft, Reply, TypeConfig};
use crate::state::{BATCH_MAX, Body, Command, Done, Outcome};
use capstan_proto::env::{Env, UnixMs};
use capstan_proto::ids::RequestId;
use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// A proposal that is not answered within this has an unknown outcome.
pub const PROPOSE_LIMIT: Duration = Duration::from_secs(5);
/// Commands that wait to be written.
const QUEUE: usize = 4096;
/// Entries that are written or replicated at a time; what arrives meanwhile is gathered.
const IN_FLIGHT: usize = 4;
/// Commands in one entry.
const GATHER_MAX: usize = if BATCH_MAX < 256 { BATCH_MAX } else { 256 };

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This server does not lead, or does not hear from a quorum: nothing was written here.
    #[error("this meta server does not lead the group{}", leader.as_deref().map(|at| format!("; {at} does")).unwrap_or_default())]
    NotLeader {
        /// Who leads, HOST:PORT, if that is known and somebody else.
        leader: Option<String>,
    },
    /// Too much is waiting, or it waited too long for its turn: nothing was written.
    #[error("the meta leader is too busy: nothing was done, ask again")]
    Busy,
    /// It was written and not answered: it may have been done, or may still be. The same request id asks again.
    #[error("outcome unknown: {0}; ask again with the same request id")]
    Unknown(String),
    /// This server is stopping; nothing was written here.
    #[error("this meta server is stopping")]
    Stopping,
}

/// The answer to a proposal, with the note whether it is one that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// What became of it.
    pub outcome: Outcome,
    /// It had been done before, under the same request id.
    pub repeated: bool,
}

type Answer = Result<Proposed, ProposeError>;

const QUEUED: u8 = 0;
const WRITTEN: u8 = 1;
const GIVEN_UP: u8 = 2;

struct Item {
    command: Command,
    /// Whose move it was: the writer's, or the sender's that gave up.
    stage: Arc<AtomicU8>,
    answer: oneshot::Sender<Answer>,
}

fn claim(stage: &AtomicU8, to: u8) -> bool {
    stage.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The sending end of the queue.
#[derive(Clone)]
pub(super) struct Proposals {
    queue: mpsc::Sender<Item>,
}

impl Proposals {
    /// Starts the task that writes. It ends with the last clone of this.
    pub(super) fn start(env: &Env, raft: Raft, lead: Lead) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        tokio::spawn(write(env.clone(), raft, lead, items));
        Self { queue }
    }

    /// Proposes one command and waits, at most [`PROPOSE_LIMIT`], for its outcome.
    pub(super) async fn propose(&self, command: Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        let stage = Arc::new(AtomicU8::new(QUEUED));
        let item = Item { command, stage: Arc::clone(&stage), answer };
        match self.queue.try_send(item) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ProposeError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ProposeError::Stopping),
        }
        match tokio::time::timeout(PROPOSE_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if claim(&stage, GIVEN_UP) => Err(ProposeError::Stopping),
            Ok(Err(_)) => Err(ProposeError::Unknown("this meta server stopped".to_owned())),
            Err(_) if claim(&stage, GIVEN_UP) => Err(ProposeError::Busy),
            Err(_) => {
                let text = format!("no quorum confirmed it within {} s", PROPOSE_LIMIT.as_secs());
                Err(ProposeError::Unknown(text))
            }
        }
    }
}

async fn write(env: Env, raft: Raft, lead: Lead, mut items: mpsc::Receiver<Item>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut held_back: Option<Item> = None;
    loop {
        // First a place, then the command: what arrives while there is none goes into one entry.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let first = match held_back.take() {
            Some(item) => item,
            None => match items.recv().await {
                Some(item) => item,
                None => return,
            },
        };
        let mut together = vec![first];
        while gathers(&together[0]) && together.len() < GATHER_MAX {
            match items.try_recv() {
                Ok(item) if gathers(&item) => together.push(item),
                Ok(item) => {
                    held_back = Some(item);
                    break;
                }
                Err(_) => break,
            }
        }
        together.retain(|item| claim(&item.stage, WRITTEN));
        submit(&env, &raft, &lead, together, place).await;
    }
}

/// The founding and a batch stand alone in their entry.
fn gathers(item: &Item) -> bool {
    !matches!(item.command.body, Body::Batch(_) | Body::Found { .. })
}

async fn submit(env: &Env, raft: &Raft, lead: &Lead, mut items: Vec<Item>, place: OwnedSemaphorePermit) {
    if items.is_empty() {
        return;
    }
    if lead.mine().is_none() {
        return refuse(items, &ProposeError::NotLeader { leader: None });
    }
    let command = if items.len() == 1 {
        items[0].command.clone()
    } else {
        let mut request = [0; 16];
        env.random.fill(&mut request);
        let body = Body::Batch(items.iter().map(|item| item.command.clone()).collect());
        let at: UnixMs = env.clock.wall();
        Command { request: RequestId(request), author: "group commit".to_owned(), at, leader: None, body }
    };
    match raft.client_write_ff(command).await {
        Err(fatal) => refuse(items, &ProposeError::Unknown(fatal.to_string())),
        Ok(written) => {
            tokio::spawn(async move {
                let _place = place;
                let result = match tokio::time::timeout(PROPOSE_LIMIT, written).await {
                    Ok(Ok(result)) => result.map_err(|error| lost(&error)),
                    Ok(Err(_)) => {
                        Err(ProposeError::Unknown("the leader stopped before it was confirmed".to_owned()))
                    }
                    // Senders have given up by themselves.
                    Err(_) => return,
                };
                match result {
                    Ok(response) => hand_out(items, response),
                    Err(error) => refuse(std::mem::take(&mut items), &error),
                }
            });
        }
    }
}

/// openraft says "forward" both for a command that it never took and for one that another leader's log replaced here.
/// The second may still stand in a third server's log, and be committed from there: so neither is a refusal.
fn lost(error: &ClientWriteError<u64, MetaNode>) -> ProposeError {
    ProposeError::Unknown(match error {
        ClientWriteError::ForwardToLeader(_) => "this server lost its leadership meanwhile".to_owned(),
        ClientWriteError::ChangeMembershipError(error) => error.to_string(),
    })
}

fn refuse(items: Vec<Item>, error: &ProposeError) {
    for item in items {
        // Its sender may have gone.
        let _ = item.answer.send(Err(error.clone()));
    }
}

fn hand_out(items: Vec<Item>, response: ClientWriteResponse<TypeConfig>) {
    let Reply::Applied { outcome, repeated, members_repeated } = response.data else {
        return refuse(items, &ProposeError::Unknown("the entry was none of a command".to_owned()));
    };
    if items.len() == 1 {
        for item in items {
            let _ = item.answer.send(Ok(Proposed { outcome: outcome.clone(), repeated }));
        }
        return;
    }
    let Outcome::Done { done: Done::Batch(outcomes), .. } = outcome else {
        return refuse(items, &ProposeError::Unknown(format!("a batch was answered with {outcome:?}")));
    };
    for ((item, outcome), repeated) in items.into_iter().zip(outcomes).zip(members_repeated) {
        let _ = item.answer.send(Ok(Proposed { outcome, repeated }));
    }
}
