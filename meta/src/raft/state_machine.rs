//! The cluster state behind openraft: applies committed entries, builds and installs snapshots, feeds watchers.
//!
//! Decides nothing: [`State::apply`] does. The state is kept in memory only; what is durable is the log and the last
//! snapshot. Readers take an `Arc` of it; applying copies the state only while somebody still holds an older one.

use super::feed::{Change, Feed, Follow};
use super::journal::{Journal, Until};
use super::log_store::{SNAPSHOT, snapshot_failed};
use super::types::{Entry, LogId, Reply, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::state::{Body, Command, State};
use capstan_proto::codec;
use capstan_proto::env::Op;
use capstan_proto::ids::{LeaderId, MetaId, Version};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorVerb, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Cursor};
use std::sync::Arc;

/// The version byte of a snapshot's image and of its record in the store.
const FORMAT: u8 = 1;

/// A snapshot as it travels and as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Image {
    applied: Option<LogId>,
    membership: StoredMembership,
    ever: BTreeSet<u64>,
    /// [`State::encode`], with its own version byte.
    state: Vec<u8>,
    /// CRC-32C of `state`.
    checksum: u32,
}

/// What lies in the store: a snapshot and its description.
#[derive(Serialize, Deserialize)]
struct Record {
    meta: SnapshotMeta,
    image: Vec<u8>,
}

#[derive(Clone)]
struct Kept {
    meta: SnapshotMeta,
    image: Arc<Vec<u8>>,
}

struct Inner {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The numbers of all members that there ever were: none is given twice.
    ever: BTreeSet<u64>,
    feed: Feed,
    snapshot: Option<Kept>,
}

/// The applied state of this server, shared between openraft and everyone who reads.
pub struct Machine {
    inner: Mutex<Inner>,
    /// Held while a snapshot is written, so that an older one never replaces a newer one.
    saving: tokio::sync::Mutex<()>,
}

impl Machine {
    /// An empty one, or the one of a snapshot record of the store.
    pub(crate) fn open(record: Option<&[u8]>) -> io::Result<Arc<Self>> {
        let mut inner = Inner {
            state: Arc::new(State::default()),
            applied: None,
            membership: StoredMembership::default(),
            ever: BTreeSet::new(),
            feed: Feed::starting_at(Version::default()),
            snapshot: None,
        };
        if let Some(bytes) = record {
            let bad = |why: &dyn std::fmt::Display| {
                let text = format!(
                    "the snapshot in the store cannot be read: {why}. Remove this server, rejoin with a new id (an \
                     empty --dir, then `capstan meta members replace`)"
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            };
            let record: Record = codec::decode(FORMAT, bytes).map_err(|why| bad(&why))?;
            let (image, state) = read_image(&record.image).map_err(|why| bad(&why))?;
            inner.restore(image, state, Kept { meta: record.meta, image: Arc::new(record.image) });
        }
        Ok(Arc::new(Self { inner: Mutex::new(inner), saving: tokio::sync::Mutex::default() }))
    }

    /// The applied state. Cheap; hold it briefly.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.inner.lock().state)
    }

    /// Watches the rows from a version on.
    pub fn follow(&self, from: Option<Version>) -> Follow {
        let inner = self.inner.lock();
        inner.feed.follow(from, inner.state.topology())
    }

    /// The numbers of all members that there ever were, as far as it is applied here.
    pub(crate) fn ever(&self) -> BTreeSet<u64> {
        self.inner.lock().ever.clone()
    }

    fn snapshot_is_older_than(&self, fresh: &Kept) -> bool {
        let inner = self.inner.lock();
        inner.snapshot.as_ref().is_none_or(|old| old.meta.last_log_id <= fresh.meta.last_log_id)
    }

    /// The index of the last applied entry.
    pub(crate) fn applied(&self) -> u64 {
        self.inner.lock().applied.map_or(0, |applied| applied.index)
    }
}

impl Inner {
    fn restore(&mut self, image: Image, state: State, kept: Kept) {
        self.feed = Feed::starting_at(state.version());
        self.state = Arc::new(state);
        self.applied = image.applied;
        self.membership = image.membership;
        self.ever = image.ever;
        self.snapshot = Some(kept);
    }

    fn apply(&mut self, entry: Entry) -> Reply {
        let LogId { leader_id, index } = entry.log_id;
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Reply::Nothing,
            EntryPayload::Membership(membership) => {
                self.ever.extend(membership.nodes().map(|(id, _)| *id));
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Reply::Nothing
            }
            EntryPayload::Normal(command) => {
                let leader = LeaderId { term: leader_id.term, node: MetaId(leader_id.node_id) };
                let before = self.state.version();
                let members: &[Command] =
                    if let Body::Batch(members) = &command.body { members } else { &[] };
                let known = |member: &Command| self.state.outcome_of(&member.request).is_some();
                let members_repeated = members.iter().map(known).collect();
                let applied = Arc::make_mut(&mut self.state).apply(index, leader, &command);
                let version = self.state.version();
                // A version without rows is published too: a grant waits until the node has reached it (►7).
                if version != before || !applied.rows.is_empty() {
                    self.feed.publish(Change { version, rows: applied.rows.into() });
                }
                Reply::Applied { outcome: applied.outcome, repeated: applied.repeated, members_repeated }
            }
        }
    }
}

fn read_image(bytes: &[u8]) -> Result<(Image, State), String> {
    let image: Image = codec::decode(FORMAT, bytes).map_err(|why| why.to_string())?;
    if crc32c::crc32c(&image.state) != image.checksum {
        return Err("its checksum is wrong".to_owned());
    }
    let state = State::decode(&image.state).map_err(|why| why.to_string())?;
    Ok((image, state))
}

/// What openraft drives. One a server.
pub struct StateMachine {
    machine: Arc<Machine>,
    journal: Journal,
}

/// Builds a snapshot of the state as it was when the builder was asked for.
pub struct SnapshotBuilder {
    machine: Arc<Machine>,
    journal: Journal,
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
    ever: BTreeSet<u64>,
}

impl StateMachine {
    pub(crate) fn new(machine: Arc<Machine>, log: &super::log_store::LogStore) -> Self {
        Self { machine, journal: log.journal() }
    }
}

/// Encoding and decoding a large state takes milliseconds: off the async workers, where there are other threads.
async fn aside<T: Send + 'static>(
    journal: &Journal,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match journal {
        Journal::Inline(..) => Ok(work()),
        Journal::Thread(_) => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

async fn save(journal: &Journal, kept: &Kept) -> io::Result<()> {
    let kept = kept.clone();
    let encode = move || codec::encode(FORMAT, &Record { meta: kept.meta, image: kept.image.to_vec() });
    let bytes = aside(journal, encode).await?.map_err(io::Error::other)?;
    journal.write(vec![Op::Put(SNAPSHOT.to_vec(), bytes)], Until::Durable).await
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let failed = |error: io::Error| snapshot_failed(ErrorVerb::Write, &error);
        let state = Arc::clone(&self.state);
        let (applied, membership, ever) = (self.applied, self.membership.clone(), self.ever.clone());
        let encode = move || {
            let state = state.encode()?;
            let checksum = crc32c::crc32c(&state);
            codec::encode(FORMAT, &Image { applied, membership, ever, state, checksum })
        };
        let image = aside(&self.journal, encode).await.map_err(failed)?;
        let image = image.map_err(|error| snapshot_failed(ErrorVerb::Write, &error))?;
        // From the log alone, never from a clock, so that a seed replays it.
        let snapshot_id = self.applied.map_or_else(|| "empty".to_owned(), |at| format!("{at}"));
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id };
        let kept = Kept { meta: meta.clone(), image: Arc::new(image) };
        let image = kept.image.to_vec();
        let _saving = self.machine.saving.lock().await;
        // While this one was made a newer one may have been installed; the log before that one is gone.
        if self.machine.snapshot_is_older_than(&kept) {
            save(&self.journal, &kept).await.map_err(failed)?;
            self.machine.inner.lock().snapshot = Some(kept);
        }
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(image)) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let inner = self.machine.inner.lock();
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut inner = self.machine.inner.lock();
        Ok(entries.into_iter().map(|entry| inner.apply(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let inner = self.machine.inner.lock();
        SnapshotBuilder {
            machine: Arc::clone(&self.machine),
            journal: self.journal.clone(),
            state: Arc::clone(&inner.state),
            applied: inner.applied,
            membership: inner.membership.clone(),
            ever: inner.ever.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed = |error: io::Error| snapshot_failed(ErrorVerb::Write, &error);
        let image = Arc::new(snapshot.into_inner());
        let kept = Kept { meta: meta.clone(), image: Arc::clone(&image) };
        let read = aside(&self.journal, move || read_image(&image)).await.map_err(failed)?;
        let (image, state) = read.map_err(|why| snapshot_failed(ErrorVerb::Read, &io::Error::other(why)))?;
        let _saving = self.machine.saving.lock().await;
        save(&self.journal, &kept).await.map_err(failed)?;
        self.machine.inner.lock().restore(image, state, kept);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let kept = self.machine.inner.lock().snapshot.clone();
        Ok(kept
            .map(|kept| Snapshot { meta: kept.meta, snapshot: Box::new(Cursor::new(kept.image.to_vec())) }))
    }
}
