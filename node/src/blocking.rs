//! Clients that wait for an element: BLPOP and its kin.
//!
//! A waiter stands in the queue of each of its keys, under the lane lock, from the moment in which its command found
//! nothing. At the end of the command (or the transaction) that puts something there, still under the lock, the
//! waiters of the key are served in the order in which they came ([`serve`]); nobody can take the element in between.
//! A waiter is answered once: by who pushed, by its timeout, by CLIENT UNBLOCK or when its slot leaves. Whoever takes
//! its sender answers. Its connection takes it out of all queues afterwards, so that others only skip it.
//!
//! Nothing waits while lanes are held: inside a transaction these commands answer at once (`Session::executing`).

use crate::commands::args::Key;
use crate::core::NodeCore;
use crate::release::Stamp;
use crate::resp::{Error, Reply, Resp};
use crate::route::{self, Intent, Wish};
use crate::session::Session;
use crate::store::object::Kind;
use crate::store::waiting::Ready;
use crate::store::{Access, Data, Entry, Held, Lanes, Locked};
use capstan_proto::env::{BoxFuture, UnixMs};
use capstan_proto::ids::ShardEpoch;
use capstan_proto::slot::Slot;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Tries to serve a waiter from a key that holds its type; whether there was enough. Writes the reply.
pub type Attempt = Box<dyn Fn(&mut Data<'_>, &mut Reply, Key<'_>) -> Result<bool, Error> + Send + Sync>;

/// What a client waits for.
#[allow(missing_debug_implementations)]
pub struct Wanted {
    /// The type that a key must have.
    pub kind: Kind,
    /// The slot that is written to beside the key's own.
    pub target: Option<Slot>,
    /// What is done once a key has it.
    pub attempt: Attempt,
}

/// One key of a waiter, which outlives its command.
#[derive(Debug, Clone)]
struct OwnKey {
    slot: Slot,
    key: Box<[u8]>,
}

/// A client that waits.
pub struct Waiter {
    client: u64,
    db: u8,
    resp: Resp,
    own_ip: String,
    keys: Vec<OwnKey>,
    wanted: Wanted,
    sender: Mutex<Option<oneshot::Sender<Served>>>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("client", &self.client)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// How the wait ended.
#[derive(Debug)]
pub struct Served {
    /// The reply.
    pub reply: Result<Answer, Error>,
    /// What it depends on when it leaves.
    pub stamp: Stamp,
}

/// The reply to a client that has waited.
#[derive(Debug)]
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing came in time.
    Nothing,
}

impl Served {
    fn without_data(reply: Result<Answer, Error>) -> Self {
        Self { reply, stamp: Stamp::default() }
    }
}

/// The answer of a command that waits, for its connection.
pub struct Blocked(pub BoxFuture<'static, Served>);

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocked(..)")
    }
}

impl Waiter {
    /// The right to answer, which exists once.
    fn claim(&self) -> Option<oneshot::Sender<Served>> {
        self.sender.lock().take()
    }

    /// Whether nobody has answered yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.sender.lock().is_some()
    }

    /// The type that it waits for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.wanted.kind
    }

    /// Answers without data, if nobody else has.
    fn dismiss(&self, reply: Result<Answer, Error>) -> bool {
        let sender = self.claim();
        // A receiver that is gone is a client that has left: then there is nobody to tell.
        sender.map(|sender| sender.send(Served::without_data(reply))).is_some()
    }
}

/// Everybody on this node who waits, by client.
#[derive(Debug, Default)]
pub struct Blocking {
    waiting: Mutex<BTreeMap<u64, Arc<Waiter>>>,
}

/// What CLIENT UNBLOCK makes of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    /// An error.
    Error,
}

impl Blocking {
    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether a client does.
    #[must_use]
    pub fn has(&self, client: u64) -> bool {
        self.waiting.lock().contains_key(&client)
    }

    /// Ends a client's wait; whether it waited.
    pub fn unblock(&self, client: u64, how: Unblock) -> bool {
        let waiter = self.waiting.lock().get(&client).cloned();
        let reply = match how {
            Unblock::Timeout => Ok(Answer::Nothing),
            Unblock::Error => Err(Error::Custom("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())),
        };
        waiter.is_some_and(|waiter| waiter.dismiss(reply))
    }
}

/// Why everybody is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The role of this node has changed: all waits end.
    RoleChanged,
    /// Slots have left: the waits for keys in them end with the way to their new owner.
    SlotsLeft,
}

/// Ends the waits that can no longer be served here. May block for a moment on a lane: not for I/O workers.
pub fn release_all(core: &NodeCore, why: Why) {
    let waiting: Vec<_> = core.blocking.waiting.lock().values().cloned().collect();
    for waiter in waiting {
        let error = match why {
            Why::RoleChanged => Some(Error::Custom(
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)".into(),
            )),
            Why::SlotsLeft => waiter.keys.iter().find_map(|key| redirect(core, key.slot, &waiter.own_ip)),
        };
        if let Some(error) = error {
            waiter.dismiss(Err(error));
        }
    }
}

/// Where a client has to go with a slot that this node does not serve any more.
fn redirect(core: &NodeCore, slot: Slot, own_ip: &str) -> Option<Error> {
    let access = core.lanes.lock(core.lanes.of(slot)).slot(slot).access();
    // A slot whose clients are held for a hand-over is still ours, and may stay so.
    if matches!(access, Access::Mine | Access::Held) {
        return None;
    }
    let view = core.view.load();
    let refusal = route::decide(&view, slot, access, Intent::Write, Wish::PrimariesOnly).err()?;
    Some(refusal.error(&view, slot, own_ip))
}

/// Lets the session's command wait for one of these keys, whose lanes are held. Not inside a transaction.
pub fn wait<'k>(
    core: &NodeCore,
    (session, data): (&mut Session, &mut Data<'_>),
    keys: impl Iterator<Item = Key<'k>>,
    wanted: Wanted,
    timeout: Option<Duration>,
) {
    let (sender, receiver) = oneshot::channel();
    let mut seen = BTreeSet::new();
    let keys: Vec<OwnKey> = keys
        .filter(|key| seen.insert(key.bytes))
        .map(|key| OwnKey { slot: key.slot, key: key.bytes.into() })
        .collect();
    let waiter = Arc::new(Waiter {
        client: session.client.as_ref().map_or(0, |client| client.id),
        db: data.db(),
        resp: session.resp,
        own_ip: route::own_ip(session),
        keys,
        wanted,
        sender: Mutex::new(Some(sender)),
    });
    for key in &waiter.keys {
        data.lane(key.slot).waiting.add(waiter.db, &key.key, waiter.clone());
    }
    core.blocking.waiting.lock().insert(waiter.client, waiter.clone());
    let place = Place { lanes: core.lanes.clone(), blocking: core.blocking.clone(), waiter };
    session.blocked = Some(Blocked(Box::pin(until_served(place, receiver, timeout))));
}

/// A waiter's places in the queues, given up when this is dropped: served, timed out, or the client has left.
struct Place {
    lanes: Arc<Lanes>,
    blocking: Arc<Blocking>,
    waiter: Arc<Waiter>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody serves it from now on.
        drop(self.waiter.claim());
        let waiter = &self.waiter;
        for key in &waiter.keys {
            self.lanes.lock(self.lanes.of(key.slot)).waiting.remove(waiter.db, &key.key, waiter);
        }
        let mut waiting = self.blocking.waiting.lock();
        if waiting.get(&waiter.client).is_some_and(|there| Arc::ptr_eq(there, waiter)) {
            waiting.remove(&waiter.client);
        }
    }
}

async fn until_served(
    place: Place,
    mut receiver: oneshot::Receiver<Served>,
    timeout: Option<Duration>,
) -> Served {
    let nothing = || Served::without_data(Ok(Answer::Nothing));
    let served = match timeout {
        None => (&mut receiver).await,
        Some(timeout) => match tokio::time::timeout(timeout, &mut receiver).await {
            Ok(served) => served,
            // If the right to answer is gone, somebody is answering at this moment.
            Err(_) if place.waiter.claim().is_some() => return nothing(),
            Err(_) => receiver.await,
        },
    };
    // A sender is never dropped without an answer.
    served.unwrap_or_else(|_| nothing())
}

/// Serves those who wait for what the command that has just run has put there. Its lanes are still held.
#[cold]
pub fn serve(lanes: &Arc<Lanes>, epoch: ShardEpoch, data: &mut Data<'_>) {
    let home = data.db();
    let mut elsewhere = Vec::new();
    while let Some(ready) = data.take_ready() {
        data.set_db(ready.db);
        if let Some(target) = serve_key(epoch, data, &ready) {
            elsewhere.push((ready, target));
        }
    }
    data.set_db(home);
    for (ready, target) in elsewhere {
        serve_across(lanes.clone(), epoch, ready, target, data.now());
    }
}

/// Serves the waiters of one key. A slot whose lane is not held, if one of them needs it.
fn serve_key(epoch: ShardEpoch, data: &mut Data<'_>, ready: &Ready) -> Option<Slot> {
    let key = ready.key();
    loop {
        let kind = data.peek(key).map(Entry::kind)?;
        let waiter = data.lane(key.slot).waiting.first(ready.db, key.bytes, kind)?;
        let target = waiter.wanted.target.filter(|slot| !data.holds(*slot));
        if target.is_some() {
            return target;
        }
        data.lane(key.slot).waiting.remove(ready.db, key.bytes, &waiter);
        let Some(sender) = waiter.claim() else { continue };
        let mut out = Reply::over(Vec::new(), waiter.resp);
        let reply = match (waiter.wanted.attempt)(data, &mut out, key) {
            Ok(true) => Ok(Answer::Bytes(out.into_bytes())),
            Ok(false) => {
                // It stays the first: what is there is not enough for it, and so for nobody behind it.
                *waiter.sender.lock() = Some(sender);
                data.lane(key.slot).waiting.put_back(ready.db, key.bytes, waiter);
                return None;
            }
            Err(error) => Err(error),
        };
        let batch = data.newest_batch(key.slot);
        // If the client has left at this moment, the element is gone with it, as in Redis.
        let _ = sender.send(Served { reply, stamp: Stamp { batch, under_lease: true, epoch } });
    }
}

/// BLMOVE of an emulated node to a slot of another lane: both lanes are taken anew, by a thread that may block. In a
/// cluster both keys are in one slot.
fn serve_across(lanes: Arc<Lanes>, epoch: ShardEpoch, ready: Ready, target: Slot, now: UnixMs) {
    tokio::task::spawn_blocking(move || {
        let wanted = [lanes.of(ready.slot), lanes.of(target)];
        let held: Vec<Option<Held<'_>>> =
            (0..lanes.count()).map(|lane| wanted.contains(&lane).then(|| lanes.lock(lane))).collect();
        let mut data = Data::new(&lanes, Locked::Many(held), ready.db, now);
        data.note_ready(ready.key());
        serve(&lanes, epoch, &mut data);
    });
}
