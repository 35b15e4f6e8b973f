//! How replication stands on this node: what INFO, ROLE and the heartbeat say of it. It decides nothing.

use super::receiver::LinkError;
use crate::core::NodeCore;
use capstan_proto::auth::Secret;
use capstan_proto::env::Boot;
use capstan_proto::ids::{NodeId, ShardId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How the link of a replica to its primary stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Frames come, or could.
    pub up: bool,
    /// A whole copy is being taken in.
    pub copying: Option<CopyProgress>,
    /// When something came last.
    pub last_io: Option<Boot>,
    /// Since when it has been down.
    pub down_since: Option<Boot>,
    /// The newest of this node's own clocks that the primary sent back under its lease, milliseconds.
    pub echoed_ms: u64,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Keys so far.
    pub keys: u64,
    /// About how many there will be.
    pub keys_expected: u64,
    /// Bytes of pieces so far.
    pub bytes: u64,
}

/// What a primary does for a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// It copies everything.
    Copying,
    /// It sends the log.
    Following,
}

/// Everything about replication that outlives a connection.
#[derive(Debug, Default)]
pub struct Replication {
    secret: OnceLock<Secret>,
    runtime: OnceLock<tokio::runtime::Handle>,
    /// The port on which peers are listened to, once it is bound.
    pub peer_port: OnceLock<u16>,
    link: Mutex<Link>,
    log_of: Mutex<Option<ShardId>>,
    served: Mutex<BTreeMap<NodeId, Serving>>,
    /// Whole copies begun as a primary.
    pub copies: AtomicU64,
    /// Replicas that went on from their position.
    pub continued: AtomicU64,
    /// Replicas that had a position from which they could not go on.
    pub refused_positions: AtomicU64,
}

impl Replication {
    /// What dialling a peer takes: the cluster's secret, and the workers on which data is applied. Set once; without it
    /// there is no secret, and the workers are those of the caller.
    pub fn prepare(&self, secret: Secret) {
        // A second call on one core comes from a second server in one process (tests): the first stays.
        let _ = self.secret.set(secret);
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            let _ = self.runtime.set(handle);
        }
    }

    /// The cluster's secret.
    #[must_use]
    pub fn secret(&self) -> Secret {
        self.secret.get().cloned().unwrap_or_default()
    }

    /// Starts a task on the workers: data is never applied on the control path's own thread.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match self.runtime.get() {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }

    /// This node's log is that of a shard from now on. Says whether it was another's: then its positions mean nothing.
    pub fn log_is_of(&self, shard: ShardId) -> bool {
        self.log_of.lock().replace(shard).is_some_and(|before| before != shard)
    }

    /// The link of a replica.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.lock().clone()
    }

    pub(crate) fn with_link<T>(&self, change: impl FnOnce(&mut Link) -> T) -> T {
        change(&mut self.link.lock())
    }

    pub(super) fn link_is_down(&self, now: Boot) {
        let mut link = self.link.lock();
        let since = if link.up { Some(now) } else { link.down_since.or(Some(now)) };
        *link =
            Link { down_since: since, last_io: link.last_io, echoed_ms: link.echoed_ms, ..Link::default() };
    }

    /// The replicas that are served.
    #[must_use]
    pub fn served(&self) -> BTreeMap<NodeId, Serving> {
        self.served.lock().clone()
    }

    pub(super) fn serves(&self, who: NodeId, serving: Serving) {
        match serving {
            Serving::Copying => self.copies.fetch_add(1, Relaxed),
            Serving::Following => 0,
        };
        self.served.lock().insert(who, serving);
    }

    pub(super) fn serves_no_more(&self, who: NodeId) {
        self.served.lock().remove(&who);
    }
}

/// How much later this replica is than its primary, as far as the two have spoken: own clock minus the newest echo.
#[must_use]
pub fn lag(core: &NodeCore) -> Option<Duration> {
    let echoed = core.replication.link().echoed_ms;
    (echoed > 0).then(|| Duration::from_millis(clock_ms(core).saturating_sub(echoed)))
}

/// This node's own clock, as it travels in acknowledgements.
#[must_use]
pub fn clock_ms(core: &NodeCore) -> u64 {
    core.env.clock.boot().0 / 1_000_000
}

/// Why a link is down, said once per reason.
pub(super) fn say_once(said: &mut String, error: &LinkError, address: &str) {
    let reason = error.to_string();
    if *said != reason {
        tracing::warn!(primary = address, %reason, "no link to the primary");
        *said = reason;
    }
}
