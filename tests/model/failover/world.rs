//! What there is in the model: the committed state, the leaders, the processes and the time.
//!
//! It says who *could* execute a command right now, and what must hold. It changes nothing: `step.rs` and `deeds.rs` do.

use super::committed::{Committed, Id, life};
use capstan_meta::lease::{Holder, LeaseTable};
use capstan_meta::planner::{Asked, Said};
use capstan_meta::state::Fence;
use capstan_node::cluster::lease::{Lead, NodeLease};
use capstan_node::cluster::role::Attempt;
use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Incarnation, LeaderId, MetaId, NodeId, ShardEpoch, ShardId};
use capstan_proto::rules::Rules;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const A: NodeId = NodeId([0xa; 20]);
pub(super) const B: NodeId = NodeId([0xb; 20]);
pub(super) const SHARD: ShardId = ShardId([1; 20]);
pub(super) const LEADER: LeaderId = LeaderId { term: 1, node: MetaId(1) };
/// One step of time. Within it a lease is fresh, after it a claim is stale and a question is given up, after two a lease
/// is over as the leader counts it, the 1 % included.
pub(super) const STEP: Duration = Duration::from_millis(1600);
pub(super) const TTL: Duration = Duration::from_millis(3000);

/// What happens in an exploration beside heartbeats, rounds and elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// Processes end and come back, folders are copied.
    Deaths,
    /// A planned failover under writes.
    Attempts,
}

/// The bounds of one exploration, and the rules in force on each side.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) story: Story,
    pub(super) time: u64,
    /// Heartbeats of each process.
    pub(super) beats: u8,
    pub(super) leaders: usize,
    /// Processes that end.
    pub(super) deaths: u8,
    /// Lives beside the first two.
    pub(super) lives: usize,
    pub(super) writes: u8,
    /// Attempts that an operator begins.
    pub(super) attempts: u8,
    pub(super) meta: Rules,
    pub(super) node: Rules,
}

/// A promotion as it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Proposed {
    pub(super) by: LeaderId,
    pub(super) old: Holder,
    pub(super) candidate: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) fence: Proof,
    pub(super) attempt: Option<AttemptId>,
    /// No complete copy is left, so it is promoted empty.
    pub(super) empty: bool,
}

/// [`Fence`], hashable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Proof {
    Dead,
    LeaseOver,
    HandedOver,
}

impl From<Fence> for Proof {
    fn from(fence: Fence) -> Self {
        match fence {
            Fence::ProvenDead => Self::Dead,
            Fence::LeaseOver => Self::LeaseOver,
            Fence::HandedOver => Self::HandedOver,
        }
    }
}

impl From<Proof> for Fence {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Dead => Self::ProvenDead,
            Proof::LeaseOver => Self::LeaseOver,
            Proof::HandedOver => Self::HandedOver,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    pub(super) id: LeaderId,
    pub(super) table: LeaseTable,
    pub(super) said: BTreeMap<NodeId, Said>,
    pub(super) heard: u64,
    pub(super) asked: BTreeMap<ShardId, Asked>,
    pub(super) attempts: BTreeMap<ShardId, (AttemptId, Boot)>,
    /// Proposed, its outcome not known yet.
    pub(super) pending: Option<Proposed>,
}

/// A primary that holds its clients (►14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    pub(super) attempt: Attempt,
    /// What it led when the hold began.
    pub(super) lead: Option<Lead>,
    pub(super) since: u64,
    /// It has given up its lease, and said that the candidate has everything.
    pub(super) handed_over: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) copied: bool,
    pub(super) runs: bool,
    pub(super) lease: NodeLease,
    /// The committed state that it knows.
    pub(super) knows: Id,
    pub(super) beats: u8,
    /// It truly holds a complete copy.
    pub(super) has_copy: bool,
    /// Writes in its data.
    pub(super) writes: u8,
    pub(super) hold: Option<Hold>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) time: u64,
    pub(super) state: Id,
    pub(super) leaders: Vec<Leader>,
    /// Promotions whose leader lost its office before it knew the outcome: they may still commit.
    pub(super) late: Vec<Proposed>,
    pub(super) processes: Vec<Process>,
    /// Writes that a primary has acknowledged.
    pub(super) acknowledged: u8,
    pub(super) begun: u8,
    pub(super) deaths: u8,
    /// A promotion said that the data is lost.
    pub(super) loss_said: bool,
    /// A planned promotion is what made the present primary, and no other followed.
    pub(super) planned: bool,
}

impl Process {
    pub(super) fn new(node: NodeId, counter: u64, copied: bool, (knows, rules): (Id, Rules)) -> Self {
        let incarnation = life(node, counter);
        Self {
            node,
            incarnation,
            copied,
            runs: true,
            lease: NodeLease::new(node, incarnation, rules),
            knows,
            beats: 0,
            has_copy: counter == 1,
            writes: 0,
            hold: None,
        }
    }

    /// Whether it may execute a command now: it leads by its own copy of the state, holds a lease, holds no clients.
    pub(super) fn serves(&self, now: Boot) -> bool {
        self.runs && self.lease.holds(now) && self.lease.lead().is_some() && self.hold.is_none()
    }
}

impl World {
    pub(super) fn start(bounds: &Bounds, committed: &Committed) -> Self {
        let state = committed.first();
        let process = |node| Process::new(node, 1, false, (state, bounds.node));
        let mut world = Self {
            time: 0,
            state,
            leaders: Vec::new(),
            late: Vec::new(),
            processes: vec![process(A), process(B)],
            acknowledged: 0,
            begun: 0,
            deaths: 0,
            loss_said: false,
            planned: false,
        };
        for number in 0..world.processes.len() {
            world.learn(number, committed);
        }
        world.elect(bounds);
        world
    }

    pub(super) fn elect(&mut self, bounds: &Bounds) {
        let number = self.leaders.len() as u64 + 1;
        let id = LeaderId { term: number, node: MetaId(number) };
        let table = LeaseTable::new(id, self.now(), bounds.meta);
        self.leaders.push(Leader {
            id,
            table,
            said: BTreeMap::new(),
            heard: 0,
            asked: BTreeMap::new(),
            attempts: BTreeMap::new(),
            pending: None,
        });
    }

    pub(super) fn now(&self) -> Boot {
        Boot(self.time * STEP.as_nanos() as u64 + 1)
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = &Process> {
        let now = self.now();
        self.processes.iter().filter(move |process| process.serves(now))
    }

    /// I4.
    pub(super) fn one_server_at_a_time(&self) -> bool {
        self.serving().count() <= 1
    }

    /// ►3: who serves has a complete copy, unless the loss was said.
    pub(super) fn copies_are_whole(&self) -> bool {
        self.loss_said || self.serving().all(|process| process.has_copy)
    }

    /// I10: after a planned failover the new primary has every acknowledged write.
    pub(super) fn nothing_is_lost(&self) -> bool {
        let first = ShardEpoch(1);
        let led = |process: &&Process| process.lease.lead().is_some_and(|lead| lead.epoch > first);
        !self.planned || self.serving().filter(led).all(|process| process.writes >= self.acknowledged)
    }
}
