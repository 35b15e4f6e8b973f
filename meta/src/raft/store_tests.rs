//! openraft's own storage suite on both stores, and what a restart finds.

use super::journal::Until;
use super::log_store::{Identity, LogStore};
use super::state_machine::{Machine, StateMachine};
use super::types::{LogId, StorageError, StoreToken, TypeConfig, Vote};
use capstan_proto::env::{Disk, Fault, FaultyStore, MemStore, Op, RealDisk, Store};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite, blank_ent};
use openraft::{RaftLogReader, RaftSnapshotBuilder};
use std::sync::Arc;

struct Builder<F>(F);

type Made = (Option<tempfile::TempDir>, Arc<dyn Store>);

impl<F: Fn() -> Made + Send + Sync>
    StoreBuilder<TypeConfig, LogStore, StateMachine, Option<tempfile::TempDir>> for Builder<F>
{
    async fn build(&self) -> Result<(Option<tempfile::TempDir>, LogStore, StateMachine), StorageError> {
        let (guard, store) = (self.0)();
        let (log, found) = LogStore::open(store).expect("a fresh store");
        let machine = Machine::open(found.snapshot.as_deref()).expect("a fresh store");
        let state_machine = StateMachine::new(machine, &log);
        Ok((guard, log, state_machine))
    }
}

fn on_sled() -> Made {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = RealDisk.open_store(dir.path()).expect("sled");
    (Some(dir), store)
}

#[test]
fn openrafts_storage_suite_passes_in_memory() {
    Suite::test_all(Builder(|| (None, Arc::new(MemStore::new()) as Arc<dyn Store>))).expect("the suite");
}

#[test]
fn openrafts_storage_suite_passes_on_sled() {
    Suite::test_all(Builder(on_sled)).expect("the suite");
}

fn open(store: &Arc<dyn Store>) -> (LogStore, StateMachine, Arc<Machine>) {
    let (log, found) = LogStore::open(Arc::clone(store)).expect("readable");
    let machine = Machine::open(found.snapshot.as_deref()).expect("readable");
    let state_machine = StateMachine::new(Arc::clone(&machine), &log);
    (log, state_machine, machine)
}

#[tokio::test]
async fn a_restart_finds_vote_log_identity_and_snapshot_as_they_were() {
    let store: Arc<dyn Store> = Arc::new(MemStore::new());
    let identity = Identity { store: StoreToken([7; 16]), seat: Some(3) };
    {
        let (mut log, mut machine, _) = open(&store);
        log.save_identity(identity).await.expect("memory");
        log.save_vote(&Vote::new_committed(4, 3)).await.expect("memory");
        let entries: Vec<_> = (1..=9).map(|n| blank_ent::<TypeConfig>(4, 3, n)).collect();
        log.blocking_append(entries.clone()).await.expect("memory");
        machine.apply(entries.into_iter().take(6)).await.expect("memory");
        machine.get_snapshot_builder().await.build_snapshot().await.expect("memory");
        log.purge(entries_id(4)).await.expect("memory");
    }
    let (mut log, found) = LogStore::open(Arc::clone(&store)).expect("readable");
    assert_eq!(found.identity, Some(identity));
    assert_eq!(log.read_vote().await.expect("memory"), Some(Vote::new_committed(4, 3)));
    let left = log.try_get_log_entries(..).await.expect("memory");
    assert_eq!(left.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    let machine = Machine::open(found.snapshot.as_deref()).expect("readable");
    assert_eq!(machine.applied(), 6);
}

fn entries_id(index: u64) -> LogId {
    blank_ent::<TypeConfig>(4, 3, index).log_id
}

#[tokio::test]
async fn a_leader_that_restarts_is_only_a_candidate_of_its_term() {
    let store: Arc<dyn Store> = Arc::new(MemStore::new());
    let (mut log, ..) = open(&store);
    log.save_vote(&Vote::new_committed(4, 3)).await.expect("memory");
    log.stand_down(2);
    assert_eq!(
        log.read_vote().await.expect("memory"),
        Some(Vote::new_committed(4, 3)),
        "another's vote stays"
    );
    log.stand_down(3);
    assert_eq!(log.read_vote().await.expect("memory"), Some(Vote::new(4, 3)));
}

#[tokio::test]
async fn a_damaged_record_or_a_hole_in_the_log_refuses_the_start_with_the_way_out() {
    let damage: [(&[u8], Vec<u8>); 4] = [
        (b"vote", b"\x01\xff\xff\xff".to_vec()),
        (b"L\0\0\0\0\0\0\0\x02", b"\x01garbage".to_vec()),
        (b"identity", b"\x09".to_vec()),
        (b"purged", b"".to_vec()),
    ];
    for (key, bytes) in damage {
        let store = MemStore::new();
        store.write(vec![Op::Put(key.to_vec(), bytes)]).expect("memory");
        let error = LogStore::open(Arc::new(store)).err().expect("refused");
        assert!(error.to_string().contains("rejoin with a new id"), "{error}");
    }
    let store: Arc<dyn Store> = Arc::new(MemStore::new());
    let (mut log, ..) = open(&store);
    log.blocking_append((1..=3).map(|n| blank_ent::<TypeConfig>(4, 3, n))).await.expect("memory");
    store.write(vec![Op::Del(b"L\0\0\0\0\0\0\0\x02".to_vec())]).expect("memory");
    assert!(LogStore::open(store).err().expect("refused").to_string().contains("no entry before 3"));
    assert!(Machine::open(Some(b"\x01nonsense")).is_err());
}

#[tokio::test]
async fn after_a_write_that_failed_nothing_more_is_written() {
    for (fault, blocking) in [(Fault::Write(2), false), (Fault::Write(2), true), (Fault::Flush(2), true)] {
        let (_dir, inner) =
            if blocking { on_sled() } else { (None, Arc::new(MemStore::new()) as Arc<dyn Store>) };
        let faulty: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, fault));
        let (log, ..) = open(&faulty);
        let write = |key: &'static [u8]| {
            let journal = log.journal();
            async move { journal.write(vec![Op::Put(key.to_vec(), vec![1])], Until::Durable).await }
        };
        assert!(write(b"a").await.is_ok());
        assert!(write(b"b").await.is_err(), "{fault:?}");
        assert!(write(b"c").await.is_err(), "{fault:?}");
        assert_eq!(faulty.get(b"c").expect("readable"), None, "{fault:?}: written after a failure");
    }
}
