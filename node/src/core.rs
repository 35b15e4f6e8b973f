//! What all connections and the control path of a node share.

use crate::serving::Serving;
use crate::stats::Stats;
use crate::store::{Access, Lanes};
use arc_swap::ArcSwap;
use capstan_proto::env::Env;
use capstan_proto::topology::Topology;
use std::sync::Arc;

/// Whether a node belongs to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No meta group: this node owns every slot and answers cluster clients as a cluster of one.
    Emulated,
    /// The meta group says who owns what.
    Cluster,
}

/// What a node is started with, as far as the hot path is concerned.
#[derive(Debug, Clone, Copy)]
pub struct CoreOptions {
    /// Alone or in a cluster.
    pub mode: Mode,
    /// How many lanes (rounded to a power of two).
    pub lanes: usize,
    /// How many databases.
    pub databases: usize,
}

/// The node: data, lease, cluster state, statistics.
#[allow(missing_debug_implementations)]
pub struct NodeCore {
    /// Clocks, chance, disk, net.
    pub env: Env,
    /// Alone or in a cluster.
    pub mode: Mode,
    /// The data.
    pub lanes: Lanes,
    /// The lease.
    pub serving: Serving,
    /// The newest cluster state that this node knows.
    pub topology: ArcSwap<Topology>,
    /// Counters.
    pub stats: Stats,
}

impl NodeCore {
    /// A node without data. Emulated: it serves every slot for ever; else nothing until access and a lease come.
    #[must_use]
    pub fn new(env: Env, options: CoreOptions) -> Arc<Self> {
        let lanes = Lanes::new(options.lanes, options.databases, env.random.u64());
        let serving = match options.mode {
            Mode::Emulated => {
                lanes.set_access(|_| Access::Mine);
                Serving::forever()
            }
            Mode::Cluster => Serving::without_lease(),
        };
        Arc::new(Self {
            env,
            mode: options.mode,
            lanes,
            serving,
            topology: ArcSwap::default(),
            stats: Stats::new(),
        })
    }
}
