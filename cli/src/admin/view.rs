//! What the meta group answered, as domain types: the topology, and what each node last reported to the leader.

use super::client::{AskError, Client};
use capstan_proto::ids::{NodeId, Version};
use capstan_proto::rpc::convert::BadMessage;
use capstan_proto::rpc::v1;
use capstan_proto::slot::Slot;
use capstan_proto::topology::{Addresses, NodeRow, Row, ShardRow, SlotRun, Topology};
use std::collections::BTreeMap;

/// What the leader knows of a node beside its row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) heartbeat_age_ms: u64,
    /// 0: no lease.
    pub(crate) lease_left_ms: u64,
    pub(crate) refused_why: String,
    pub(crate) version: Version,
    pub(crate) health: v1::Health,
    /// The last planned failover that held its clients.
    pub(crate) held: Option<v1::Held>,
}

/// The cluster as the group sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) topology: Topology,
    pub(crate) reports: BTreeMap<NodeId, Report>,
}

/// A node's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
    Unassigned,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Unassigned => "unassigned",
        }
    }
}

impl View {
    /// Asks for it: not older than the question.
    pub(crate) async fn now(client: &mut Client) -> Result<Self, AskError> {
        Ok(Self::read(client.state(true).await?)?)
    }

    /// Reads an answer. Rows that only a later version knows are skipped.
    pub(crate) fn read(reply: v1::StateReply) -> Result<Self, BadMessage> {
        let mut view = Self::default();
        for row in reply.rows {
            match Row::try_from(row) {
                Ok(row) => view.topology.set(row),
                Err(BadMessage::UnknownRow) => {}
                Err(bad @ (BadMessage::Missing(_) | BadMessage::Field { .. })) => return Err(bad),
            }
        }
        view.topology.version = reply.version.map(Version::try_from).transpose()?.unwrap_or_default();
        for report in reply.reports {
            let id = NodeId::from_slice(&report.node)?;
            let last = report.last.unwrap_or_default();
            let version = last.version.map(Version::try_from).transpose()?.unwrap_or_default();
            let report = Report {
                heartbeat_age_ms: report.heartbeat_age_ms,
                lease_left_ms: report.lease_left_ms,
                refused_why: report.refused_why,
                version,
                health: last.health.unwrap_or_default(),
                held: last.held,
            };
            view.reports.insert(id, report);
        }
        Ok(view)
    }

    pub(crate) fn role(&self, node: &NodeRow) -> Role {
        match node.shard {
            None => Role::Unassigned,
            Some(_) if self.topology.led_by(node.id).is_some() => Role::Primary,
            Some(_) => Role::Replica,
        }
    }

    /// Whether this primary holds a lease, as far as the leader knows.
    pub(crate) fn holds_lease(&self, node: NodeId) -> bool {
        self.reports.get(&node).is_some_and(|report| report.lease_left_ms > 0)
    }

    /// The shards in the order of their numbers.
    pub(crate) fn shards(&self) -> Vec<&ShardRow> {
        let mut shards: Vec<&ShardRow> = self.topology.shards.values().collect();
        shards.sort_by_key(|shard| shard.number);
        shards
    }

    /// How many slots nobody owns.
    pub(crate) fn unassigned_slots(&self) -> usize {
        Slot::all().filter(|slot| self.topology.owner(*slot).is_none()).count()
    }

    /// Where a node is reached by clients; its id if it never said.
    pub(crate) fn address(&self, node: NodeId) -> String {
        self.topology.nodes.get(&node).map_or_else(|| node.to_string(), |row| address(&row.addresses))
    }

    /// What people call a node's shard.
    pub(crate) fn shard_number(&self, node: &NodeRow) -> Option<u32> {
        node.shard.and_then(|id| self.topology.shards.get(&id)).map(|shard| shard.number)
    }
}

/// `host:port`, the announced name if the node prefers it.
pub(crate) fn address(addresses: &Addresses) -> String {
    let host = if addresses.ip.is_empty() { &addresses.hostname } else { &addresses.ip };
    if host.contains(':') {
        format!("[{host}]:{}", addresses.port)
    } else {
        format!("{host}:{}", addresses.port)
    }
}

/// Runs as people write them: `0-5460 9000`.
pub(crate) fn runs(runs: &[SlotRun]) -> String {
    let one = |run: &SlotRun| match run.first == run.last {
        true => run.first.to_string(),
        false => format!("{}-{}", run.first, run.last),
    };
    runs.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// How many slots these runs hold.
pub(crate) fn count(runs: &[SlotRun]) -> usize {
    runs.iter().map(|run| run.last.index() - run.first.index() + 1).sum()
}
