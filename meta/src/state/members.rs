//! Who is there: founding, lives of nodes (►13), what they say of themselves, joining shards.
//!
//! Judges only. It never makes a primary of a node that has a shard: that is [`super::failover`]'s, under a new epoch.

use super::apply::{Change, Founds, Told, within};
use super::command::{JoinRole, LeaseOver, NodeUpdate, Register};
use super::history::Subject;
use super::outcome::{Done, Rejection};
use super::{NODES_MAX, REPLICAS_MAX, SHARDS_MAX, State};
use capstan_proto::ids::{
    AttemptId, GroupId, Incarnation, LeaderId, NodeId, ShardEpoch, ShardId, SpawnToken,
};
use capstan_proto::rules::{Rule, Rules};
use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow};

const HOST_MAX: usize = 255;
const PLACE_MAX: usize = 128;
const SOFTWARE_MAX: usize = 64;

impl State {
    pub(super) fn node(&self, node: NodeId) -> Result<&NodeRow, Rejection> {
        self.topology.nodes.get(&node).ok_or(Rejection::UnknownNode { node })
    }

    pub(super) fn shard(&self, shard: ShardId) -> Result<&ShardRow, Rejection> {
        self.topology.shards.get(&shard).ok_or(Rejection::UnknownShard { shard })
    }

    /// The node, if its present life is not proved to have ended.
    pub(super) fn living(&self, node: NodeId) -> Result<&NodeRow, Rejection> {
        let row = self.node(node)?;
        match row.dead {
            true => Err(Rejection::NodeDead { node, incarnation: row.incarnation }),
            false => Ok(row),
        }
    }
}

pub(super) fn found(state: &State, group: GroupId) -> Result<Change, Rejection> {
    match state.topology.group {
        Some(known) if known == group => Ok(Change::nothing(Done::Founded { group })),
        Some(known) => Err(Rejection::AlreadyFounded { group: known }),
        None => {
            let row = Row::Cluster { group, config_epoch: state.topology.config_epoch };
            let told = Told::plain(format!("founded group {group}"), Subject::default());
            Ok(Change::told(Done::Founded { group }, vec![row], told))
        }
    }
}

/// ►13: a compare-and-set on the last life, which must be shown to have ended; idempotent by token.
pub(super) fn register(
    state: &State,
    register: &Register,
    leader: Option<LeaderId>,
    rules: Rules,
) -> Result<Change, Rejection> {
    let Register { node, token, place, addresses, software, .. } = register;
    check_place(place)?;
    check_addresses(addresses)?;
    printable("software", software, SOFTWARE_MAX)?;
    let (counter, shard, evidence) = match (state.topology.nodes.get(node), register.last) {
        (Some(row), _) if row.incarnation.token == *token => {
            return match row.dead {
                true => Err(Rejection::NodeDead { node: *node, incarnation: row.incarnation }),
                false => Ok(Change::nothing(Done::Registered { incarnation: row.incarnation })),
            };
        }
        (Some(row), Some(last)) if row.incarnation == last => {
            (last.counter.saturating_add(1), row.shard, proof_of_end(row, register, leader, rules)?)
        }
        (Some(row), last) => {
            let given = last.map_or_else(|| "none".to_owned(), |last| last.to_string());
            return Err(Rejection::StaleIncarnation { node: *node, given, current: row.incarnation });
        }
        (None, Some(given)) => return Err(Rejection::NeverRegistered { node: *node, given }),
        (None, None) if state.topology.nodes.len() >= NODES_MAX => {
            return Err(Rejection::Full { what: "nodes".to_owned(), most: NODES_MAX as u32 });
        }
        (None, None) => (1, None, "first registration".to_owned()),
    };
    let incarnation = Incarnation { counter, token: *token };
    let row = NodeRow {
        id: *node,
        incarnation,
        place: place.clone(),
        addresses: addresses.clone(),
        shard,
        dead: false,
        // A new life holds nothing until it says so, or is promoted (►3).
        whole: false,
        software: software.clone(),
    };
    let told = Told {
        what: format!("registered node {node} in life {incarnation}"),
        why: String::new(),
        evidence,
        subject: Subject { shard, nodes: vec![*node] },
    };
    Ok(Change::told(Done::Registered { incarnation }, vec![Row::Node(row)], told))
}

/// What shows that the life in `row` has ended, for the history; else `MustWait`.
fn proof_of_end(
    row: &NodeRow,
    register: &Register,
    leader: Option<LeaderId>,
    rules: Rules,
) -> Result<String, Rejection> {
    let last = row.incarnation;
    if !rules.on(Rule::DeathNeedsProof) {
        return Ok("nothing: the rule is switched off".to_owned());
    }
    if row.dead {
        return Ok(format!("its supervisor saw life {last} end"));
    }
    if register.place.proves_end_of(&row.place) {
        return Ok(format!("it holds the folder lock that life {last} held, in the same boot"));
    }
    match (&register.lease_over, leader) {
        (Some(LeaseOver { incarnation, evidence }), Some(leader)) if *incarnation == last => {
            Ok(format!("leader {leader} counted the lease of life {last} as over: {evidence}"))
        }
        (Some(LeaseOver { incarnation, .. }), None) if *incarnation == last => {
            Err(Rejection::LeaderUnnamed { what: "registration by a lease's end".to_owned() })
        }
        (Some(_) | None, _) => Err(Rejection::MustWait { node: row.id, current: last }),
    }
}

/// ►13: a supervisor saw this very life end. Any other life of the node is left alone.
pub(super) fn dead(
    state: &State,
    node: NodeId,
    token: SpawnToken,
    rules: Rules,
) -> Result<Change, Rejection> {
    let row = state.node(node)?;
    let incarnation = row.incarnation;
    if incarnation.token != token && rules.on(Rule::DeathNeedsProof) {
        let given = format!("token {token}");
        return Err(Rejection::StaleIncarnation { node, given, current: incarnation });
    }
    let done = Done::Dead { incarnation };
    if row.dead {
        return Ok(Change::nothing(done));
    }
    let told = Told {
        what: format!("node {node} died in life {incarnation}"),
        why: String::new(),
        evidence: "its supervisor saw the process end".to_owned(),
        subject: Subject { shard: row.shard, nodes: vec![node] },
    };
    Ok(Change::told(done, vec![Row::Node(NodeRow { dead: true, ..row.clone() })], told))
}

pub(super) fn update(
    state: &State,
    node: NodeId,
    incarnation: Incarnation,
    what: &NodeUpdate,
) -> Result<Change, Rejection> {
    let row = state.node(node)?;
    if row.incarnation != incarnation {
        let given = incarnation.to_string();
        return Err(Rejection::StaleIncarnation { node, given, current: row.incarnation });
    }
    let row = state.living(node)?;
    let (fresh, told) = match what {
        NodeUpdate::Addresses(addresses) => {
            check_addresses(addresses)?;
            let told = format!("node {node} is at {}:{} now", addresses.ip, addresses.port);
            (NodeRow { addresses: addresses.clone(), ..row.clone() }, told)
        }
        NodeUpdate::Whole { shard, epoch } => {
            if row.shard != Some(*shard) {
                return Err(Rejection::NotMember { node, shard: *shard });
            }
            let current = state.shard(*shard)?;
            if current.epoch != *epoch {
                let stale = (*shard, *epoch, current.epoch);
                return Err(Rejection::StaleEpoch { shard: stale.0, expected: stale.1, current: stale.2 });
            }
            if current.primary == node {
                // A primary is whole by its promotion, and by nothing that it says.
                return Err(Rejection::IsPrimary { node, shard: *shard });
            }
            let told = format!("node {node} holds a complete copy of shard {}", current.number);
            (NodeRow { whole: true, ..row.clone() }, told)
        }
    };
    if fresh == *row {
        return Ok(Change::nothing(Done::Updated));
    }
    let subject = Subject { shard: row.shard, nodes: vec![node] };
    Ok(Change::told(Done::Updated, vec![Row::Node(fresh)], Told::plain(told, subject)))
}

pub(super) fn join(state: &State, node: NodeId, role: JoinRole) -> Result<Change, Rejection> {
    let row = state.living(node)?;
    if let Some(shard) = row.shard {
        return Err(Rejection::AlreadyMember { node, shard });
    }
    match role {
        JoinRole::Primary { new_shard } => found_shard(state, row, new_shard),
        JoinRole::Replica { shard } => {
            let (rows, shard_row) = attach(state, row, shard)?;
            let told = format!("node {node} joined shard {} as a replica", shard_row.number);
            let done = Done::Joined { shard, epoch: shard_row.epoch };
            Ok(Change::told(done, rows, Told::plain(told, Subject::shard(shard, &[node]))))
        }
    }
}

fn found_shard(state: &State, node: &NodeRow, id: ShardId) -> Result<Change, Rejection> {
    let topology = &state.topology;
    if topology.shards.contains_key(&id) {
        return Err(Rejection::ShardExists { shard: id });
    }
    if topology.shards.len() >= SHARDS_MAX {
        return Err(Rejection::Full { what: "shards".to_owned(), most: SHARDS_MAX as u32 });
    }
    let Some(group) = topology.group else { return Err(Rejection::NotFounded) };
    let number = state.shards_founded.saturating_add(1);
    let config_epoch = topology.config_epoch.next();
    let shard = ShardRow {
        id,
        number,
        primary: node.id,
        incarnation: node.incarnation,
        epoch: ShardEpoch(1),
        config_epoch,
        replicas: Vec::new(),
        phase: ShardPhase::Steady,
        last_attempt: AttemptId(0),
        floor: None,
    };
    let told = format!("node {} founded shard {number} ({id})", node.id);
    let subject = Subject::shard(id, &[node.id]);
    let done = Done::Joined { shard: id, epoch: shard.epoch };
    let rows = vec![
        Row::Node(NodeRow { shard: Some(id), whole: true, ..node.clone() }),
        Row::Shard(shard),
        Row::Cluster { group, config_epoch },
    ];
    Ok(Change { founds: Founds::Shard, ..Change::told(done, rows, Told::plain(told, subject)) })
}

/// The rows that make a node a replica of a shard, and the shard's new row.
fn attach(state: &State, node: &NodeRow, id: ShardId) -> Result<(Vec<Row>, ShardRow), Rejection> {
    let mut shard = state.shard(id)?.clone();
    if shard.replicas.len() >= REPLICAS_MAX {
        return Err(Rejection::Full { what: format!("replicas of shard {id}"), most: REPLICAS_MAX as u32 });
    }
    shard.replicas.push(node.id);
    shard.replicas.sort_unstable();
    let row = NodeRow { shard: Some(id), whole: false, ..node.clone() };
    Ok((vec![Row::Node(row), Row::Shard(shard.clone())], shard))
}

/// Makes a node that is no primary a replica of a shard. A primary would first have to be revoked (►11).
pub(super) fn replicate(state: &State, node: NodeId, shard: ShardId) -> Result<Change, Rejection> {
    let row = state.living(node)?;
    state.shard(shard)?;
    let mut rows = Vec::new();
    let mut left = String::new();
    if let Some(old) = row.shard {
        let old = state.shard(old)?;
        if old.primary == node {
            return Err(Rejection::IsPrimary { node, shard: old.id });
        }
        if old.id == shard {
            return Ok(Change::nothing(Done::Replicating));
        }
        if let Some((attempt, candidate)) = old.phase.planned()
            && candidate == node
        {
            return Err(Rejection::AttemptUnderWay { shard: old.id, attempt });
        }
        let replicas = old.replicas.iter().copied().filter(|replica| *replica != node).collect();
        left = format!(" instead of shard {}", old.number);
        rows.push(Row::Shard(ShardRow { replicas, ..old.clone() }));
    }
    let (attached, shard_row) = attach(state, row, shard)?;
    rows.extend(attached);
    let told = format!("node {node} replicates shard {}{left}", shard_row.number);
    let subject = Subject::shard(shard, &[node]);
    Ok(Change::told(Done::Replicating, rows, Told::plain(told, subject)))
}

fn check_place(place: &ProcessPlace) -> Result<(), Rejection> {
    printable("machine id", &place.machine, PLACE_MAX)?;
    printable("boot id", &place.boot, PLACE_MAX)
}

fn check_addresses(addresses: &Addresses) -> Result<(), Rejection> {
    host("ip", &addresses.ip)?;
    host("host name", &addresses.hostname)?;
    match addresses.port {
        0 => Err(Rejection::BadField {
            field: "port".to_owned(),
            value: "0".to_owned(),
            want: "a port from 1 to 65535".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A host as it may stand in `CLUSTER NODES`, whose fields are cut at spaces, commas and `@`.
fn host(field: &str, text: &str) -> Result<(), Rejection> {
    within(field, text, HOST_MAX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte);
    match text.bytes().all(plain) {
        true => Ok(()),
        false => Err(bad_text(field, text, "letters, digits and . : - _ % only")),
    }
}

fn printable(field: &str, text: &str, most: usize) -> Result<(), Rejection> {
    within(field, text, most)?;
    match text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        true => Ok(()),
        false => Err(bad_text(field, text, "printable ASCII")),
    }
}

fn bad_text(field: &str, text: &str, want: &str) -> Rejection {
    let value = text.escape_debug().to_string();
    Rejection::BadField { field: field.to_owned(), value, want: want.to_owned() }
}
