//! The types that openraft is told about, and the runtime that it runs on.
//!
//! Decides one thing: chance comes from `Env`, so that a seed replays an election (CRATES 6).

use crate::state::{Command, Outcome};
use capstan_proto::env::Random;
use openraft::{AsyncRuntime, TokioRuntime};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::io::Cursor;
use std::time::Duration;

openraft::declare_raft_types!(
    /// openraft's type parameters, all in one.
    pub TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = MetaNode,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = MetaRuntime
);

/// openraft's handle with our types.
pub type Raft = openraft::Raft<TypeConfig>;
/// openraft's log position with our types.
pub(super) type LogId = openraft::LogId<u64>;
/// openraft's entry with our types.
pub(super) type Entry = openraft::Entry<TypeConfig>;
/// openraft's vote with our types.
pub(super) type Vote = openraft::Vote<u64>;
/// openraft's storage error with our types.
pub(super) type StorageError = openraft::StorageError<u64>;
/// openraft's snapshot description with our types.
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, MetaNode>;
/// openraft's applied membership with our types.
pub(super) type StoredMembership = openraft::StoredMembership<u64, MetaNode>;

/// Drawn when a folder becomes a meta server's. A server that lost its folder has another one, so nobody takes the
/// empty newcomer for the member whose votes and log it has forgotten (CRATES 1.3.8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct StoreToken(pub [u8; 16]);

impl StoreToken {
    /// A fresh one.
    #[must_use]
    pub fn draw(random: &dyn Random) -> Self {
        let mut token = [0; 16];
        random.fill(&mut token);
        Self(token)
    }
}

impl fmt::Display for StoreToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A member of the group, as the Raft membership records it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetaNode {
    /// Where it is reached, HOST:PORT.
    pub address: String,
    /// Which folder it is.
    pub store: StoreToken,
}

impl fmt::Display for MetaNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// What applying an entry answers its proposer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// An entry of Raft's own.
    Nothing,
    /// A command.
    Applied {
        /// What became of it.
        outcome: Outcome,
        /// It had been done before, under the same request id.
        repeated: bool,
        /// The same for each command of a batch.
        members_repeated: Vec<bool>,
    },
}

/// tokio, with random numbers that come from `Env`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MetaRuntime;

thread_local! {
    static CHANCE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// Seeds the numbers that openraft draws on this thread from now on. It draws once, when it starts: its election
/// timeout. The servers' windows are disjoint, so that the unseeded default does no harm.
pub(super) fn seed_chance(seed: u64) {
    CHANCE.with_borrow_mut(|chance| *chance = Some(SmallRng::seed_from_u64(seed)));
}

/// The numbers that [`seed_chance`] has seeded on this thread.
#[derive(Debug)]
pub struct Chance;

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        CHANCE.with_borrow_mut(|chance| chance.get_or_insert_with(|| SmallRng::seed_from_u64(0)).next_u64())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        rand_core_fill(self, dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

fn rand_core_fill(chance: &mut Chance, dest: &mut [u8]) {
    for chunk in dest.chunks_mut(8) {
        chunk.copy_from_slice(&chance.next_u64().to_le_bytes()[..chunk.len()]);
    }
}

impl AsyncRuntime for MetaRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: openraft::OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + openraft::OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Chance;
    type OneshotSender<T: openraft::OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;
    type OneshotReceiver<T: openraft::OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + openraft::OptionalSend + 'static,
        T::Output: openraft::OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + openraft::OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + openraft::OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Chance
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: openraft::OptionalSend,
    {
        TokioRuntime::oneshot()
    }
}
