//! The committed states: each one once, named by a number, so that a world is small.
//!
//! Two states with the same rows under the same version are the same here, whatever their histories say, and finished
//! requests are forgotten: what is sent again meets the epochs and incarnations alone, which is the harder case.

use super::world::{A, B, LEADER, SHARD};
use capstan_meta::state::{Body, Command, JoinRole, NodeUpdate, Outcome, Register, State, Switches};
use capstan_proto::codec;
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{GroupId, Incarnation, LeaderId, NodeId, RequestId, ShardEpoch, SpawnToken};
use capstan_proto::topology::{Addresses, ProcessPlace};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

type Key = Vec<u8>;

/// The number of a committed state.
pub(super) type Id = usize;

#[derive(Default)]
struct Table {
    states: Vec<Arc<State>>,
    by_rows: HashMap<Key, Id>,
    applied: HashMap<(Id, Key), Option<Id>>,
}

pub(super) struct Committed {
    switches: Switches,
    table: Mutex<Table>,
}

/// A life, as its supervisor names it: the node's first byte and the counter.
pub(super) fn life(node: NodeId, counter: u64) -> Incarnation {
    let mut token = [counter as u8; 16];
    token[0] = node.0[0];
    Incarnation { counter, token: SpawnToken(token) }
}

/// Where a life runs: the node's own folder, or a copy of it on another machine.
pub(super) fn place(node: NodeId, copied: bool) -> ProcessPlace {
    ProcessPlace {
        machine: if copied { "another" } else { "one" }.into(),
        boot: "boot".into(),
        pid_namespace: 1,
        folder: (1, u64::from(node.0[0])),
    }
}

pub(super) fn registration(node: NodeId, counter: u64, copied: bool) -> Register {
    Register {
        node,
        token: life(node, counter).token,
        last: (counter > 1).then(|| life(node, counter - 1)),
        place: place(node, copied),
        addresses: Addresses { ip: "127.0.0.1".into(), port: 7000, ..Addresses::default() },
        software: String::new(),
        lease_over: None,
    }
}

fn command(index: u64, leader: LeaderId, body: Body) -> Command {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&index.to_le_bytes());
    Command { request: RequestId(request), author: String::new(), at: UnixMs(0), leader: Some(leader), body }
}

impl Committed {
    pub(super) fn new(switches: Switches) -> Self {
        Self { switches, table: Mutex::default() }
    }

    /// Node A leads the shard, node B is its whole replica.
    pub(super) fn first(&self) -> Id {
        let mut state = State::remembering(1);
        let whole = NodeUpdate::Whole { shard: SHARD, epoch: ShardEpoch(1) };
        let bodies = [
            Body::Found { group: GroupId([1; 16]) },
            Body::Register(registration(A, 1, false)),
            Body::Register(registration(B, 1, false)),
            Body::Join { node: A, role: JoinRole::Primary { new_shard: SHARD } },
            Body::Join { node: B, role: JoinRole::Replica { shard: SHARD } },
            Body::Update { node: B, incarnation: life(B, 1), what: whole },
        ];
        for (index, body) in (1..).zip(bodies) {
            let applied = state.apply(index, LEADER, &command(index, LEADER, body));
            assert!(matches!(applied.outcome, Outcome::Done { .. }), "{applied:?}");
        }
        Self::keep(&mut self.table.lock(), state)
    }

    pub(super) fn state(&self, id: Id) -> Arc<State> {
        Arc::clone(&self.table.lock().states[id])
    }

    /// The state after a command that `decided` under its id and that is committed under `leader`; nothing if it is
    /// rejected, or changes no row.
    pub(super) fn apply(&self, id: Id, (decided, leader): (LeaderId, LeaderId), body: &Body) -> Option<Id> {
        let key = (id, codec::encode(0, &(decided, leader, body)).expect("plain data"));
        if let Some(known) = self.table.lock().applied.get(&key) {
            return *known;
        }
        let before = self.state(id);
        let index = before.version().index + 1;
        let mut after = State::clone(&before);
        let done = after.apply_with(self.switches, index, leader, &command(index, decided, body.clone()));
        let mut table = self.table.lock();
        let next = (!done.rows.is_empty()).then(|| Self::keep(&mut table, after));
        table.applied.insert(key, next);
        next
    }

    fn keep(table: &mut Table, state: State) -> Id {
        let topology = state.topology();
        let rows = (topology.version, &topology.nodes, &topology.shards);
        let key = codec::encode(0, &rows).expect("plain data");
        let Table { states, by_rows, .. } = table;
        *by_rows.entry(key).or_insert_with(|| {
            states.push(Arc::new(state.clone()));
            states.len() - 1
        })
    }
}
