//! The people of the simulation: one who forms the cluster as `capstan dev` does, changes settings and asks for
//! failovers; the supervisors of the data nodes; and one observer for each meta server who follows every version that it
//! applies.

use crate::deaths::Deaths;
use crate::node::{port, secret};
use crate::plan::{NODES, SHARDS};
use crate::stage::Stage;
use bytes::Bytes;
use capstan_node::cluster::client::MetaGroup;
use capstan_node::cluster::watch::follow;
use capstan_proto::env::Env;
use capstan_proto::rpc::v1::admin_client::AdminClient;
use capstan_proto::rpc::v1::verb::Verb;
use capstan_proto::rpc::v1::watch_client::WatchClient;
use capstan_proto::rpc::{transport, v1};
use capstan_proto::slot::SLOTS;
use capstan_proto::topology::{NodeRow, Row, Topology};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tonic::Status;

const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(6);
/// A supervisor notices the end of its worker within this.
const NOTICED_WITHIN: Duration = Duration::from_millis(2);
/// Between two looks at the history, in pauses.
const HISTORY_EVERY: u32 = 20;

/// How a promotion came about, as the history says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An operator's, or a node's that is about to stop.
    Planned,
    /// An operator's, with his consent to loss.
    Forced,
    /// The primary's end was proved.
    Dead,
    /// The primary's lease was over.
    LeaseOver,
    /// The primary's next life, without its data.
    NoCopyLeft,
}

impl Kind {
    fn of(why: &str) -> Option<Self> {
        let known = [
            ("planned failover", Self::Planned),
            ("forced failover", Self::Forced),
            ("the primary's process has ended", Self::Dead),
            ("the primary's lease is over", Self::LeaseOver),
            ("the primary's process was replaced", Self::NoCopyLeft),
        ];
        known.into_iter().find(|(begin, _)| why.starts_with(begin)).map(|(_, kind)| kind)
    }

    /// As it is counted.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Forced => "forced",
            Self::Dead => "the end was proved",
            Self::LeaseOver => "the lease was over",
            Self::NoCopyLeft => "no copy was left",
        }
    }
}

/// What the operator is to do, and what he has found out.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The lease is to be this long, milliseconds.
    pub(crate) ttl_ms: Option<u64>,
    /// Shards that are to fail over, by the place of their first node; and whether by force.
    pub(crate) failovers: VecDeque<(usize, bool)>,
    /// Promotions by shard number and epoch.
    pub(crate) kinds: BTreeMap<(u32, u64), Kind>,
    /// The last event of the history that was read.
    after: u64,
}

/// A change that was sent and whose outcome is not known yet.
struct Open {
    request: [u8; 16],
    verb: Verb,
}

/// Forms the cluster, then looks on and does what the plan wants of an operator.
pub(crate) async fn operate(stage: Stage, env: Env, metas: String) -> Result<(), String> {
    let group = MetaGroup::new(&env, &secret(), &metas).map_err(|error| error.to_string())?;
    let (mut rounds, mut open) = (0u32, None::<Open>);
    loop {
        tokio::time::sleep(PAUSE).await;
        rounds += 1;
        if rounds.is_multiple_of(HISTORY_EVERY) && stage.is_formed() {
            read_history(&stage, &group).await;
        }
        if stage.is_formed() && open.is_none() && !stage.wishes(|wishes| wishes.wants()) {
            continue;
        }
        let Ok(topology) = state(&stage, &group).await else { continue };
        let verb = open.take().or_else(|| match next_step(&topology, &env) {
            Forming::Next(verb) => Some(fresh(&env, verb)),
            Forming::Wait => None,
            Forming::Formed => {
                if !stage.is_formed() {
                    stage.set_formed();
                }
                stage.wishes(|wishes| wishes.next(&topology)).map(|verb| fresh(&env, verb))
            }
        });
        if let Some(change) = verb {
            match propose(&group, &change).await {
                Ok(said) => stage.event(&format!("operator: {said}")),
                // Unknown: the same request id asks again.
                Err(_) => open = Some(change),
            }
        }
    }
}

fn fresh(env: &Env, verb: Verb) -> Open {
    let mut request = [0; 16];
    env.random.fill(&mut request);
    Open { request, verb }
}

impl Wishes {
    fn wants(&self) -> bool {
        self.ttl_ms.is_some() || !self.failovers.is_empty()
    }

    /// What is wanted next.
    fn next(&mut self, topology: &Topology) -> Option<Verb> {
        if let Some(ms) = self.ttl_ms.take() {
            let name = "cluster-node-timeout".to_owned();
            return Some(Verb::SetSetting(v1::Setting { name, value: ms.to_string() }));
        }
        let (place, forced) = self.failovers.pop_front()?;
        let shard = at(topology, place)?.shard?;
        let shard = shard.0.to_vec().into();
        Some(Verb::Failover(v1::FailoverVerb { shard, candidate: None, kind: u32::from(forced) }))
    }
}

enum Forming {
    /// This is to be done.
    Next(Verb),
    /// A node has not registered yet.
    Wait,
    /// Every slot has an owner, and every shard its nodes.
    Formed,
}

fn at(topology: &Topology, node: usize) -> Option<&NodeRow> {
    topology.nodes.values().find(|row| row.addresses.port == port(node))
}

/// As `capstan dev` forms a cluster: shards in the order of the ports, their slots, then their replicas.
fn next_step(topology: &Topology, env: &Env) -> Forming {
    let join = |node: &NodeRow, shard: Option<Bytes>, new_shard: Bytes| {
        Forming::Next(Verb::Join(v1::JoinVerb { node: node.id.0.to_vec().into(), shard, new_shard }))
    };
    let founders: Option<Vec<&NodeRow>> = (0..SHARDS).map(|place| at(topology, place)).collect();
    let Some(founders) = founders else { return Forming::Wait };
    for (place, node) in founders.iter().enumerate() {
        let Some(shard) = node.shard else {
            let mut shard = [0; 20];
            env.random.fill(&mut shard);
            return join(node, None, shard.to_vec().into());
        };
        if topology.runs_of(shard).is_empty() {
            let bound = |at: usize| (at * usize::from(SLOTS)).div_ceil(SHARDS) as u32;
            let run = v1::SlotRun { first: bound(place), last: bound(place + 1) - 1, owner: None };
            let shard = shard.0.to_vec().into();
            return Forming::Next(Verb::AddSlots(v1::AddSlotsVerb { shard, runs: vec![run] }));
        }
    }
    for place in SHARDS..NODES {
        let Some(node) = at(topology, place) else { return Forming::Wait };
        if node.shard.is_none() {
            let shard = founders.get(place - SHARDS).and_then(|founder| founder.shard);
            return join(node, shard.map(|shard| shard.0.to_vec().into()), Bytes::new());
        }
    }
    Forming::Formed
}

/// Reads what the history says of promotions since the last look.
async fn read_history(stage: &Stage, group: &MetaGroup) {
    let Ok((address, channel)) = group.pick() else { return };
    let after_index = stage.wishes(|wishes| wishes.after);
    let request = v1::HistoryRequest {
        after_index: after_index.max(1),
        limit: 0,
        shard: String::new(),
        node: String::new(),
        linearizable: true,
    };
    let reply = bounded(AdminClient::new(channel).history(request)).await;
    let Ok(reply) = judge(group, &address, reply) else { return };
    for event in reply.events {
        let index = event.version.map(|version| version.index).unwrap_or_default();
        let promoted = promotion(&event.what);
        stage.wishes(|wishes| {
            wishes.after = wishes.after.max(index);
            if let (Some(promoted), Some(kind)) = (promoted, Kind::of(&event.why)) {
                wishes.kinds.insert(promoted, kind);
            }
        });
        if promoted.is_some() {
            stage.event(&format!("history: {}: {}; {}", event.what, event.why, event.evidence));
        }
    }
}

/// The shard number and the epoch in "promoted node N to primary of shard S in epoch E".
fn promotion(what: &str) -> Option<(u32, u64)> {
    let (_, rest) = what.split_once(" to primary of shard ")?;
    let (number, rest) = rest.split_once(" in epoch ")?;
    let epoch: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((number.parse().ok()?, epoch.parse().ok()?))
}

/// The data nodes' supervisors: the meta group hears of each end through the very code that they use.
pub(crate) async fn supervise(stage: Stage, env: Env, metas: Vec<String>) -> Result<(), String> {
    let mut supervisors = BTreeMap::new();
    loop {
        tokio::time::sleep(NOTICED_WITHIN).await;
        for death in stage.take_deaths() {
            stage.event(&format!("the end of {} in life {} is told", death.node, death.token));
            let start = || Deaths::start(env.clone(), secret(), metas.clone());
            supervisors.entry(death.node).or_insert_with(start).tell(death);
        }
    }
}

async fn state(stage: &Stage, group: &MetaGroup) -> Result<Topology, Status> {
    let (address, channel) = group.pick().map_err(|error| Status::internal(error.to_string()))?;
    let mut client = AdminClient::new(channel);
    let reply = bounded(client.state(v1::StateRequest { linearizable: true })).await;
    let reply = judge(group, &address, reply)?;
    stage.set_leader(reply.leader);
    let mut topology = Topology::default();
    for row in reply.rows {
        topology.set(Row::try_from(row).map_err(|error| Status::internal(error.to_string()))?);
    }
    let version = reply.version.and_then(|version| version.try_into().ok());
    topology.version = version.unwrap_or_default();
    stage.version("the operator", &topology);
    Ok(topology)
}

async fn propose(group: &MetaGroup, change: &Open) -> Result<String, Status> {
    let (address, channel) = group.pick().map_err(|error| Status::internal(error.to_string()))?;
    let mut client = AdminClient::new(channel);
    let request = v1::ProposeRequest {
        request_id: Bytes::copy_from_slice(&change.request),
        author: "the operator".into(),
        verb: Some(v1::Verb { verb: Some(change.verb.clone()) }),
    };
    let reply = judge(group, &address, bounded(client.propose(request)).await)?;
    Ok(if reply.done { "done".to_owned() } else { format!("rejected: {}", reply.rejected_why) })
}

async fn bounded<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer")),
    }
}

fn judge<T>(group: &MetaGroup, address: &str, answer: Result<T, Status>) -> Result<T, Status> {
    match &answer {
        Ok(_) => group.leads(address),
        Err(status) => group.failed(address, status),
    }
    answer
}

/// Follows one meta server for ever: every version that it applies is checked.
pub(crate) async fn observe(stage: Stage, env: Env, meta: String) -> Result<(), String> {
    let mut copy = Topology::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        let channel = transport::channel(&env, &secret(), &meta).map_err(|error| error.to_string())?;
        let mut client = WatchClient::new(channel);
        let from = (copy.version != Default::default()).then(|| (&copy.version).into());
        let request = v1::WatchRequest { from, node: Bytes::new() };
        let Ok(mut events) = bounded(client.watch(request)).await else { continue };
        while let Ok(Some(event)) = events.message().await {
            // The group is known with the first state that names it.
            let mut named = copy.clone();
            for row in event.rows.iter().cloned().filter_map(|row| Row::try_from(row).ok()) {
                named.set(row);
            }
            let Some(group) = named.group else { continue };
            match follow(&copy, event, group) {
                Ok(Some(next)) => {
                    copy = next;
                    stage.version(&format!("the observer of {meta}"), &copy);
                }
                Ok(None) => {}
                Err(error) => {
                    stage.broken(format!("the observer of {meta} cannot follow: {error}"));
                    copy = Topology::default();
                    break;
                }
            }
        }
    }
}

#[test]
fn promotions_are_read_off_the_history() {
    let what = "promoted node 12ab to primary of shard 3 in epoch 17, empty: data lost";
    assert_eq!(promotion(what), Some((3, 17)));
    assert_eq!(promotion("node 12ab died in life 3"), None);
    assert_eq!(Kind::of("planned failover 4"), Some(Kind::Planned));
}
