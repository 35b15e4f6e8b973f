//! The Raft shell around the pure cluster state: openraft on the store seam, and the one handle that everything else
//! in a meta server uses.
//!
//! It decides nothing about the cluster. What it promises: a proposal is done once, refused, or its outcome is called
//! unknown, within a bounded time; nothing here acts on a leader that does not hear from its quorum; what was
//! acknowledged is on the disks of a quorum.
//!
//! Files: `types` and `runtime` what openraft is told; `journal`, `log_store` the disk; `state_machine`, `feed` the
//! applied state and its watchers; `wire`, `network` the other servers; `lead` who leads; `propose` the way into the log.

mod feed;
mod journal;
mod lead;
mod log_store;
mod network;
mod propose;
mod state_machine;
#[cfg(test)]
mod store_tests;
mod types;
pub(crate) mod wire;

pub use feed::{Change, Follow, Start};
pub use lead::QUORUM_WINDOW;
pub use log_store::LogStore;
pub use propose::{PROPOSE_LIMIT, ProposeError, Proposed};
pub use state_machine::{Machine, StateMachine};
pub use types::{MetaNode, Raft, Reply, StoreToken, TypeConfig};

pub(crate) use lead::Lead;
pub(crate) use log_store::{Found, Identity};
pub(crate) use network::{Links, REMOVED};

use crate::state::{Command, Outcome, State};
use capstan_proto::env::Env;
use capstan_proto::ids::{LeaderId, MetaId, Version};
use capstan_proto::timing::{ELECTION_MAX_MS, RAFT_HEARTBEAT_MS, election_window_ms};
use network::Factory;
use openraft::error::{CheckIsLeaderError, Fatal, RaftError};
use openraft::{Config, RaftMetrics, SnapshotPolicy};
use propose::Proposals;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::{End, Ends};

/// What a meta server tells its log filter about openraft, which logs every unreachable peer at every heartbeat. What
/// matters of it is logged by this crate.
pub const LOG_DIRECTIVE: &str = "openraft=off";

/// A linearizable read that is not confirmed within this has failed.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// A snapshot is made after so many entries …
const SNAPSHOT_EVERY: u64 = 1000;
/// … or so many bytes of log, whichever comes first; so many entries are kept for followers that lag a little.
const LOG_BYTES_MAX: usize = 64 << 20;
const LOG_KEPT: u64 = 100;
/// A follower that lags further gets a snapshot.
const LAG_MAX: u64 = 2000;
const SNAPSHOT_CHUNK: u64 = 1 << 20;
const SNAPSHOT_CHUNK_LIMIT_MS: u64 = 5000;
/// The log's size is looked at so often.
const LOG_LOOK_EVERY: Duration = Duration::from_secs(1);
/// A planned stop waits so long for a successor: two election windows and the time to catch up.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(2 * ELECTION_MAX_MS + 1500);

const _: () = assert!(LAG_MAX > SNAPSHOT_EVERY, "a snapshot must be able to end a lag (CRATES 1.3.10)");

/// Why a linearizable read was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This server does not lead, or does not hear from a quorum.
    #[error("this meta server does not lead the group{}", leader.as_deref().map(|at| format!("; {at} does")).unwrap_or_default())]
    NotLeader {
        /// Who leads, HOST:PORT, if that is known and somebody else.
        leader: Option<String>,
    },
    /// No quorum confirmed it in time.
    #[error("no quorum of the meta group confirms the leader")]
    NoQuorum,
    /// This server is stopping.
    #[error("this meta server is stopping")]
    Stopping,
}

/// A member of the group as its membership records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Its number.
    pub id: MetaId,
    /// Address and folder.
    pub node: MetaNode,
    /// It votes; otherwise it only learns.
    pub voter: bool,
    /// The last log index known to be on it; known to the leader only.
    pub matched: Option<u64>,
}

/// Who votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Voters {
    /// The voters when the change under way is done; the voters, if none is.
    pub(crate) wanted: BTreeSet<u64>,
    /// A change is under way: the majority of the old voters is needed too.
    pub(crate) joint: bool,
}

/// The one handle to the group. Cheap to clone.
#[derive(Clone)]
pub struct MetaRaft {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    me: End,
    raft: Raft,
    machine: Arc<Machine>,
    log: LogStore,
    lead: Lead,
    links: Links,
    proposals: Proposals,
}

fn config(me: u64) -> Config {
    let (election_timeout_min, election_timeout_max) = election_window_ms(me);
    Config {
        cluster_name: "capstan".to_owned(),
        heartbeat_interval: RAFT_HEARTBEAT_MS,
        election_timeout_min,
        election_timeout_max,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: LOG_KEPT,
        replication_lag_threshold: LAG_MAX,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK,
        install_snapshot_timeout: SNAPSHOT_CHUNK_LIMIT_MS,
        ..Config::default()
    }
}

impl MetaRaft {
    /// Takes part in the group from an opened store, as the member that this folder is.
    pub(crate) async fn start(
        env: &Env,
        me: End,
        log: LogStore,
        machine: Arc<Machine>,
        links: Links,
    ) -> Result<Self, Fatal<u64>> {
        log.stand_down(me.id);
        let factory = Factory { links: links.clone(), me };
        let state_machine = StateMachine::new(Arc::clone(&machine), &log);
        // openraft draws its election timeout in the first poll of `new`, on this thread.
        types::seed_chance(env.random.u64());
        let raft = Raft::new(me.id, Arc::new(config(me.id)), factory, log.clone(), state_machine).await?;
        let lead = Lead::new(MetaId(me.id), Arc::clone(&env.clock));
        tokio::spawn(lead.clone().run(raft.clone()));
        let proposals = Proposals::start(env, raft.clone(), lead.clone());
        let shared = Shared { env: env.clone(), me, raft, machine, log, lead, links, proposals };
        let this = Self { shared: Arc::new(shared) };
        tokio::spawn(bound_the_log(Arc::downgrade(&this.shared)));
        Ok(this)
    }

    /// This server's number in the group.
    #[must_use]
    pub fn me(&self) -> MetaId {
        MetaId(self.shared.me.id)
    }

    /// Proposes a command and waits for its outcome, at most [`PROPOSE_LIMIT`]. A rejection is an outcome.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.submit(command).await.map(|proposed| proposed.outcome)
    }

    /// [`MetaRaft::propose`], with the note whether the answer is an old one.
    pub async fn submit(&self, command: Command) -> Result<Proposed, ProposeError> {
        let not_leader = |_| ProposeError::NotLeader { leader: self.leader_address() };
        self.leads().ok_or(()).map_err(not_leader)?;
        match self.shared.proposals.propose(command).await {
            Err(ProposeError::NotLeader { .. }) => Err(not_leader(())),
            answer => answer,
        }
    }

    /// Confirms with a quorum that this server leads. Everything that was committed before this call is in
    /// [`MetaRaft::state`] when it returns; the version is the one reached then.
    pub async fn read_index(&self) -> Result<Version, ReadError> {
        let not_leader = || ReadError::NotLeader { leader: self.leader_address() };
        self.leads().ok_or_else(not_leader)?;
        match tokio::time::timeout(READ_LIMIT, self.shared.raft.ensure_linearizable()).await {
            Ok(Ok(_)) => Ok(self.shared.machine.state().version()),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_)))) => Err(not_leader()),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
                Err(ReadError::NoQuorum)
            }
            Ok(Err(RaftError::Fatal(_))) => Err(ReadError::Stopping),
        }
    }

    /// The state as far as it is applied here. Cheap; hold it briefly, since a held one is copied at the next change.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.shared.machine.state()
    }

    /// The rows from a version on: what is missing since, then every change.
    #[must_use]
    pub fn follow(&self, from: Option<Version>) -> Follow {
        self.shared.machine.follow(from)
    }

    /// Every change of the rows from now on.
    #[must_use]
    pub fn watch(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.follow(Some(self.state().version())).live
    }

    /// Who leads. A leader without a quorum's acknowledgement within [`QUORUM_WINDOW`] counts as none.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<LeaderId>> {
        self.shared.lead.watch()
    }

    /// The leader id under which this server leads at this instant, if it does.
    #[must_use]
    pub fn leads(&self) -> Option<LeaderId> {
        self.shared.lead.mine()
    }

    /// Who leads, judged at this instant, and for how long this server has known it.
    #[must_use]
    pub fn leader_now(&self) -> (Option<LeaderId>, Duration) {
        (self.shared.lead.now(), self.shared.lead.age())
    }

    /// Where the leader is reached, if it is known and is not this server.
    #[must_use]
    pub fn leader_address(&self) -> Option<String> {
        let leader = self.shared.lead.now().filter(|leader| leader.node != self.me())?;
        self.metrics()
            .membership_config
            .membership()
            .get_node(&leader.node.0)
            .map(|node| node.address.clone())
    }

    /// The members, in the order of their numbers.
    #[must_use]
    pub fn members(&self) -> Vec<MemberRow> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let matched = |id: &u64| metrics.replication.as_ref()?.get(id)?.map(|log| log.index);
        let row = |(id, node): (&u64, &MetaNode)| MemberRow {
            id: MetaId(*id),
            node: node.clone(),
            voter: voters.contains(id),
            matched: matched(id),
        };
        membership.nodes().map(row).collect()
    }

    /// The voters that the newest membership wants, and whether it still stands between the old and the new.
    pub(crate) fn voters(&self) -> Voters {
        let metrics = self.metrics();
        let configs = metrics.membership_config.membership().get_joint_config();
        Voters { wanted: configs.last().cloned().unwrap_or_default(), joint: configs.len() > 1 }
    }

    /// Whether this number was a member's once and is none's now, as far as it is applied here.
    pub(crate) fn was_removed(&self, id: u64) -> bool {
        let metrics = self.metrics();
        let newest = &metrics.membership_config;
        // Right after a start openraft shows an empty membership, of no log entry, until it has read its log.
        let known = newest.log_id().is_some();
        known && newest.membership().get_node(&id).is_none() && self.shared.machine.ever().contains(&id)
    }

    pub(crate) fn metrics(&self) -> RaftMetrics<u64, MetaNode> {
        self.shared.raft.metrics().borrow().clone()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.shared.raft
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.shared.machine
    }

    pub(crate) fn links(&self) -> &Links {
        &self.shared.links
    }

    pub(crate) fn env(&self) -> &Env {
        &self.shared.env
    }

    /// Founds the group with these members. Only ever called on a folder without log and vote.
    pub(crate) async fn initialize(&self, members: BTreeMap<u64, MetaNode>) -> Result<(), String> {
        self.shared.raft.initialize(members).await.map_err(|error| error.to_string())
    }

    /// Returns when openraft has stopped, with the reason.
    pub(crate) async fn stopped(&self) -> String {
        let mut metrics = self.shared.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_and_update().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "openraft ended".to_owned();
            }
        }
    }

    /// Stops. A leader hands over first, so that the group is not without one (CRATES 1.3.7).
    pub(crate) async fn stop(&self) {
        if self.leads().is_some() && tokio::time::timeout(HAND_OVER_LIMIT, self.hand_over()).await.is_err() {
            tracing::warn!("no other meta server took over in time");
        }
        if let Err(error) = self.shared.raft.shutdown().await {
            tracing::warn!(%error, "openraft did not stop cleanly");
        }
    }

    /// Makes the most advanced other voter campaign, and waits until it leads.
    async fn hand_over(&self) {
        let others = || self.members().into_iter().filter(|row| row.voter && row.id != self.me());
        let count = others().count();
        let Some(successor) = others().max_by_key(|row| (row.matched, row.id)) else { return };
        let mut metrics = self.shared.raft.metrics();
        let level = |metrics: &RaftMetrics<u64, MetaNode>| {
            let matched =
                metrics.replication.as_ref().and_then(|all| all.get(&successor.id.0).copied().flatten());
            metrics.last_log_index.is_none_or(|last| matched.is_some_and(|matched| matched.index >= last))
        };
        if metrics.wait_for(level).await.is_err() {
            return;
        }
        // A leader refuses votes for one lease after its own election.
        let (_, lease) = election_window_ms(self.shared.me.id);
        tokio::time::sleep(Duration::from_millis(lease).saturating_sub(self.shared.lead.age())).await;
        // Of 3 voters the successor and this server are a quorum, and a leader does not protect its own lease. In a
        // larger group a third vote is needed, and followers give it only when their lease for this leader is over.
        if count + 1 > 3 {
            self.shared.raft.runtime_config().heartbeat(false);
            tokio::time::sleep(Duration::from_millis(ELECTION_MAX_MS)).await;
        }
        let to = End { id: successor.id.0, store: successor.node.store };
        let ends = Ends { from: self.shared.me, to };
        if let Err(status) = self.shared.links.campaign(ends, &successor.node.address).await {
            tracing::warn!(to = %successor.id, why = status.message(), "the successor did not answer");
            return;
        }
        let me = self.shared.me.id;
        let _ = metrics.wait_for(|metrics| metrics.current_leader.is_some_and(|leader| leader != me)).await;
        tracing::info!(successor = %successor.id, "leadership handed over");
    }
}

/// openraft makes snapshots by count; large commands are bounded here by size.
async fn bound_the_log(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(LOG_LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.log.bytes() > LOG_BYTES_MAX && shared.raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
