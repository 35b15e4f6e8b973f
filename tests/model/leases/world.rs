//! What there is in the model: the committed states, the leaders, the processes, the messages, the time.
//!
//! It decides who *could* execute a command right now. It refuses to change anything: `step.rs` does.

use capstan_meta::lease::{Holder, LeaseTable, RoundId, Standing, StreamId};
use capstan_node::cluster::lease::{Grant, Lead, NodeLease, StreamNumber};
use capstan_proto::env::Boot;
use capstan_proto::ids::{Incarnation, LeaderId, MetaId, NodeId, ShardEpoch, ShardId, SpawnToken, Version};
use capstan_proto::rules::Rules;
use std::collections::BTreeSet;
use std::time::Duration;

/// One big step of time.
pub(super) const BIG: u64 = 1_000_000;
/// One tiny step, less than 1 % of a lease: what a leader that counts without the 1 % is wrong by.
pub(super) const TINY: u64 = BIG / 100;
/// A lease lasts two big steps and a tiny one, so that there is an instant just before its end.
pub(super) const TTL: Duration = Duration::from_nanos(2 * BIG + TINY);

pub(super) const A: NodeId = NodeId([0xa; 20]);
pub(super) const B: NodeId = NodeId([0xb; 20]);
/// The shard whose slot is looked at.
pub(super) const SHARD: ShardId = ShardId([1; 20]);
/// The shard of B in the story *take*.
pub(super) const OTHER: ShardId = ShardId([2; 20]);

pub(super) fn life(counter: u64) -> Incarnation {
    Incarnation { counter, token: SpawnToken([counter as u8; 16]) }
}

/// Which commands the meta leaders want to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// The shard goes to another node or another life.
    Promote,
    /// The slot goes to another shard.
    Take,
}

/// The bounds of one exploration, and the rules in force on each side.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) story: Story,
    pub(super) big: u64,
    pub(super) tiny: u64,
    /// Heartbeats that each process may send.
    pub(super) heartbeats: usize,
    /// How often one heartbeat may arrive.
    pub(super) arrivals: u8,
    /// Rounds of each leader.
    pub(super) rounds: u8,
    pub(super) commits: usize,
    pub(super) leaders: usize,
    pub(super) second_life: bool,
    /// Whether the lanes learn of a version in a step of its own, after the node's copy has reached it.
    pub(super) slow_lanes: bool,
    pub(super) meta: Rules,
    pub(super) node: Rules,
    /// ►8 at the lane: owner and lease are checked at the instant of execution.
    pub(super) checked_in_lane: bool,
}

/// Who owns the slot that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Shard,
    Revoked,
    Other,
}

/// The cluster state, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// The registered life of A; B keeps its first.
    pub(super) life_of_a: u64,
    pub(super) primary: NodeId,
    pub(super) promoted: Incarnation,
    pub(super) epoch: ShardEpoch,
    pub(super) owner: Owner,
}

impl Rows {
    pub(super) fn registered(&self, node: NodeId) -> Incarnation {
        life(if node == A { self.life_of_a } else { 1 })
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { node: self.primary, incarnation: self.promoted, shard: SHARD, epoch: self.epoch }
    }

    pub(super) fn standing(&self, story: Story, node: NodeId) -> Standing {
        let other = (story == Story::Take && node == B).then_some((OTHER, life(1), ShardEpoch(1)));
        let leads = (self.primary == node).then_some((SHARD, self.promoted, self.epoch)).or(other);
        Standing { incarnation: self.registered(node), dead: false, leads }
    }

    pub(super) fn lead(&self, story: Story, node: NodeId, incarnation: Incarnation) -> Option<Lead> {
        let standing = self.standing(story, node);
        let (shard, promoted, epoch) = standing.leads?;
        (standing.incarnation == incarnation && promoted == incarnation).then_some(Lead { shard, epoch })
    }
}

/// What a leader proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Command {
    /// A's next life registers, replacing this one; by proof of death or because the lease of the old one is over.
    Register(u64),
    Promote {
        to: NodeId,
        life: Incarnation,
        expected: ShardEpoch,
    },
    Revoke,
    Take,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    pub(super) table: LeaseTable,
    pub(super) rounds: u8,
    /// A round that the quorum has confirmed, with the version that was applied then.
    pub(super) read: Option<(RoundId, usize)>,
    /// Proposed, its outcome not known yet.
    pub(super) proposed: Option<Command>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) runs: bool,
    pub(super) lease: NodeLease,
    pub(super) sent: usize,
    /// The version by which its lanes decide; an index into the history. Nothing before the first.
    pub(super) lanes: Option<usize>,
    /// A command that was let in and has not executed yet: only where the check is not made in the lane.
    pub(super) let_in: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Beat {
    pub(super) to: usize,
    pub(super) heartbeat: capstan_meta::lease::Heartbeat,
    pub(super) arrived: u8,
}

/// A grant on its way to a process. Never taken off the network: it may arrive late, twice, or never.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reply {
    pub(super) to: usize,
    pub(super) stream: StreamNumber,
    pub(super) sequence: u64,
    pub(super) grant: Grant,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) big: u64,
    pub(super) tiny: u64,
    pub(super) history: Vec<Rows>,
    pub(super) leaders: Vec<Leader>,
    pub(super) processes: Vec<Process>,
    pub(super) beats: Vec<Beat>,
    pub(super) replies: BTreeSet<Reply>,
}

/// History index to version: the first state has version 1.
pub(super) fn version(index: usize) -> Version {
    Version { generation: 0, index: index as u64 + 1 }
}

/// A stream that process `from` keeps to leader `to`, as the server and as the node number it.
pub(super) fn stream(from: usize, to: usize) -> (StreamId, StreamNumber) {
    let number = (10 * from + to) as u64;
    (StreamId(number), StreamNumber(number))
}

impl Process {
    fn new(node: NodeId, counter: u64, rules: Rules) -> Self {
        let incarnation = life(counter);
        Self {
            node,
            incarnation,
            runs: true,
            lease: NodeLease::new(node, incarnation, rules),
            sent: 0,
            lanes: None,
            let_in: false,
        }
    }
}

impl World {
    pub(super) fn start(bounds: &Bounds) -> Self {
        let rows =
            Rows { life_of_a: 1, primary: A, promoted: life(1), epoch: ShardEpoch(1), owner: Owner::Shard };
        let mut processes = vec![Process::new(A, 1, bounds.node), Process::new(B, 1, bounds.node)];
        for process in &mut processes {
            let lead = rows.lead(bounds.story, process.node, process.incarnation);
            process.lease.reach(version(0), lead);
            process.lease.in_force(version(0));
            process.lanes = Some(0);
        }
        let mut world = Self {
            big: 0,
            tiny: 0,
            history: vec![rows],
            leaders: Vec::new(),
            processes,
            beats: Vec::new(),
            replies: BTreeSet::new(),
        };
        world.elect(bounds);
        world
    }

    pub(super) fn elect(&mut self, bounds: &Bounds) {
        let number = self.leaders.len() as u64 + 1;
        let id = LeaderId { term: number, node: MetaId(number) };
        let table = LeaseTable::new(id, self.now_of_leaders(), bounds.meta);
        self.leaders.push(Leader { table, rounds: 0, read: None, proposed: None });
    }

    /// A's next life: the same folder after the old process ended, or a copy elsewhere while it still runs.
    pub(super) fn spawn(&mut self, bounds: &Bounds) {
        self.processes.push(Process::new(A, 2, bounds.node));
    }

    pub(super) fn now(&self) -> Boot {
        Boot(self.big * BIG + self.tiny * TINY)
    }

    /// The leaders' clocks run 1 % faster than the nodes' and count from another instant.
    pub(super) fn now_of_leaders(&self) -> Boot {
        Boot(7 * BIG + self.now().0 / 100 * 101)
    }

    pub(super) fn rows(&self) -> &Rows {
        self.history.last().expect("the history begins with a first state")
    }

    /// Whether a process may execute a command for the slot at this instant.
    pub(super) fn may_execute(&self, bounds: &Bounds, process: &Process) -> bool {
        if process.let_in && !bounds.checked_in_lane {
            return process.runs;
        }
        self.lets_in(bounds, process)
    }

    /// Owner, role and lease, as a lane checks them.
    pub(super) fn lets_in(&self, bounds: &Bounds, process: &Process) -> bool {
        let Some(rows) = process.lanes.map(|index| &self.history[index]) else { return false };
        let shard = match rows.owner {
            Owner::Shard => SHARD,
            Owner::Revoked => return false,
            Owner::Other => OTHER,
        };
        let lead = rows.lead(bounds.story, process.node, process.incarnation);
        // The worst case for I4: B always holds a lease for its own shard.
        let held = shard == OTHER || process.lease.holds(self.now());
        process.runs && lead.is_some_and(|lead| lead.shard == shard) && held
    }

    /// I4.
    pub(super) fn one_server_at_a_time(&self, bounds: &Bounds) -> bool {
        self.processes.iter().filter(|process| self.may_execute(bounds, process)).count() <= 1
    }

    /// The instant at which a process may execute, for the runs that must exist.
    pub(super) fn serves(&self, bounds: &Bounds, process: usize) -> bool {
        self.processes.get(process).is_some_and(|process| self.may_execute(bounds, process))
    }
}
