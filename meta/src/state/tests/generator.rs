//! Random commands, built from a state as a proposer may have seen it: the present one, or one long gone.

use super::builders::{LEADER, OTHER, addresses, node, place, request, shard, token};
use crate::state::{
    Body, Command, Consent, Draining, Fence, JoinRole, LeaseOver, NodeUpdate, Noted, Promote, Register,
    SlotRange, State,
};
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{AttemptId, BatchNumber, GroupId, NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::ShardPhase;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const NODES: u8 = 8;
const SHARDS: u8 = 4;

/// A stream of commands that a seed decides.
pub(super) struct Generator {
    pub(super) rng: SmallRng,
    requests: u64,
    tokens: u32,
    now: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), requests: 0, tokens: 0, now: 1_700_000_000_000 }
    }

    /// A command with a fresh request id, as somebody would send it who saw `seen`.
    pub(super) fn command(&mut self, seen: &State) -> Command {
        let body = match self.rng.gen_range(0..12) {
            0 => {
                let many = self.rng.gen_range(1..5);
                Body::Batch((0..many).map(|_| self.single(seen)).collect())
            }
            _ => return self.single(seen),
        };
        self.wrap(body)
    }

    fn single(&mut self, seen: &State) -> Command {
        let body = self.body(seen);
        self.wrap(body)
    }

    fn wrap(&mut self, body: Body) -> Command {
        self.requests += 1;
        // Leaders' clocks differ: time mostly goes on, and sometimes jumps back.
        self.now += self.rng.gen_range(0..500);
        let back = if self.rng.gen_ratio(1, 20) { 60_000 } else { 0 };
        let leader = match self.rng.gen_range(0..20) {
            0 => Some(OTHER),
            1..=4 if !matches!(body, Body::Promote(_)) => None,
            _ => Some(LEADER),
        };
        Command {
            request: request(self.requests),
            author: format!("author-{}", self.rng.gen_range(0..3)),
            at: UnixMs(self.now - back),
            leader,
            body,
        }
    }

    pub(super) fn body(&mut self, seen: &State) -> Body {
        match self.rng.gen_range(0..100) {
            0 => Body::Found { group: GroupId([self.rng.gen_range(1..3); 16]) },
            1..=21 => self.register(seen),
            22..=24 => self.dead(seen),
            25..=37 => self.update(seen),
            38..=48 => self.join(seen),
            49..=57 => self.add_slots(seen),
            58..=62 => Body::Replicate { node: self.node(), shard: self.shard() },
            63..=86 => self.promote(seen),
            87..=90 => self.begin(seen),
            91..=92 => self.end(seen),
            93..=94 => self.drain(),
            95..=96 => self.note(seen),
            _ => self.setting(),
        }
    }

    fn node(&mut self) -> NodeId {
        node(self.rng.gen_range(1..=NODES))
    }

    fn shard(&mut self) -> ShardId {
        shard(self.rng.gen_range(1..=SHARDS))
    }

    fn register(&mut self, seen: &State) -> Body {
        let n = self.rng.gen_range(1..=NODES);
        self.tokens += 1;
        let row = seen.topology().nodes.get(&node(n));
        let last = row.map(|row| row.incarnation);
        let fresh = match (row, self.rng.gen_ratio(1, 8)) {
            (Some(row), true) => row.incarnation.token,
            _ => token(self.tokens),
        };
        let machine = if self.rng.gen_ratio(3, 4) { n } else { n + 100 };
        let lease_over = last
            .filter(|_| self.rng.gen_ratio(1, 3))
            .map(|incarnation| LeaseOver { incarnation, evidence: "silent for 6 s".into() });
        Body::Register(Register {
            node: node(n),
            token: fresh,
            last,
            place: place(machine),
            addresses: addresses(7000 + u16::from(n)),
            software: "0.1.0".into(),
            lease_over,
        })
    }

    fn dead(&mut self, seen: &State) -> Body {
        let node = self.node();
        let known = seen.topology().nodes.get(&node).map(|row| row.incarnation.token);
        Body::Dead { node, token: known.unwrap_or(token(self.tokens)) }
    }

    fn update(&mut self, seen: &State) -> Body {
        let rows: Vec<_> = seen.topology().nodes.values().collect();
        let Some(row) = rows.choose(&mut self.rng) else {
            return Body::Dead { node: self.node(), token: token(0) };
        };
        let what = match (row.shard, self.rng.gen_ratio(2, 3)) {
            (Some(shard), true) => {
                let epoch = seen.topology().shards.get(&shard).map_or(ShardEpoch(1), |shard| shard.epoch);
                NodeUpdate::Whole { shard, epoch }
            }
            _ => NodeUpdate::Addresses(addresses(self.rng.gen_range(0..20_000))),
        };
        Body::Update { node: row.id, incarnation: row.incarnation, what }
    }

    fn join(&mut self, seen: &State) -> Body {
        let free: Vec<_> = seen.topology().nodes.values().filter(|row| row.shard.is_none()).collect();
        let drawn = free.choose(&mut self.rng).map(|row| row.id);
        let node = drawn.unwrap_or_else(|| self.node());
        let role = match self.rng.gen_ratio(1, 2) {
            true => JoinRole::Primary { new_shard: self.shard() },
            false => JoinRole::Replica { shard: self.shard() },
        };
        Body::Join { node, role }
    }

    fn add_slots(&mut self, seen: &State) -> Body {
        let ranges = (0..self.rng.gen_range(1..4)).map(|_| {
            let from = self.rng.gen_range(0..SLOTS);
            // Mostly the first run without an owner from there, sometimes whatever is there.
            let free =
                (from..SLOTS).filter_map(Slot::new).find(|slot| seen.topology().owner(*slot).is_none());
            let first = match (free, self.rng.gen_ratio(4, 5)) {
                (Some(slot), true) => slot.number(),
                _ => from,
            };
            let last = (first + self.rng.gen_range(0..40)).min(SLOTS - 1);
            let at = |n| Slot::new(n).expect("below 16384");
            SlotRange { first: at(first), last: at(last) }
        });
        let ranges = ranges.collect();
        Body::AddSlots { shard: self.shard(), ranges }
    }

    fn promote(&mut self, seen: &State) -> Body {
        let rows: Vec<_> = seen.topology().shards.values().collect();
        let Some(row) = rows.choose(&mut self.rng) else {
            return Body::Replicate { node: self.node(), shard: self.shard() };
        };
        let members: Vec<NodeId> = row.replicas.iter().copied().chain([row.primary]).collect();
        let planned = row.phase.planned().filter(|_| self.rng.gen_ratio(2, 3));
        let drawn = members.choose(&mut self.rng).copied().unwrap_or(row.primary);
        let candidate = planned.map_or(drawn, |(_, candidate)| candidate);
        let life = seen.topology().nodes.get(&candidate).map(|row| row.incarnation);
        Body::Promote(Promote {
            shard: row.id,
            candidate,
            incarnation: life.unwrap_or(row.incarnation),
            expected_epoch: row.epoch,
            position: Position { epoch: row.epoch, batch: BatchNumber(self.rng.gen_range(0..9)) },
            fence: *[Fence::ProvenDead, Fence::LeaseOver, Fence::HandedOver]
                .choose(&mut self.rng)
                .unwrap_or(&Fence::LeaseOver),
            attempt: planned.map(|(attempt, _)| attempt),
            consent: match self.rng.gen_range(0..4) {
                0 => Consent::None,
                1 => Consent::NoCopyLeft,
                _ => Consent::Operator { who: "operator".into() },
            },
            why: "a drill".into(),
            evidence: String::new(),
        })
    }

    fn begin(&mut self, seen: &State) -> Body {
        let rows: Vec<_> = seen.topology().shards.values().filter(|row| !row.replicas.is_empty()).collect();
        let Some(row) = rows.choose(&mut self.rng) else {
            return Body::Replicate { node: self.node(), shard: self.shard() };
        };
        let drawn = row.replicas.choose(&mut self.rng).copied();
        let candidate = drawn.unwrap_or(row.primary);
        let (shard, expected_epoch, last_attempt) = (row.id, row.epoch, row.last_attempt);
        let why = "asked for".to_owned();
        match self.rng.gen_ratio(1, 3) {
            true => {
                let who = "operator".into();
                Body::BeginForced { shard, candidate, expected_epoch, last_attempt, who, why }
            }
            false => Body::BeginPlanned { shard, candidate, expected_epoch, last_attempt, why },
        }
    }

    fn drain(&mut self) -> Body {
        let what = if self.rng.gen_ratio(1, 2) { Draining::Begins } else { Draining::Ends };
        Body::Drain { node: self.node(), what }
    }

    fn note(&mut self, seen: &State) -> Body {
        let shard = self.shard();
        let row = seen.topology().shards.get(&shard);
        let what = match self.rng.gen_ratio(1, 2) {
            true => Noted::FirstServed { epoch: row.map_or(ShardEpoch(1), |row| row.epoch) },
            false => Noted::Held { attempt: AttemptId(1), hold_us: self.rng.gen_range(0..9) },
        };
        Body::Note { shard, node: row.map_or_else(|| node(1), |row| row.primary), what, evidence: "x".into() }
    }

    fn end(&mut self, seen: &State) -> Body {
        let rows: Vec<_> = seen.topology().shards.values().collect();
        let open = rows.iter().find(|row| row.phase != ShardPhase::Steady).or_else(|| rows.first());
        let (shard, attempt) = open.map_or((shard(1), AttemptId(1)), |row| (row.id, row.last_attempt));
        Body::EndAttempt { shard, attempt, why: "hold limit".into() }
    }

    fn setting(&mut self) -> Body {
        let (name, value) = *[
            ("cluster-node-timeout", "3000"),
            ("cluster-node-timeout", "9000"),
            ("cluster-node-timeout", "1"),
            ("cluster-require-full-coverage", "no"),
            ("cluster-require-full-coverage", ""),
            ("history-length", "100"),
            ("history-length", "400"),
            ("write-safety", "strict"),
            ("no-such-setting", "1"),
        ]
        .choose(&mut self.rng)
        .unwrap_or(&("cluster-node-timeout", ""));
        Body::SetSetting { name: name.into(), value: value.into() }
    }
}
