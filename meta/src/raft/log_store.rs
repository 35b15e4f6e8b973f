//! The Raft log, the vote and the snapshot in a [`Store`], and openraft's view of them.
//!
//! Everything read after the start comes from memory: snapshots keep the log short, so a copy of it is affordable,
//! and no async worker ever waits for a disk to read. Every record has a version byte. A record that cannot be read,
//! or a hole in the log, refuses the start; nothing is guessed at.
//!
//! Keys: `L` + index (u64 BE) an entry; `vote`, `purged`, `committed`, `identity`, `snapshot`.

use super::journal::{Journal, Until};
use super::types::{Entry, LogId, StorageError, StoreToken, TypeConfig, Vote};
use capstan_proto::codec::{self, CodecError};
use capstan_proto::env::{Op, Store};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The version byte of every record that this file writes.
const FORMAT: u8 = 1;
const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";
const COMMITTED: &[u8] = b"committed";
const IDENTITY: &[u8] = b"identity";
pub(super) const SNAPSHOT: &[u8] = b"snapshot";
const ENTRIES: &[u8] = b"L";
const ENTRIES_END: &[u8] = b"M";
/// How many entries are read from the store at a time when it is opened.
const LOAD_AT_ONCE: usize = 1024;
/// A message to a follower carries entries up to this size, and always at least one.
const SEND_BYTES_MAX: usize = 4 << 20;

/// Who a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Drawn when the folder became a meta server's.
    pub(crate) store: StoreToken,
    /// Its number in the group, once it was founded or invited.
    pub(crate) seat: Option<u64>,
}

#[derive(Default)]
struct Mirror {
    entries: BTreeMap<u64, (Entry, usize)>,
    bytes: usize,
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
}

impl Mirror {
    fn insert(&mut self, entry: Entry, bytes: usize) {
        self.bytes += bytes;
        if let Some((_, old)) = self.entries.insert(entry.log_id.index, (entry, bytes)) {
            self.bytes -= old;
        }
    }

    fn keep(&mut self, kept: impl RangeBounds<u64>) -> Vec<u64> {
        let gone: Vec<u64> = self.entries.keys().copied().filter(|index| !kept.contains(index)).collect();
        for index in &gone {
            if let Some((_, bytes)) = self.entries.remove(index) {
                self.bytes -= bytes;
            }
        }
        gone
    }
}

/// The Raft log of this server. Clones are the same log.
#[derive(Clone)]
pub struct LogStore {
    journal: Journal,
    mirror: Arc<Mutex<Mirror>>,
}

/// What else was found in the store when it was opened.
pub(crate) struct Found {
    pub(crate) identity: Option<Identity>,
    pub(crate) snapshot: Option<Vec<u8>>,
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> io::Error {
    let text = format!(
        "{what} in the store cannot be read: {why}. Remove this server, rejoin with a new id (an empty --dir, then \
         `capstan meta members replace`)"
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn read<T: DeserializeOwned>(store: &dyn Store, key: &[u8]) -> io::Result<Option<T>> {
    let bytes = store.get(key)?;
    let name = String::from_utf8_lossy(key);
    bytes.map(|bytes| codec::decode(FORMAT, &bytes).map_err(|why| unreadable(&name, &why))).transpose()
}

fn put<T: Serialize>(key: &[u8], value: &T) -> Result<Op, CodecError> {
    Ok(Op::Put(key.to_vec(), codec::encode(FORMAT, value)?))
}

fn entry_key(index: u64) -> Vec<u8> {
    [ENTRIES, &index.to_be_bytes()].concat()
}

impl LogStore {
    /// Reads the whole store, checks it, and starts its writer. Blocks if the store does.
    pub(crate) fn open(store: Arc<dyn Store>) -> io::Result<(Self, Found)> {
        let mut mirror = Mirror {
            vote: read(&*store, VOTE)?,
            purged: read(&*store, PURGED)?,
            committed: read(&*store, COMMITTED)?,
            ..Mirror::default()
        };
        let mut from = ENTRIES.to_vec();
        loop {
            let page = store.scan(&from, ENTRIES_END, LOAD_AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            from = [last, &[0][..]].concat();
            for (_, bytes) in &page {
                let entry: Entry =
                    codec::decode(FORMAT, bytes).map_err(|why| unreadable("a log entry", &why))?;
                mirror.insert(entry, bytes.len());
            }
        }
        check_whole(&mirror)?;
        let found = Found { identity: read(&*store, IDENTITY)?, snapshot: store.get(SNAPSHOT)? };
        let journal = Journal::start(store)?;
        Ok((Self { journal, mirror: Arc::new(Mutex::new(mirror)) }, found))
    }

    /// Neither log nor vote: this server has never taken part in anything.
    pub(crate) fn is_pristine(&self) -> bool {
        let mirror = self.mirror.lock();
        mirror.entries.is_empty() && mirror.vote.is_none() && mirror.purged.is_none()
    }

    /// How many bytes of log are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.mirror.lock().bytes
    }

    pub(super) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Says who this folder is; durable on return.
    pub(crate) async fn save_identity(&self, identity: Identity) -> io::Result<()> {
        let op = put(IDENTITY, &identity).map_err(io::Error::other)?;
        self.journal.write(vec![op], Until::Durable).await
    }

    /// A server that led when it stopped must not lead on under the same leader id.
    ///
    /// openraft starts such a server as leader of its old term. Its lease table would be empty, and a decision of its
    /// former life, still uncommitted at the end of the log, would carry the very leader id under which it now grants
    /// leases: ►2 could not tell the two lives apart, and a delayed promotion would commit beside a fresh lease (I4).
    /// So it remembers its own vote as a candidate's: it is elected anew, under a new leader id, or somebody else is.
    pub(crate) fn stand_down(&self, me: u64) {
        if let Some(vote) = &mut self.mirror.lock().vote
            && vote.leader_id.node_id == me
        {
            vote.committed = false;
        }
    }

    async fn save<T: Serialize>(&self, key: &[u8], value: &T, until: Until) -> io::Result<()> {
        let op = put(key, value).map_err(io::Error::other)?;
        self.journal.write(vec![op], until).await
    }
}

/// A log is one run of entries that begins right after what was purged.
fn check_whole(mirror: &Mirror) -> io::Result<()> {
    let mut next = mirror.purged.map(|purged| purged.index + 1);
    for index in mirror.entries.keys() {
        if next.is_some_and(|next| next != *index) {
            return Err(unreadable("the log", &format!("no entry before {index}")));
        }
        next = Some(index + 1);
    }
    Ok(())
}

fn write_failed(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let mirror = self.mirror.lock();
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        Ok(mirror.entries.range(range).map(|(_, (entry, _))| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let mirror = self.mirror.lock();
        let mut bytes = 0;
        let within = mirror.entries.range(start..end.max(start)).take_while(|(_, (_, size))| {
            let first = bytes == 0;
            bytes += size;
            first || bytes <= SEND_BYTES_MAX
        });
        Ok(within.map(|(_, (entry, _))| entry.clone()).collect())
    }
}

/// Whether a `BTreeMap` would refuse the range.
fn is_empty(range: &impl RangeBounds<u64>) -> bool {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    match range.end_bound() {
        Bound::Included(end) => start > *end,
        Bound::Excluded(end) => start >= *end,
        Bound::Unbounded => false,
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let mirror = self.mirror.lock();
        let last = mirror.entries.last_key_value().map(|(_, (entry, _))| entry.log_id);
        Ok(LogState { last_purged_log_id: mirror.purged, last_log_id: last.or(mirror.purged) })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.mirror.lock().vote = Some(*vote);
        let saved = self.save(VOTE, vote, Until::Durable).await;
        saved.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.mirror.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // A hint for the next start: what it says is applied again at once. Lost, the leader says it again.
        let Some(committed) = committed else { return Ok(()) };
        self.mirror.lock().committed = Some(committed);
        self.save(COMMITTED, &committed, Until::Visible).await.map_err(|error| write_failed(&error))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        // The hint is written beside the log, so it may name entries that a crash took away.
        let mirror = self.mirror.lock();
        let last = mirror.entries.last_key_value().map(|(_, (entry, _))| entry.log_id).or(mirror.purged);
        Ok(mirror.committed.min(last))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut ops = Vec::new();
        {
            let mut mirror = self.mirror.lock();
            for entry in entries {
                let bytes = codec::encode(FORMAT, &entry).map_err(|error| write_failed(&error))?;
                let (index, size) = (entry.log_id.index, bytes.len());
                ops.push(Op::Put(entry_key(index), bytes));
                mirror.insert(entry, size);
            }
        }
        let durable = move |result| callback.log_io_completed(result);
        self.journal.append(ops, durable).await.map_err(|error| write_failed(&error))
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let gone = self.mirror.lock().keep(..log_id.index);
        let ops = gone.into_iter().map(|index| Op::Del(entry_key(index))).collect();
        self.journal.write(ops, Until::Durable).await.map_err(|error| write_failed(&error))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let mut ops = vec![put(PURGED, &log_id).map_err(|error| write_failed(&error))?];
        {
            let mut mirror = self.mirror.lock();
            mirror.purged = Some(log_id);
            let gone = mirror.keep((Bound::Excluded(log_id.index), Bound::Unbounded));
            ops.extend(gone.into_iter().map(|index| Op::Del(entry_key(index))));
        }
        self.journal.write(ops, Until::Durable).await.map_err(|error| write_failed(&error))
    }
}

/// An error about the snapshot.
pub(super) fn snapshot_failed(verb: ErrorVerb, error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::new(ErrorSubject::Snapshot(None), verb, AnyError::new(error)).into()
}
