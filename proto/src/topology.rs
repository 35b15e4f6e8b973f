//! The part of the cluster state that data nodes and tools hold a copy of: nodes, shards, slot owners, settings.
//!
//! Rows have a key each and travel alone, so that a watcher gets the changed rows only and an older node can apply
//! what a newer meta group sends (DESIGN 3). [`Topology::set`] is the one way in, on both sides.

use crate::ids::{
    AttemptId, ConfigEpoch, GroupId, Incarnation, NodeId, Position, ShardEpoch, ShardId, Version,
};
use crate::slot::{SLOTS, Slot};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a node can be reached, as it announces itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// The numeric address that clients dial; empty while unknown.
    pub ip: String,
    /// The client port.
    pub port: u16,
    /// The peer port, shown to clients as the cluster bus.
    pub peer_port: u16,
    /// `cluster-announce-hostname`; empty if unset.
    pub hostname: String,
    /// `cluster-preferred-endpoint-type`.
    pub preferred: EndpointType,
}

/// Which form of its address a node wants clients to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum EndpointType {
    /// The numeric address.
    #[default]
    Ip,
    /// The announced host name.
    Hostname,
    /// None: the client keeps the host it used.
    UnknownEndpoint,
}

/// What tells two lives of a process on one machine apart from two machines (►13).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ProcessPlace {
    /// `/etc/machine-id`, empty if the machine has none: then nothing is proved.
    pub machine: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The inode of the PID namespace.
    pub pid_namespace: u64,
    /// Device and inode of the data folder, whose lock the process holds.
    pub folder: (u64, u64),
}

impl ProcessPlace {
    /// Whether a process that holds the folder lock *here* proves that the one that held it *there* has ended.
    #[must_use]
    pub fn proves_end_of(&self, earlier: &Self) -> bool {
        !self.machine.is_empty() && !self.boot.is_empty() && self == earlier
    }
}

/// A data node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its identity.
    pub id: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Where this life runs.
    pub place: ProcessPlace,
    /// How clients and peers reach it.
    pub addresses: Addresses,
    /// Its shard, once it has joined one.
    pub shard: Option<ShardId>,
    /// Set when the end of the present incarnation is proved (►13): no lease is granted to it any more.
    pub dead: bool,
    /// It has once held a complete copy in this incarnation, or is the primary (►3).
    pub whole: bool,
    /// `capstan_version` of the process.
    pub software: String,
}

/// What a shard is doing besides serving.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ShardPhase {
    /// Nothing.
    #[default]
    Steady,
    /// A planned failover holds its clients (►14).
    Planned {
        /// The try that may end it.
        attempt: AttemptId,
        /// Who is to be primary.
        candidate: NodeId,
    },
    /// The same by force: whatever the candidate lacks is given up, and only the end of the primary's serving is
    /// waited for (I4).
    Forced {
        /// The try that may end it.
        attempt: AttemptId,
        /// Who is to be primary.
        candidate: NodeId,
        /// The operator who consented to the loss.
        who: String,
    },
}

impl ShardPhase {
    /// The planned failover under way, forced or not: its attempt and who is to be primary.
    #[must_use]
    pub const fn planned(&self) -> Option<(AttemptId, NodeId)> {
        match self {
            Self::Steady => None,
            Self::Planned { attempt, candidate } | Self::Forced { attempt, candidate, .. } => {
                Some((*attempt, *candidate))
            }
        }
    }
}

/// A set of slots served by one primary and its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShardRow {
    /// Its identity.
    pub id: ShardId,
    /// 1, 2, 3 … in the order of founding: what people call it.
    pub number: u32,
    /// The one that serves (I2).
    pub primary: NodeId,
    /// The life of the primary that was promoted: another life must be promoted again.
    pub incarnation: Incarnation,
    /// Grows by one at each promotion (I3).
    pub epoch: ShardEpoch,
    /// What clients see.
    pub config_epoch: ConfigEpoch,
    /// The others, in id order.
    pub replicas: Vec<NodeId>,
    /// A planned change under way.
    pub phase: ShardPhase,
    /// The last attempt that was numbered.
    pub last_attempt: AttemptId,
    /// A candidate below this position is refused (DESIGN 11).
    pub floor: Option<Position>,
}

/// A run of slots with one owner, or with none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlotRun {
    /// The first slot.
    pub first: Slot,
    /// The last slot, not before the first.
    pub last: Slot,
    /// Who owns them.
    pub owner: Option<ShardId>,
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// A node as it is now.
    Node(NodeRow),
    /// A node that is no more.
    NodeGone(NodeId),
    /// A shard as it is now.
    Shard(ShardRow),
    /// A shard that is no more.
    ShardGone(ShardId),
    /// These slots have this owner now.
    Slots(SlotRun),
    /// A setting of the cluster; an empty value means its default.
    Setting {
        /// Its name, as in CONFIG.
        name: String,
        /// Its value in its canonical form.
        value: String,
    },
    /// Numbers of the cluster as a whole.
    Cluster {
        /// Which meta group this is (►20).
        group: GroupId,
        /// The highest config epoch handed out.
        config_epoch: ConfigEpoch,
    },
    /// Whether a node is drained: it leads nothing, and is promoted only where no other copy is left.
    Drain {
        /// The node.
        node: NodeId,
        /// It is, from now on; else not any more.
        on: bool,
    },
}

/// The cluster as data nodes, clients and tools see it, at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The version of the last change in here.
    pub version: Version,
    /// The meta group, once known.
    pub group: Option<GroupId>,
    /// The highest config epoch handed out.
    pub config_epoch: ConfigEpoch,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, NodeRow>,
    /// All shards.
    pub shards: BTreeMap<ShardId, ShardRow>,
    /// Nodes that an operator has drained.
    pub drained: BTreeSet<NodeId>,
    /// Settings that are not at their default.
    pub settings: BTreeMap<String, String>,
    /// The owner of each slot: always [`SLOTS`] rows.
    owners: Vec<Option<ShardId>>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            version: Version::default(),
            group: None,
            config_epoch: ConfigEpoch::default(),
            nodes: BTreeMap::new(),
            shards: BTreeMap::new(),
            drained: BTreeSet::new(),
            settings: BTreeMap::new(),
            owners: vec![None; usize::from(SLOTS)],
        }
    }
}

impl Topology {
    /// Takes over one changed row.
    pub fn set(&mut self, row: Row) {
        match row {
            Row::Node(node) => drop(self.nodes.insert(node.id, node)),
            Row::NodeGone(id) => {
                self.nodes.remove(&id);
                self.drained.remove(&id);
            }
            Row::Shard(shard) => drop(self.shards.insert(shard.id, shard)),
            Row::ShardGone(id) => drop(self.shards.remove(&id)),
            Row::Slots(run) => {
                if let Some(cells) = self.owners.get_mut(run.first.index()..=run.last.index()) {
                    cells.fill(run.owner);
                }
            }
            Row::Setting { name, value } if value.is_empty() => drop(self.settings.remove(&name)),
            Row::Setting { name, value } => drop(self.settings.insert(name, value)),
            Row::Cluster { group, config_epoch } => {
                self.group = Some(group);
                self.config_epoch = config_epoch;
            }
            Row::Drain { node, on: true } => drop(self.drained.insert(node)),
            Row::Drain { node, on: false } => drop(self.drained.remove(&node)),
        }
    }

    /// All of it as rows: `Topology::default()` after taking them over equals this, but for the version.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(group) = self.group {
            rows.push(Row::Cluster { group, config_epoch: self.config_epoch });
        }
        rows.extend(self.nodes.values().cloned().map(Row::Node));
        rows.extend(self.drained.iter().map(|node| Row::Drain { node: *node, on: true }));
        rows.extend(self.shards.values().cloned().map(Row::Shard));
        rows.extend(self.runs().into_iter().filter(|run| run.owner.is_some()).map(Row::Slots));
        let settings = self.settings.iter();
        rows.extend(settings.map(|(name, value)| Row::Setting { name: name.clone(), value: value.clone() }));
        rows
    }

    /// Who owns a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<ShardId> {
        self.owners.get(slot.index()).copied().flatten()
    }

    /// All slots as the fewest runs, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<SlotRun> {
        let mut runs: Vec<SlotRun> = Vec::new();
        for slot in Slot::all() {
            let owner = self.owner(slot);
            match runs.last_mut() {
                Some(run) if run.owner == owner => run.last = slot,
                _ => runs.push(SlotRun { first: slot, last: slot, owner }),
            }
        }
        runs
    }

    /// The runs that a shard owns, in order.
    #[must_use]
    pub fn runs_of(&self, shard: ShardId) -> Vec<SlotRun> {
        self.runs().into_iter().filter(|run| run.owner == Some(shard)).collect()
    }

    /// The shard that a node is the primary of.
    #[must_use]
    pub fn led_by(&self, node: NodeId) -> Option<&ShardRow> {
        let shard = self.shards.get(&self.nodes.get(&node)?.shard?)?;
        (shard.primary == node).then_some(shard)
    }

    /// The lease TTL in force, milliseconds.
    #[must_use]
    pub fn lease_ttl_ms(&self) -> u64 {
        let set = self.settings.get("cluster-node-timeout").and_then(|text| text.parse().ok());
        set.unwrap_or(crate::timing::LEASE_TTL_DEFAULT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(byte: u8) -> ShardId {
        ShardId([byte; 20])
    }

    #[test]
    fn rows_of_a_topology_rebuild_it() {
        let mut topology = Topology::default();
        let at = |n| Slot::new(n).expect("below 16384");
        topology.set(Row::Slots(SlotRun { first: at(0), last: at(99), owner: Some(shard(1)) }));
        topology.set(Row::Slots(SlotRun { first: at(50), last: at(50), owner: Some(shard(2)) }));
        topology.set(Row::Setting { name: "cluster-node-timeout".into(), value: "3000".into() });
        topology.set(Row::Cluster { group: GroupId([7; 16]), config_epoch: ConfigEpoch(4) });
        topology.set(Row::Drain { node: NodeId([3; 20]), on: true });
        let mut copy = Topology::default();
        topology.rows().into_iter().for_each(|row| copy.set(row));
        assert_eq!(copy, topology);
        assert_eq!(copy.lease_ttl_ms(), 3000);
        assert_eq!(copy.runs_of(shard(1)).len(), 2);
    }

    #[test]
    fn a_run_whose_end_lies_before_its_start_changes_nothing() {
        let mut topology = Topology::default();
        let at = |n| Slot::new(n).expect("below 16384");
        topology.set(Row::Slots(SlotRun { first: at(9), last: at(3), owner: Some(shard(1)) }));
        assert_eq!(topology, Topology::default());
    }

    #[test]
    fn a_process_without_a_machine_id_proves_nothing() {
        let place = ProcessPlace { boot: "b".into(), ..ProcessPlace::default() };
        assert!(!place.proves_end_of(&place));
        let place = ProcessPlace { machine: "m".into(), ..place };
        assert!(place.proves_end_of(&place.clone()));
    }
}
