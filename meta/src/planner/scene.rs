//! One shard and its nodes for the planner's tests, in words.

use super::{Asked, Decision, Promotion, Said, View, plan};
use crate::state::Body;
use capstan_proto::env::Boot;
use capstan_proto::ids::{
    AttemptId, BatchNumber, ConfigEpoch, Incarnation, NodeId, Position, ShardEpoch, ShardId, SpawnToken,
};
use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const PRIMARY: NodeId = NodeId([1; 20]);
pub(crate) const REPLICA: NodeId = NodeId([2; 20]);
pub(crate) const OTHER: NodeId = NodeId([3; 20]);
pub(crate) const SHARD: ShardId = ShardId([9; 20]);

pub(crate) fn life(counter: u64) -> Incarnation {
    Incarnation { counter, token: SpawnToken([counter as u8; 16]) }
}

pub(crate) fn at(epoch: u64, batch: u64) -> Position {
    Position { epoch: ShardEpoch(epoch), batch: BatchNumber(batch) }
}

/// A shard in epoch 4 with its primary and whole replicas, all in their first lives and silent so far.
pub(crate) struct Scene {
    pub(crate) topology: Topology,
    pub(crate) said: BTreeMap<NodeId, Said>,
    pub(crate) busy: BTreeSet<ShardId>,
    pub(crate) over: BTreeSet<ShardId>,
    pub(crate) young: BTreeSet<ShardId>,
    pub(crate) asked: BTreeMap<ShardId, Asked>,
    pub(crate) attempts: BTreeMap<ShardId, (AttemptId, Boot)>,
    pub(crate) now: Boot,
    beats: u64,
}

impl Scene {
    pub(crate) fn new(replicas: &[NodeId]) -> Self {
        let mut topology = Topology::default();
        for id in replicas.iter().copied().chain([PRIMARY]) {
            topology.set(Row::Node(NodeRow {
                id,
                incarnation: life(1),
                place: ProcessPlace::default(),
                addresses: Addresses::default(),
                shard: Some(SHARD),
                dead: false,
                whole: true,
                software: String::new(),
            }));
        }
        topology.set(Row::Shard(ShardRow {
            id: SHARD,
            number: 1,
            primary: PRIMARY,
            incarnation: life(1),
            epoch: ShardEpoch(4),
            config_epoch: ConfigEpoch(4),
            replicas: replicas.to_vec(),
            phase: ShardPhase::Steady,
            last_attempt: AttemptId(7),
            floor: None,
        }));
        Self {
            topology,
            said: BTreeMap::new(),
            busy: BTreeSet::new(),
            over: BTreeSet::new(),
            young: BTreeSet::new(),
            asked: BTreeMap::new(),
            attempts: BTreeMap::new(),
            now: Boot(60_000_000_000),
            beats: 0,
        }
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut NodeRow {
        self.topology.nodes.get_mut(&id).expect("in the scene")
    }

    pub(crate) fn shard(&mut self) -> &mut ShardRow {
        self.topology.shards.get_mut(&SHARD).expect("in the scene")
    }

    /// A heartbeat of a node comes in now, in its present life; what it says is the caller's to fill in.
    pub(crate) fn hear(&mut self, id: NodeId) -> &mut Said {
        self.beats += 1;
        let row = &self.topology.nodes[&id];
        let leads = self.topology.led_by(id).filter(|shard| shard.incarnation == row.incarnation);
        let said = Said {
            incarnation: row.incarnation,
            received: self.now,
            number: self.beats,
            addresses: row.addresses.clone(),
            claim: leads.map(|shard| (shard.id, shard.epoch)),
            position: None,
            handed_over: None,
            whole_of: None,
            wants_handover: false,
            first_served: None,
            held: None,
        };
        self.said.insert(id, said);
        self.said.get_mut(&id).expect("just put in")
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            topology: &self.topology,
            said: &self.said,
            busy: &self.busy,
            over: &self.over,
            young: &self.young,
            asked: &self.asked,
            attempts: &self.attempts,
            now: self.now,
        }
    }

    pub(crate) fn plan(&self) -> Vec<Decision> {
        plan(&self.view())
    }

    /// The one decision, which is to ask; done as the controller does it.
    pub(crate) fn ask(&mut self) -> Vec<NodeId> {
        let decisions = self.plan();
        let [Decision::Ask { old, candidates, .. }] = &decisions[..] else { panic!("{decisions:?}") };
        self.asked.insert(old.shard, Asked { old: *old, at: self.now, after: self.beats });
        candidates.clone()
    }

    /// The one decision, which is a promotion.
    pub(crate) fn promotion(&self) -> Promotion {
        let mut decisions = self.plan();
        match (decisions.pop(), decisions.len()) {
            (Some(Decision::Promote(promotion)), 0) => *promotion,
            (last, _) => panic!("{decisions:?} and {last:?}"),
        }
    }

    /// The one decision, which begins or ends an attempt.
    pub(crate) fn attempt(&self) -> Body {
        let mut decisions = self.plan();
        match (decisions.pop(), decisions.len()) {
            (Some(Decision::Attempt { body, .. }), 0) => body,
            (last, _) => panic!("{decisions:?} and {last:?}"),
        }
    }
}
