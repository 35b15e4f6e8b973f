//! What the tasks of one registered life share: its lease, its way to the meta group, its folder.
//!
//! It decides nothing; it keeps the node's lease and what the lanes read of it ([`Serving`](crate::serving::Serving))
//! equal: both change under one lock, which is never held across an await. It refuses to wait for a lane.

use super::addresses;
use super::client::MetaGroup;
use super::identity::Folder;
use super::lease::NodeLease;
use super::report::Report;
use super::role::Duty;
use super::stall::Stall;
use crate::core::NodeCore;
use crate::hold::Until;
use arc_swap::ArcSwap;
use capstan_proto::env::{Boot, Env};
use capstan_proto::ids::{Incarnation, NodeId, Version};
use capstan_proto::timing::LEASE_TTL_DEFAULT_MS;
use capstan_proto::topology::Addresses;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Where calls that block (disk, lane locks) are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// On tokio's threads for blocking calls.
    Threads,
    /// Here and now: in a simulation, where nothing blocks and threads would make runs differ.
    Inline,
}

impl Offload {
    /// As the disk seam wants it.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        if env.disk.inline() { Self::Inline } else { Self::Threads }
    }

    /// Makes a call that may block. `None` if it panicked or the runtime is ending.
    pub async fn run<T: Send + 'static>(self, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(call).await.ok(),
            Self::Inline => Some(call()),
        }
    }
}

/// One registered life of this node.
pub struct Life {
    /// The node.
    pub core: Arc<NodeCore>,
    /// Its id.
    pub node: NodeId,
    /// This life.
    pub incarnation: Incarnation,
    /// The way to the meta leader.
    pub group: Arc<MetaGroup>,
    /// The way to any meta server, for the watch.
    pub watch_group: Arc<MetaGroup>,
    /// The data folder.
    pub folder: Folder,
    /// Where blocking calls are made.
    pub offload: Offload,
    /// Something that the meta group should hear of at once.
    pub urge: Notify,
    /// The watch lags behind the grants: connect anew.
    pub rewatch: Notify,
    /// The version that is in force in every lane.
    pub in_force: watch::Sender<Version>,
    /// What this node is to its shard, as far as it is in force in every lane.
    pub duty: watch::Sender<Duty>,
    /// What the meta group is told beside the lease: the same as `core.report`.
    pub report: Arc<Report>,
    /// How this node is reached.
    pub addresses: ArcSwap<Addresses>,
    lease: Mutex<NodeLease>,
    stall: Mutex<Stall>,
    heard: AtomicU64,
    ttl_ms: AtomicU64,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("node", &self.node).field("incarnation", &self.incarnation).finish()
    }
}

impl Life {
    /// A life that has just registered: without a lease.
    #[must_use]
    pub fn new(
        core: Arc<NodeCore>,
        (node, incarnation): (NodeId, Incarnation),
        (group, watch_group): (Arc<MetaGroup>, Arc<MetaGroup>),
        folder: Folder,
    ) -> Self {
        let addresses = ArcSwap::from_pointee(addresses::announced(&core));
        let life = Self {
            node,
            incarnation,
            group,
            watch_group,
            folder,
            offload: Offload::of(&core.env),
            urge: Notify::new(),
            rewatch: Notify::new(),
            in_force: watch::Sender::new(Version::default()),
            duty: watch::Sender::new(Duty::Nothing),
            report: Arc::clone(&core.report),
            addresses,
            stall: Mutex::default(),
            lease: Mutex::new(NodeLease::new(node, incarnation, core.env.rules)),
            ttl_ms: AtomicU64::new(LEASE_TTL_DEFAULT_MS),
            heard: AtomicU64::new(0),
            core,
        };
        life.with_lease(|_, _| ());
        life
    }

    /// Changes the lease, and what the lanes see of it, as one.
    pub fn with_lease<T>(&self, change: impl FnOnce(&mut NodeLease, Boot) -> T) -> T {
        let mut lease = self.lease.lock();
        let done = change(&mut lease, self.core.env.clock.boot());
        // The end first: nobody takes the lease of one epoch for that of another.
        self.core.serving.set_until(lease.until().unwrap_or_default());
        self.core.serving.set_epoch(lease.lead().map(|lead| lead.epoch).unwrap_or_default());
        if lease.until().is_some() {
            self.core.hold.end(Until::FirstLease);
        }
        done
    }

    /// The meta leader has answered.
    pub fn note_heard(&self) {
        self.heard.store(self.core.env.clock.boot().0, Ordering::Relaxed);
    }

    /// When the meta leader answered last.
    #[must_use]
    pub fn heard(&self) -> Boot {
        Boot(self.heard.load(Ordering::Relaxed))
    }

    /// Gives the lease up if the batcher has work and has not moved for half a TTL (DESIGN 5).
    pub fn note_health(&self) {
        let ttl = self.ttl();
        let (held, fit) = self.with_lease(|lease, now| {
            let stuck_since = self.stall.lock().look(self.core.log.work(), now);
            (lease.holds(now), lease.note_health(stuck_since, ttl, now))
        });
        if held && !fit {
            tracing::error!("the log does not move: the lease is given up");
        }
    }

    /// The TTL in force, as the meta leader said last.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed))
    }

    /// The TTL in force is this now.
    pub fn set_ttl(&self, ttl_ms: u64) {
        self.ttl_ms.store(ttl_ms, Ordering::Relaxed);
    }
}
