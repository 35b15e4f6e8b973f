//! What one leader id knows and owes: leases, reports, questions, proposals that are not settled.
//!
//! It decides when granting to a stopped holder may go on: only once nothing of this leader that rests on the stop is
//! under way any more (►6). Everything in it is bounded by the nodes and shards of the state.

use crate::lease::{Holder, LeaseTable};
use crate::planner::{Asked, Said, View};
use crate::state::{Body, Command, State};
use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, Incarnation, NodeId, ShardEpoch, ShardId, Version};
use capstan_proto::rpc::v1;
use capstan_proto::topology::{ShardPhase, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Refused words of a node that are remembered.
const REFUSED_MAX: usize = 8;

/// A promotion that was proposed, or is about to be.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) old: Holder,
}

/// What a node's last heartbeat to this leader said, for people; what is decided on is in [`Said`].
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) last: v1::HeartbeatRequest,
    pub(super) refused: String,
}

/// When a promotion of this leader was proposed, committed and first granted, for the history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) epoch: ShardEpoch,
    pub(super) proposed: Boot,
    pub(super) committed: Boot,
    pub(super) granted: Option<Boot>,
}

/// What one leader id knows and owes.
pub(super) struct Book {
    pub(super) table: LeaseTable,
    /// The state was read once under this leader id: it holds everything that earlier leaders committed.
    pub(super) ready: bool,
    pub(super) reports: BTreeMap<NodeId, Report>,
    pub(super) said: BTreeMap<NodeId, Said>,
    /// Heartbeats so far.
    pub(super) beats: u64,
    pub(super) asked: BTreeMap<ShardId, Asked>,
    pub(super) attempts: BTreeMap<ShardId, (AttemptId, Boot)>,
    /// Since when this leader knows each shard in its present epoch.
    pub(super) known: BTreeMap<ShardId, (ShardEpoch, Boot)>,
    /// Holders that a forced failover has stopped (►6).
    pub(super) forced: BTreeMap<ShardId, Holder>,
    pub(super) pending: BTreeMap<ShardId, Pending>,
    /// When what is pending was proposed first.
    pub(super) proposed: BTreeMap<ShardId, Boot>,
    pub(super) courses: BTreeMap<ShardId, Course>,
    /// Lives that a registration waits to replace, and what they were stopped as (►6).
    pub(super) registering: BTreeMap<(NodeId, Incarnation), Option<Holder>>,
    /// Shards whose last promotion was rejected: not decided again before then.
    pub(super) not_before: BTreeMap<ShardId, Boot>,
    /// What nodes said and the state refused, or knows already: not proposed again.
    pub(super) refused: BTreeMap<NodeId, Vec<Body>>,
}

impl Book {
    pub(super) fn new(table: LeaseTable) -> Self {
        Self {
            table,
            ready: false,
            reports: BTreeMap::new(),
            said: BTreeMap::new(),
            beats: 0,
            asked: BTreeMap::new(),
            attempts: BTreeMap::new(),
            known: BTreeMap::new(),
            forced: BTreeMap::new(),
            pending: BTreeMap::new(),
            proposed: BTreeMap::new(),
            courses: BTreeMap::new(),
            registering: BTreeMap::new(),
            not_before: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// ►6, second half: something that `holder` was stopped for is settled. Granting goes on once nothing else is.
    pub(super) fn resume(&mut self, holder: Holder, after: Version) {
        let pending = self.pending.get(&holder.shard).is_some_and(|pending| pending.old == holder);
        let asked = self.asked.get(&holder.shard).is_some_and(|asked| asked.old == holder);
        let forced = self.forced.get(&holder.shard) == Some(&holder);
        let registering = self.registering.values().any(|other| *other == Some(holder));
        if pending || asked || forced || registering {
            self.table.settled_at(after);
        } else {
            self.table.resume(holder, after);
        }
    }

    /// Shards whose primary's lease is over, and the next instant at which another one's is.
    pub(super) fn over(
        &self,
        topology: &Topology,
        ttl_max: Duration,
        now: Boot,
    ) -> (BTreeSet<ShardId>, Option<Boot>) {
        let grace = self.table.grace_left(ttl_max, now);
        if !grace.is_zero() {
            return (BTreeSet::new(), Some(now.after(grace)));
        }
        let held = self.table.held();
        let lasts = |shard: &&ShardId| held.get(shard).is_some_and(|until| *until > now);
        let over = topology.shards.keys().filter(|shard| !lasts(shard)).copied().collect();
        (over, held.values().filter(|until| **until > now).min().copied())
    }

    /// Shards in an epoch that is younger than a lease, and the next instant at which another one is none.
    pub(super) fn young(&self, topology: &Topology, now: Boot) -> (BTreeSet<ShardId>, Option<Boot>) {
        let ttl = Duration::from_millis(topology.lease_ttl_ms());
        let young = self.known.iter().map(|(shard, (_, since))| (*shard, since.after(ttl)));
        let young: Vec<(ShardId, Boot)> = young.filter(|(_, until)| *until > now).collect();
        (young.iter().map(|(shard, _)| *shard).collect(), young.iter().map(|(_, until)| *until).min())
    }

    /// What the planner looks at.
    pub(super) fn view<'a>(
        &'a self,
        topology: &'a Topology,
        (busy, over, young): (&'a BTreeSet<ShardId>, &'a BTreeSet<ShardId>, &'a BTreeSet<ShardId>),
        now: Boot,
    ) -> View<'a> {
        View {
            topology,
            said: &self.said,
            busy,
            over,
            young,
            asked: &self.asked,
            attempts: &self.attempts,
            now,
        }
    }

    /// Shards that the planner leaves alone.
    pub(super) fn busy(&self) -> BTreeSet<ShardId> {
        self.pending.keys().chain(self.not_before.keys()).copied().collect()
    }

    /// The state refused what a node said, or has it: it is not proposed again.
    pub(super) fn refuse(&mut self, node: NodeId, body: Body) {
        let refused = self.refused.entry(node).or_default();
        if refused.len() >= REFUSED_MAX {
            refused.remove(0);
        }
        refused.push(body);
    }

    /// Drops what the state has overtaken, so that nothing here grows beyond the nodes and shards there are.
    pub(super) fn tidy(&mut self, state: &State, now: Boot) {
        let topology = state.topology();
        self.reports.retain(|node, _| topology.nodes.contains_key(node));
        self.said.retain(|node, _| topology.nodes.contains_key(node));
        self.refused.retain(|node, _| topology.nodes.contains_key(node));
        self.not_before.retain(|shard, until| *until > now && topology.shards.contains_key(shard));
        let present = |node: &NodeId, life: &Incarnation| {
            topology.nodes.get(node).is_some_and(|row| row.incarnation == *life)
        };
        self.registering.retain(|(node, life), _| present(node, life));
        let holds = |holder: &Holder| {
            let shard = topology.shards.get(&holder.shard);
            shard.is_some_and(|shard| crate::planner::holder(shard) == *holder)
        };
        self.asked.retain(|_, asked| holds(&asked.old));
        self.known.retain(|id, _| topology.shards.contains_key(id));
        for shard in topology.shards.values() {
            let known = self.known.entry(shard.id).or_insert((shard.epoch, now));
            if known.0 != shard.epoch {
                *known = (shard.epoch, now);
            }
        }
        self.courses.retain(|id, c| topology.shards.get(id).is_some_and(|shard| shard.epoch == c.epoch));
        self.follow_attempts(topology, now, state.version(), holds);
        for shard in topology.shards.values() {
            let ended = topology
                .nodes
                .get(&shard.primary)
                .is_some_and(|row| row.dead || row.incarnation.counter > shard.incarnation.counter);
            if ended {
                self.table.life_ended(shard.primary, shard.incarnation);
            }
        }
    }

    /// Attempts that are under way, and holders whose forced failover is over.
    fn follow_attempts(
        &mut self,
        topology: &Topology,
        now: Boot,
        version: Version,
        holds: impl Fn(&Holder) -> bool,
    ) {
        self.attempts.retain(|id, (attempt, _)| {
            let planned = topology.shards.get(id).and_then(|shard| shard.phase.planned());
            planned.is_some_and(|(under_way, _)| under_way == *attempt)
        });
        for shard in topology.shards.values() {
            if let Some((attempt, _)) = shard.phase.planned() {
                self.attempts.entry(shard.id).or_insert((attempt, now));
            }
        }
        let is_forced = |id: &ShardId| {
            topology.shards.get(id).is_some_and(|shard| matches!(shard.phase, ShardPhase::Forced { .. }))
        };
        let over: Vec<Holder> = self.forced.values().filter(|old| !is_forced(&old.shard)).copied().collect();
        for old in over {
            self.forced.remove(&old.shard);
            if holds(&old) {
                self.resume(old, version);
            }
        }
    }
}
