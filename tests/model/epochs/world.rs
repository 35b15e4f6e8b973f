//! What there is in the model: the logs with what is truly in them, the roles, and what must hold. It changes nothing.

use bytes::BytesMut;
use capstan_node::log::frame::HEAD;
use capstan_node::log::ring::{EpochStart, Ring};
use capstan_node::log::{Frame, Kind};
use capstan_proto::ids::{BatchNumber, NodeId, Position, ShardEpoch};
use capstan_proto::rules::Rules;

/// Nodes of the shard; the first one leads it in the beginning.
pub(super) const NODES: usize = 3;

/// The bounds of one exploration, and the rules in force.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Batches that primaries make by writes.
    pub(super) writes: u8,
    /// Promotions.
    pub(super) promotions: u64,
    /// Replicas that fall away beside the primaries that do.
    pub(super) losses: u8,
    pub(super) rules: Rules,
}

/// A batch, and who has made it: two batches with one position and different makers would be two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub(super) position: Position,
    pub(super) maker: usize,
}

/// What a node does in its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// It was chosen, and has not opened its epoch.
    Chosen,
    /// It serves.
    Primary,
    /// It follows nobody yet.
    Replica,
    /// It gets what the primary of the present epoch makes.
    Follows,
    /// Nobody hears it. It keeps its log.
    Away,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) role: Role,
    /// Everything that its data holds, oldest first.
    pub(super) log: Vec<Batch>,
    /// So much of it came as a whole copy.
    pub(super) copied: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) epoch: ShardEpoch,
    pub(super) nodes: Vec<Node>,
    pub(super) writes: u8,
    pub(super) losses: u8,
    /// What the newest primary that has served had in its log when it did so last.
    pub(super) served: Vec<Batch>,
    /// Somebody was promoted who lacks some of that, while another candidate had all of it.
    pub(super) undone: bool,
    /// A replica was continued whose log is no prefix, or a prefix was sent to a copy, or a frame did not follow.
    pub(super) misjudged: bool,
    pub(super) diverged: bool,
}

/// The id of a node, for the planner.
pub(super) fn id(number: usize) -> NodeId {
    NodeId([number as u8 + 1; 20])
}

pub(super) fn frame(position: Position) -> Frame {
    Frame::seal(BytesMut::zeroed(HEAD), position, Kind::Effects, 0)
}

impl Node {
    pub(super) fn last(&self) -> Position {
        self.log.last().map_or_else(Position::default, |batch| batch.position)
    }

    /// The number of the batch that it would make next.
    pub(super) fn next(&self) -> BatchNumber {
        BatchNumber(self.last().batch.0 + 1)
    }

    /// The product's log with this content; nothing if it would not take a frame.
    pub(super) fn ring(&self) -> Option<Ring> {
        let mut ring = Ring::new(1 << 20);
        if let Some(last) = self.log[..self.copied].last() {
            let mut starts: Vec<EpochStart> = Vec::new();
            for Batch { position, .. } in &self.log[..self.copied] {
                if starts.last().is_none_or(|start| start.epoch != position.epoch) {
                    starts.push(EpochStart { epoch: position.epoch, first: position.batch });
                }
            }
            ring.start_over(last.position, starts);
        }
        self.log[self.copied..].iter().try_for_each(|batch| ring.append(frame(batch.position))).ok()?;
        Some(ring)
    }
}

impl World {
    /// The first node leads, the others follow it; nothing was written but the batch that opened the first epoch.
    pub(super) fn start() -> Self {
        let epoch = ShardEpoch(1);
        let opened = Batch { position: Position { epoch, batch: BatchNumber(1) }, maker: 0 };
        let node = |number| {
            let role = if number == 0 { Role::Primary } else { Role::Follows };
            Node { role, log: vec![opened], copied: 0 }
        };
        Self {
            epoch,
            nodes: (0..NODES).map(node).collect(),
            writes: 0,
            losses: 0,
            served: vec![opened],
            undone: false,
            misjudged: false,
            diverged: false,
        }
    }

    pub(super) fn primary(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.role == Role::Primary)
    }

    /// Whether nobody leads: the last primary is away, and its lease is over.
    pub(super) fn is_vacant(&self) -> bool {
        !self.nodes.iter().any(|node| matches!(node.role, Role::Primary | Role::Chosen))
    }

    /// I6.
    pub(super) fn logs_agree(&self) -> bool {
        let shared = |one: &Node, other: &Node| {
            let common = one.log.iter().rev().find_map(|batch| {
                let at = other.log.iter().position(|theirs| theirs.position == batch.position)?;
                Some((one.log.iter().position(|ours| ours == batch)?, at))
            });
            common.is_none_or(|(ours, theirs)| one.log[..=ours] == other.log[..=theirs])
        };
        self.nodes.iter().all(|one| self.nodes.iter().all(|other| shared(one, other)))
    }

    /// ►12: who serves stands above every log that lacks something of what it has.
    pub(super) fn the_primary_is_highest(&self) -> bool {
        let Some(primary) = self.primary().map(|at| &self.nodes[at]) else { return true };
        self.nodes.iter().all(|node| node.log.starts_with(&primary.log) || node.last() < primary.last())
    }
}
