//! The people of the simulation: one who forms the cluster and changes settings, and one observer for each meta server
//! who follows every version that it applies.

use crate::node::secret;
use crate::plan::NODES;
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
use capstan_proto::topology::{Row, Topology};
use std::time::Duration;
use tonic::Status;

const PAUSE: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(6);

/// A change that was sent and whose outcome is not known yet.
struct Open {
    request: [u8; 16],
    verb: Verb,
}

/// Forms the cluster, then looks on and does what the plan wants of an operator.
pub(crate) async fn operate(stage: Stage, env: Env, metas: String) -> Result<(), String> {
    let group = MetaGroup::new(&env, &secret(), &metas).map_err(|error| error.to_string())?;
    let (mut formed, mut open) = (false, None::<Open>);
    loop {
        tokio::time::sleep(PAUSE).await;
        let Ok(topology) = state(&stage, &group).await else { continue };
        let verb = match open.take() {
            Some(again) => Some(again),
            None => match next_step(&topology, &env) {
                Some(verb) => Some(fresh(&env, verb)),
                None if topology.nodes.len() < NODES => None,
                None => {
                    if !formed {
                        formed = true;
                        stage.set_formed();
                    }
                    stage.take_ttl().map(|ms| fresh(&env, ttl(ms)))
                }
            },
        };
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

fn ttl(ms: u64) -> Verb {
    Verb::SetSetting(v1::Setting { name: "cluster-node-timeout".into(), value: ms.to_string() })
}

/// Three shards, a third of the slots each, in the order of the nodes' ports.
fn next_step(topology: &Topology, env: &Env) -> Option<Verb> {
    let mut nodes: Vec<_> = topology.nodes.values().collect();
    nodes.sort_by_key(|node| node.addresses.port);
    for node in &nodes {
        if node.shard.is_none() {
            let mut shard = [0; 20];
            env.random.fill(&mut shard);
            let (node, new_shard) = (node.id.0.to_vec().into(), shard.to_vec().into());
            return Some(Verb::Join(v1::JoinVerb { node, shard: None, new_shard }));
        }
    }
    if nodes.len() < NODES {
        return None;
    }
    for (at, node) in nodes.iter().enumerate() {
        let shard = node.shard?;
        if topology.runs_of(shard).is_empty() {
            let bound = |at: usize| (at * usize::from(SLOTS)).div_ceil(NODES) as u32;
            let run = v1::SlotRun { first: bound(at), last: bound(at + 1) - 1, owner: None };
            return Some(Verb::AddSlots(v1::AddSlotsVerb {
                shard: shard.0.to_vec().into(),
                runs: vec![run],
            }));
        }
    }
    None
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
