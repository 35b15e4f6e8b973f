//! What all connections and the control path of a node share.

use crate::blocking::Blocking;
use crate::clients::Clients;
use crate::cluster::admin::ClusterAdmin;
use crate::cluster::report::Report;
use crate::cluster::view::View;
use crate::config::{Config, Key};
use crate::gauges::Gauges;
use crate::hold::Hold;
use crate::log::Log;
use crate::release::Releases;
use crate::replication::Replication;
use crate::resp::Error;
use crate::serving::Serving;
use crate::stats::Stats;
use crate::stopping::Stopping;
use crate::store::{Access, Lanes};
use crate::trace::ServingTrace;
use arc_swap::ArcSwap;
use capstan_proto::env::{Boot, Env};
use capstan_proto::ids::NodeId;
use capstan_proto::topology::{Addresses, Topology};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// Whether a node belongs to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No meta group: this node owns every slot and answers cluster clients as a cluster of one.
    Emulated,
    /// The meta group says who owns what.
    Cluster,
}

/// What a node is in its shard, as INFO and ROLE tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Role {
    /// It serves, or would if it had slots.
    #[default]
    Primary,
    /// It follows a primary.
    Replica {
        /// The primary's address.
        host: String,
        /// The primary's port.
        port: u16,
    },
}

impl Role {
    /// As new clients call it.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Primary => "master",
            Self::Replica { .. } => "replica",
        }
    }

    /// As INFO and ROLE have always called it.
    #[must_use]
    pub const fn word_of_old(&self) -> &'static str {
        match self {
            Self::Primary => "master",
            Self::Replica { .. } => "slave",
        }
    }
}

/// The node: data, lease, cluster state, settings, clients, statistics.
#[allow(missing_debug_implementations)]
pub struct NodeCore {
    /// Clocks, chance, disk, net.
    pub env: Env,
    /// Alone or in a cluster.
    pub mode: Mode,
    /// The settings.
    pub config: Arc<Config>,
    /// The data.
    pub lanes: Arc<Lanes>,
    /// What they have changed, as numbered batches.
    pub log: Arc<Log>,
    /// Clients that a planned failover holds.
    pub hold: Hold,
    /// Replies that wait for it.
    pub releases: Releases,
    /// Peers, and how they stand.
    pub replication: Replication,
    /// The lease.
    pub serving: Serving,
    /// The newest cluster state that this node knows.
    pub topology: ArcSwap<Topology>,
    /// The same as this node sees it, with the answers for clients; replaced by `install`.
    pub view: ArcSwap<View>,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Who waits for elements.
    pub blocking: Arc<Blocking>,
    /// Counters.
    pub stats: Stats,
    /// Rates, peaks, errors.
    pub gauges: Gauges,
    /// Whether the node is on its way out.
    pub stopping: Stopping,
    /// The way to the meta group for clients' commands, set once by the control path.
    pub admin: OnceLock<Arc<dyn ClusterAdmin>>,
    /// What the meta group is told in heartbeats.
    pub report: Arc<Report>,
    /// When this life began.
    pub started: Boot,
    /// Drawn anew for each life: `run_id` of INFO.
    pub run_id: String,
    /// Who this node is, once that is known.
    pub id: OnceLock<NodeId>,
    /// The port that clients reach, once it is bound.
    pub port: OnceLock<u16>,
    /// Where it is written down what was served when, if anybody wants to know.
    pub trace: OnceLock<ServingTrace>,
}

impl NodeCore {
    /// A node without data. Emulated: it serves every slot for ever; else nothing until access and a lease come.
    #[must_use]
    pub fn new(env: Env, config: Config) -> Arc<Self> {
        let mode = if config.in_cluster() { Mode::Cluster } else { Mode::Emulated };
        let lanes = usize::try_from(config.size(Key::Lanes)).unwrap_or(usize::MAX);
        let databases = usize::try_from(config.databases()).unwrap_or(usize::MAX);
        let lanes = Arc::new(Lanes::new(lanes, databases, env.random.u64()));
        let budget = usize::try_from(config.size(Key::ReplBacklogSize)).unwrap_or(usize::MAX);
        let log = Arc::new(Log::new(lanes.clone(), env.clock.clone(), env.rules, budget));
        let serving = match mode {
            Mode::Emulated => {
                lanes.set_access(|_| Access::Mine);
                Serving::forever()
            }
            Mode::Cluster => Serving::without_lease(),
        };
        let mut id = [0; 20];
        env.random.fill(&mut id);
        let view = match mode {
            Mode::Emulated => View::alone(NodeId(id), Addresses::default(), env.clock.wall()),
            Mode::Cluster => View::unknown(NodeId(id), env.clock.wall()),
        };
        Arc::new(Self {
            mode,
            config: Arc::new(config),
            lanes,
            log,
            hold: Hold::default(),
            releases: Releases::default(),
            replication: Replication::default(),
            serving,
            topology: ArcSwap::default(),
            view: ArcSwap::from_pointee(view),
            clients: Arc::default(),
            blocking: Arc::default(),
            stats: Stats::new(),
            gauges: Gauges::default(),
            stopping: Stopping::default(),
            admin: OnceLock::new(),
            report: Arc::default(),
            started: env.clock.boot(),
            run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            id: OnceLock::new(),
            port: OnceLock::new(),
            trace: OnceLock::new(),
            env,
        })
    }

    /// What this node is, by the newest cluster state it knows. A node without a shard would be a primary.
    #[must_use]
    pub fn role(&self) -> Role {
        let topology = self.topology.load();
        let Some(me) = self.id.get() else { return Role::Primary };
        let shard = topology.nodes.get(me).and_then(|node| topology.shards.get(&node.shard?));
        match shard.filter(|shard| shard.primary != *me).and_then(|shard| topology.nodes.get(&shard.primary))
        {
            Some(primary) => {
                Role::Replica { host: primary.addresses.ip.clone(), port: primary.addresses.port }
            }
            None => Role::Primary,
        }
    }

    /// Bytes that the data occupies, what is still being freed included.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.lanes.memory() + self.lanes.memory_pending()
    }

    /// Whether `maxmemory` is reached: then commands that may need more are refused.
    #[inline]
    #[must_use]
    pub fn is_over_memory_limit(&self) -> bool {
        let most = self.config.size(Key::Maxmemory);
        most != 0 && self.data_bytes() as u64 > most
    }

    /// Counts an error reply.
    pub fn note_error(&self, error: &Error) {
        self.stats.errors.fetch_add(1, Ordering::Relaxed);
        self.gauges.note_error(error);
    }

    /// Whether clients must say a password.
    #[must_use]
    pub fn needs_password(&self) -> bool {
        !self.config.text(Key::Requirepass).is_empty()
    }
}
