//! What this node knows of its cluster at one version, seen from itself: who owns a slot, what it may do with it, whether
//! the cluster as a whole serves, and the answers that clients ask for often.
//!
//! Pure: a [`View`] is built from a topology and an identity and never changes. The control path installs a new one with
//! [`NodeCore::install`]. It knows nothing of the lease: that is asked when a command runs (►8).

use crate::cluster::{addresses, render};
use crate::core::{Mode, NodeCore};
use crate::resp::{Reply, Resp};
use crate::store::Access;
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{ConfigEpoch, Incarnation, NodeId, ShardEpoch, ShardId};
use capstan_proto::settings::{FULL_COVERAGE, READS_WHEN_DOWN};
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::{
    Addresses, EndpointType, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow, SlotRun, Topology,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// How much a topology can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No meta group: this node is the cluster.
    Alone,
    /// Read from disk, or nothing at all: says who to ask, and nothing is served on the strength of it (DESIGN 9).
    Saved,
    /// From the meta group.
    Live,
}

/// How much of the slots is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Slots with an owner.
    pub assigned: u16,
    /// Slots whose shard has nobody who could serve it: its primary is proved dead and no whole replica lives.
    pub failed: u16,
}

/// The cluster as this node sees it at one version.
#[derive(Debug)]
pub struct View {
    topology: Arc<Topology>,
    me: NodeId,
    incarnation: Option<Incarnation>,
    standing: Standing,
    installed: UnixMs,
    runs: Vec<SlotRun>,
    coverage: Coverage,
    cached: Cached,
}

/// Answers that are the same for every client until the next version.
#[derive(Debug, Default)]
struct Cached {
    slots: [OnceLock<Box<[u8]>>; 2],
    shards: [OnceLock<Box<[u8]>>; 2],
    nodes: OnceLock<Box<str>>,
}

impl View {
    /// A node of a cluster. `incarnation` is the life that this process is registered in, if it is.
    #[must_use]
    pub fn new(
        topology: Arc<Topology>,
        me: NodeId,
        incarnation: Option<Incarnation>,
        standing: Standing,
        installed: UnixMs,
    ) -> Self {
        // A node that no shard has taken in yet sees itself alone, whoever else is registered.
        let joined = topology.nodes.get(&me).is_some_and(|node| node.shard.is_some());
        let runs: Vec<SlotRun> = if joined {
            topology.runs().into_iter().filter(|run| run.owner.is_some()).collect()
        } else {
            Vec::new()
        };
        let coverage = coverage(&topology, &runs);
        Self { topology, me, incarnation, standing, installed, runs, coverage, cached: Cached::default() }
    }

    /// A node without a meta group: one shard, all slots, one node.
    #[must_use]
    pub fn alone(me: NodeId, addresses: Addresses, installed: UnixMs) -> Self {
        let shard = ShardId(me.0);
        let incarnation = Incarnation { counter: 1, token: capstan_proto::ids::SpawnToken([0; 16]) };
        let mut topology = Topology::default();
        topology.config_epoch = ConfigEpoch(1);
        topology.set(Row::Node(NodeRow {
            id: me,
            incarnation,
            place: ProcessPlace::default(),
            addresses,
            shard: Some(shard),
            dead: false,
            whole: true,
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }));
        topology.set(Row::Shard(ShardRow {
            id: shard,
            number: 1,
            primary: me,
            incarnation,
            epoch: ShardEpoch(1),
            config_epoch: ConfigEpoch(1),
            replicas: Vec::new(),
            phase: ShardPhase::Steady,
            last_attempt: capstan_proto::ids::AttemptId(0),
            floor: None,
        }));
        if let (Some(first), Some(last)) = (Slot::new(0), Slot::new(SLOTS - 1)) {
            topology.set(Row::Slots(SlotRun { first, last, owner: Some(shard) }));
        }
        Self::new(Arc::new(topology), me, Some(incarnation), Standing::Alone, installed)
    }

    /// A node that knows nothing but its id.
    #[must_use]
    pub fn unknown(me: NodeId, installed: UnixMs) -> Self {
        Self::new(Arc::default(), me, None, Standing::Saved, installed)
    }

    /// The cluster state.
    #[must_use]
    pub const fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// The life that this process is registered in, if it is.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// How much the topology can be relied on.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// When this version was installed here.
    #[must_use]
    pub const fn installed(&self) -> UnixMs {
        self.installed
    }

    /// How much of the slots is covered.
    #[must_use]
    pub const fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// The runs of slots with an owner, in order, as this node shows them.
    #[must_use]
    pub fn runs(&self) -> &[SlotRun] {
        &self.runs
    }

    /// The nodes that this node shows: those of shards, and itself.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        let joined = self.shard().is_some();
        let shown = move |node: &&NodeRow| node.id == self.me || (joined && node.shard.is_some());
        self.topology.nodes.values().filter(shown)
    }

    /// The row of a node that this node shows.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        let row = self.topology.nodes.get(&id)?;
        (id == self.me || (row.shard.is_some() && self.shard().is_some())).then_some(row)
    }

    /// The shards that this node shows, in the order of their founding.
    #[must_use]
    pub fn shards(&self) -> Vec<&ShardRow> {
        if self.shard().is_none() {
            return Vec::new();
        }
        let mut shards: Vec<&ShardRow> = self.topology.shards.values().collect();
        shards.sort_unstable_by_key(|shard| shard.number);
        shards
    }

    /// The shard of a node.
    #[must_use]
    pub fn shard_of(&self, node: &NodeRow) -> Option<&ShardRow> {
        self.topology.shards.get(&node.shard?)
    }

    /// This node's own shard.
    #[must_use]
    pub fn shard(&self) -> Option<&ShardRow> {
        self.shard_of(self.topology.nodes.get(&self.me)?)
    }

    /// The shard that serves a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&ShardRow> {
        self.shard()?;
        self.topology.shards.get(&self.topology.owner(slot)?)
    }

    /// Whether this life of this node is the primary of that shard. Another life has to be promoted first.
    #[must_use]
    pub fn leads(&self, shard: &ShardRow) -> bool {
        shard.primary == self.me && Some(shard.incarnation) == self.incarnation && !self.is_dead()
    }

    fn is_dead(&self) -> bool {
        self.topology
            .nodes
            .get(&self.me)
            .is_some_and(|row| row.dead && Some(row.incarnation) == self.incarnation)
    }

    /// Whether the cluster as a whole serves, as far as its state tells: what `cluster_state` says, but for the lease.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self.standing {
            Standing::Alone => true,
            Standing::Saved => false,
            Standing::Live if self.shard().is_none() => false,
            Standing::Live => {
                let whole = self.coverage.assigned == SLOTS && self.coverage.failed == 0;
                whole || (self.coverage.assigned > 0 && !self.topology.setting_on(FULL_COVERAGE))
            }
        }
    }

    /// Whether reads go on while the cluster is down (opt-in).
    #[must_use]
    pub fn reads_when_down(&self) -> bool {
        self.standing == Standing::Live && self.topology.setting_on(READS_WHEN_DOWN)
    }

    /// What this node may do with a slot, for [`crate::store::Lanes::set_access`]. A slot of its own while the cluster
    /// is down, or while its shard waits for a promotion, is not `Mine`: [`crate::route::check`] finds the words.
    #[must_use]
    pub fn access(&self, slot: Slot) -> Access {
        match self.owner(slot) {
            None => Access::Unassigned,
            Some(shard) if self.leads(shard) && self.is_up() => match shard.phase {
                ShardPhase::Steady => Access::Mine,
                ShardPhase::Planned { .. } | ShardPhase::Forced { .. } => Access::Held,
            },
            Some(shard) if shard.replicas.contains(&self.me) => Access::Replica,
            Some(_) => Access::Elsewhere,
        }
    }

    /// Whether this node, as a replica, holds a complete copy in this life.
    #[must_use]
    pub fn is_whole_replica(&self) -> bool {
        let row = self.topology.nodes.get(&self.me);
        row.is_some_and(|row| row.whole && !row.dead && Some(row.incarnation) == self.incarnation)
    }

    /// The host that clients are told for a node: nothing means "the one you used".
    #[must_use]
    pub fn endpoint<'a>(&'a self, node: &'a NodeRow, own_ip: &'a str) -> Option<&'a str> {
        match self.preferred() {
            EndpointType::Ip => Some(self.ip(node, own_ip)),
            EndpointType::Hostname if node.addresses.hostname.is_empty() => Some("?"),
            EndpointType::Hostname => Some(&node.addresses.hostname),
            EndpointType::UnknownEndpoint => None,
        }
    }

    /// Which form of addresses this node tells its clients first: each node answers as it is configured itself.
    #[must_use]
    pub fn preferred(&self) -> EndpointType {
        self.topology.nodes.get(&self.me).map_or(EndpointType::Ip, |row| row.addresses.preferred)
    }

    /// The address of a node; for this one the address that the client reached if no other is known.
    #[must_use]
    pub fn ip<'a>(&self, node: &'a NodeRow, own_ip: &'a str) -> &'a str {
        match node.id == self.me && node.addresses.ip.is_empty() {
            true => own_ip,
            false => &node.addresses.ip,
        }
    }

    /// Whether answers depend on which address the client reached.
    fn is_told_by_connection(&self) -> bool {
        self.topology.nodes.get(&self.me).is_none_or(|row| row.addresses.ip.is_empty())
    }

    /// The reply of `CLUSTER SLOTS`.
    pub fn slots_reply(&self, own_ip: &str, out: &mut Reply) {
        self.cached(&self.cached.slots, own_ip, out, render::topology::slots);
    }

    /// The reply of `CLUSTER SHARDS`.
    pub fn shards_reply(&self, own_ip: &str, out: &mut Reply) {
        self.cached(&self.cached.shards, own_ip, out, render::topology::shards);
    }

    fn cached(
        &self,
        cache: &[OnceLock<Box<[u8]>>; 2],
        own_ip: &str,
        out: &mut Reply,
        render: fn(&Self, &str, &mut Reply),
    ) {
        if self.is_told_by_connection() {
            return render(self, own_ip, out);
        }
        let resp = out.resp();
        let at = match resp {
            Resp::Two => &cache[0],
            Resp::Three => &cache[1],
        };
        out.raw(at.get_or_init(|| {
            let mut reply = Reply::over(Vec::new(), resp);
            render(self, own_ip, &mut reply);
            reply.into_bytes().into()
        }));
    }

    /// The text of `CLUSTER NODES`.
    #[must_use]
    pub fn nodes_text(&self, own_ip: &str) -> std::borrow::Cow<'_, str> {
        if self.is_told_by_connection() {
            return render::nodes::text(self, own_ip).into();
        }
        let text = self.cached.nodes.get_or_init(|| render::nodes::text(self, own_ip).into());
        (&**text).into()
    }
}

fn coverage(topology: &Topology, runs: &[SlotRun]) -> Coverage {
    let mut failed: BTreeMap<ShardId, bool> = BTreeMap::new();
    let mut coverage = Coverage::default();
    for run in runs {
        let Some(owner) = run.owner else { continue };
        let len = run.last.number() - run.first.number() + 1;
        coverage.assigned += len;
        if *failed.entry(owner).or_insert_with(|| has_failed(topology, owner)) {
            coverage.failed += len;
        }
    }
    coverage
}

/// Whether nobody is left who could serve a shard. Between two primaries it counts as covered (DESIGN 13).
fn has_failed(topology: &Topology, shard: ShardId) -> bool {
    let Some(shard) = topology.shards.get(&shard) else { return true };
    let lives = |id: &NodeId| topology.nodes.get(id).is_some_and(|node| !node.dead);
    let whole = |id: &NodeId| topology.nodes.get(id).is_some_and(|node| node.whole && !node.dead);
    !lives(&shard.primary) && !shard.replicas.iter().any(whole)
}

impl NodeCore {
    /// Replaces what this node knows of its cluster, then what its lanes may serve. When this returns, every lane has
    /// been locked once since: no command runs on the strength of what was known before (►8). May block: not for I/O
    /// workers.
    pub fn install(&self, view: View) {
        let view = Arc::new(view);
        self.topology.store(view.topology.clone());
        self.view.store(view.clone());
        match self.mode {
            Mode::Emulated => {}
            Mode::Cluster => {
                self.lanes.set_access(access_of(&view));
            }
        }
    }

    /// The view that clients are answered from. A node without a meta group is as it announces itself at this moment:
    /// its port is known only once it is bound, and its settings can change.
    #[must_use]
    pub fn view_now(&self) -> Arc<View> {
        let view = self.view.load_full();
        if self.mode == Mode::Cluster {
            return view;
        }
        let me = self.id.get().copied().unwrap_or(view.me);
        let addresses = addresses::announced(self);
        match view.topology.nodes.get(&me) {
            Some(row) if row.addresses == addresses => view,
            Some(_) | None => {
                self.install(View::alone(me, addresses, self.env.clock.wall()));
                self.view.load_full()
            }
        }
    }
}

/// [`View::access`], computed once per run of slots instead of once per slot.
fn access_of(view: &View) -> impl Fn(Slot) -> Access + use<> {
    let mut table = vec![Access::Unassigned; usize::from(SLOTS)];
    for run in view.runs() {
        let access = view.access(run.first);
        if let Some(cells) = table.get_mut(run.first.index()..=run.last.index()) {
            cells.fill(access);
        }
    }
    move |slot| table.get(slot.index()).copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
