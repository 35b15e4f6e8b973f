//! Short names for the values that tests are made of.

use crate::state::{
    Applied, Body, Command, Consent, Done, Fence, JoinRole, Outcome, Promote, Register, Rejection, SlotRange,
    State,
};
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{
    GroupId, Incarnation, LeaderId, MetaId, NodeId, Position, RequestId, ShardEpoch, ShardId, SpawnToken,
};
use capstan_proto::slot::Slot;
use capstan_proto::topology::{Addresses, ProcessPlace};

pub(super) const LEADER: LeaderId = LeaderId { term: 3, node: MetaId(1) };
pub(super) const OTHER: LeaderId = LeaderId { term: 4, node: MetaId(2) };

pub(super) fn node(n: u8) -> NodeId {
    NodeId([n; 20])
}

pub(super) fn shard(n: u8) -> ShardId {
    ShardId([0xa0 + n; 20])
}

pub(super) fn token(n: u32) -> SpawnToken {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    SpawnToken(bytes)
}

pub(super) fn request(n: u64) -> RequestId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    RequestId(bytes)
}

pub(super) fn place(machine: u8) -> ProcessPlace {
    ProcessPlace {
        machine: format!("machine-{machine}"),
        boot: "boot-1".into(),
        pid_namespace: 4,
        folder: (1, u64::from(machine)),
    }
}

pub(super) fn addresses(port: u16) -> Addresses {
    Addresses { ip: "127.0.0.1".into(), port, peer_port: port.saturating_add(10_000), ..Addresses::default() }
}

pub(super) fn range(first: u16, last: u16) -> SlotRange {
    let at = |n| Slot::new(n).expect("below 16384");
    SlotRange { first: at(first), last: at(last) }
}

pub(super) fn register(n: u8, life: u32, last: Option<Incarnation>) -> Register {
    Register {
        node: node(n),
        token: token(life),
        last,
        place: place(n),
        addresses: addresses(7000 + u16::from(n)),
        software: "0.1.0".into(),
        lease_over: None,
    }
}

pub(super) fn promotion(state: &State, of: ShardId, candidate: NodeId) -> Promote {
    let row = &state.topology().shards[&of];
    Promote {
        shard: of,
        candidate,
        incarnation: state.topology().nodes[&candidate].incarnation,
        expected_epoch: row.epoch,
        position: Position::default(),
        fence: Fence::LeaseOver,
        attempt: None,
        consent: Consent::None,
        why: "its lease was over".into(),
        evidence: "last heartbeat 6.1 s ago".into(),
    }
}

/// A state under one leader, with log indexes and request ids counted on.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) index: u64,
}

impl Bench {
    /// A founded group.
    pub(super) fn founded() -> Self {
        let mut bench = Self { state: State::default(), index: 0 };
        bench.done(Body::Found { group: GroupId([7; 16]) });
        bench
    }

    /// A founded group, shard 1 with primary 1 and replicas 2 and 3 (2 is whole), shard 2 with primary 4, and node 5.
    pub(super) fn cluster() -> Self {
        let mut bench = Self::founded();
        for n in 1..=5 {
            bench.done(Body::Register(register(n, u32::from(n), None)));
        }
        for (n, s) in [(1, 1), (4, 2)] {
            bench.done(Body::Join { node: node(n), role: JoinRole::Primary { new_shard: shard(s) } });
        }
        for n in [2, 3] {
            bench.done(Body::Join { node: node(n), role: JoinRole::Replica { shard: shard(1) } });
        }
        bench.whole(2);
        bench.done(Body::AddSlots { shard: shard(1), ranges: vec![range(0, 8191)] });
        bench
    }

    pub(super) fn whole(&mut self, n: u8) {
        let row = self.state.topology().nodes[&node(n)].clone();
        let of = row.shard.expect("a member");
        let what =
            crate::state::NodeUpdate::Whole { shard: of, epoch: self.state.topology().shards[&of].epoch };
        self.done(Body::Update { node: node(n), incarnation: row.incarnation, what });
    }

    pub(super) fn life(&self, n: u8) -> Incarnation {
        self.state.topology().nodes[&node(n)].incarnation
    }

    pub(super) fn epoch(&self, n: u8) -> ShardEpoch {
        self.state.topology().shards[&shard(n)].epoch
    }

    pub(super) fn command(&mut self, leader: Option<LeaderId>, body: Body) -> Command {
        self.index += 1;
        let at = UnixMs(1_700_000_000_000 + self.index);
        Command { request: request(self.index), author: "test".into(), at, leader, body }
    }

    pub(super) fn apply(&mut self, command: &Command) -> Applied {
        self.state.apply(self.index, LEADER, command)
    }

    /// Applies a body under the leader that it names, with a fresh request id.
    pub(super) fn tell(&mut self, body: Body) -> Outcome {
        let command = self.command(Some(LEADER), body);
        self.apply(&command).outcome
    }

    pub(super) fn done(&mut self, body: Body) -> Done {
        match self.tell(body) {
            Outcome::Done { done, .. } => done,
            Outcome::Rejected(why) => panic!("refused: {why}"),
        }
    }

    pub(super) fn refused(&mut self, body: Body) -> Rejection {
        let before = self.state.clone();
        match self.tell(body) {
            Outcome::Rejected(why) => {
                assert_eq!(self.state.topology(), before.topology(), "a refusal changes nothing");
                assert_eq!(self.state.history(), before.history(), "a refusal changes nothing");
                why
            }
            Outcome::Done { done, .. } => panic!("accepted: {done:?}"),
        }
    }
}
