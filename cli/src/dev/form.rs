//! Forms the cluster: which request is to be sent next, seen from what the meta group says the cluster is. Pure.
//!
//! Level-triggered: it looks at the state and never remembers what it has sent, so it can be stopped and started
//! anywhere. The requests have ids of the layout, so sending one twice does it once.

use super::layout::{Forming, Layout};
use crate::admin::view::View;
use capstan_proto::ids::{NodeId, RequestId, ShardId};
use capstan_proto::rpc::v1;
use capstan_proto::rpc::v1::verb::Verb;
use capstan_proto::slot::Slot;
use capstan_proto::topology::NodeRow;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// This data node has not registered yet.
    AwaitNode(u16),
    /// Send this.
    Propose { request: RequestId, verb: Verb, said: String },
    /// The primary on this port has no lease yet.
    AwaitLease(u16),
    /// The replica on this port holds no complete copy yet.
    AwaitCopy(u16),
    /// Every slot is served, and every replica could serve.
    Formed,
}

/// The next step towards the cluster of this layout.
pub(crate) fn next(layout: &Layout, view: &View) -> Result<Step, String> {
    let forming = layout.forming().map_err(|bad| bad.to_string())?;
    let mut waiting = None;
    for (place, ids) in forming.iter().enumerate() {
        let Some(shard) = view.topology.shards.get(&ids.shard) else {
            // In order, so that shard 1 is the one on the first port.
            let port = layout.ports_of(place).next().ok_or("no port for a shard")?;
            return Ok(found(view, port, ids));
        };
        let run = layout.slots(place).ok_or("no slots for a shard")?;
        // Slots that a later command moved elsewhere are not asked for again.
        let untouched = Slot::all()
            .filter(|s| (run.first..=run.last).contains(s))
            .all(|s| view.topology.owner(s).is_none());
        if untouched && view.topology.runs_of(ids.shard).is_empty() {
            let verb = Verb::AddSlots(v1::AddSlotsVerb {
                shard: ids.shard.0.to_vec().into(),
                runs: vec![(&run).into()],
            });
            let said = format!("shard {} has slots {}-{}", shard.number, run.first, run.last);
            return Ok(Step::Propose { request: ids.slots, verb, said });
        }
        if !view.holds_lease(shard.primary) {
            waiting.get_or_insert(Step::AwaitLease(port_of(view, shard.primary)));
        }
    }
    // Replicas once every slot has its owner: a cluster serves as early as it can.
    for (place, ids) in forming.iter().enumerate() {
        for (port, request) in layout.ports_of(place).skip(1).zip(&ids.replicas) {
            match replica(view, port, ids.shard, *request) {
                Some(step @ Step::AwaitCopy(_)) => drop(waiting.get_or_insert(step)),
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }
    Ok(waiting.or_else(|| incomplete(view)).unwrap_or(Step::Formed))
}

/// Makes the node on this port the founder of a shard.
fn found(view: &View, port: u16, ids: &Forming) -> Step {
    let Some(node) = unassigned_at(view, port) else { return Step::AwaitNode(port) };
    let (node, new_shard) = (node.0.to_vec(), ids.shard.0.to_vec());
    let join = v1::JoinVerb { node: node.into(), shard: None, new_shard: new_shard.into() };
    let said = format!("data node {port} is the primary of a new shard");
    Step::Propose { request: ids.join, verb: Verb::Join(join), said }
}

/// What the node on this port still needs in order to belong to the shard, if anything.
fn replica(view: &View, port: u16, shard: ShardId, request: RequestId) -> Option<Step> {
    let here = |node: &&NodeRow| node.addresses.port == port && node.shard.is_some();
    if view.topology.nodes.values().any(|node| here(&node)) {
        // Of this shard, or of the one that it was moved to.
        return None;
    }
    let Some(node) = unassigned_at(view, port) else { return Some(Step::AwaitNode(port)) };
    let number = view.topology.shards.get(&shard).map(|shard| shard.number).unwrap_or_default();
    let shard = Some(shard.0.to_vec().into());
    let join = v1::JoinVerb { node: node.0.to_vec().into(), shard, new_shard: Default::default() };
    let said = format!("data node {port} is a replica of shard {number}");
    Some(Step::Propose { request, verb: Verb::Join(join), said })
}

/// The first replica without a complete copy, or that was not heard of: what is known of it may be from before a restart.
fn incomplete(view: &View) -> Option<Step> {
    let replicas = view.shards().into_iter().flat_map(|shard| shard.replicas.iter());
    let mut rows = replicas.filter_map(|id| view.topology.nodes.get(id));
    rows.find(|row| !row.whole || row.dead || !view.reports.contains_key(&row.id))
        .map(|row| Step::AwaitCopy(row.addresses.port))
}

fn port_of(view: &View, node: NodeId) -> u16 {
    view.topology.nodes.get(&node).map(|row| row.addresses.port).unwrap_or_default()
}

fn unassigned_at(view: &View, port: u16) -> Option<NodeId> {
    let here = |node: &&NodeRow| node.addresses.port == port && node.shard.is_none() && !node.dead;
    view.topology.nodes.values().find(here).map(|node| node.id)
}

#[cfg(test)]
mod tests {
    use super::super::layout::Wish;
    use super::*;
    use crate::admin::view::Report;
    use capstan_proto::env::Env;
    use capstan_proto::ids::{ConfigEpoch, Incarnation, ShardEpoch, SpawnToken};
    use capstan_proto::topology::{Addresses, ProcessPlace, Row, ShardPhase, ShardRow, SlotRun};

    const INCARNATION: Incarnation = Incarnation { counter: 1, token: SpawnToken([1; 16]) };

    fn register(view: &mut View, port: u16) {
        let node = NodeRow {
            id: NodeId([port as u8; 20]),
            incarnation: INCARNATION,
            place: ProcessPlace::default(),
            addresses: Addresses { ip: "127.0.0.1".into(), port, ..Addresses::default() },
            shard: None,
            dead: false,
            whole: false,
            software: String::new(),
        };
        view.topology.set(Row::Node(node));
    }

    /// What the meta group does with a request.
    fn obey(view: &mut View, verb: &Verb) {
        match verb {
            Verb::Join(v1::JoinVerb { node, shard: Some(shard), .. }) => {
                let id = ShardId::from_slice(shard).expect("an id");
                let replica = NodeId::from_slice(node).expect("an id");
                let row = view.topology.nodes[&replica].clone();
                view.topology.set(Row::Node(NodeRow { shard: Some(id), ..row }));
                let mut shard = view.topology.shards[&id].clone();
                shard.replicas.push(replica);
                view.topology.set(Row::Shard(shard));
            }
            Verb::Join(join) => {
                let id = ShardId::from_slice(&join.new_shard).expect("an id");
                let primary = NodeId::from_slice(&join.node).expect("an id");
                let mut node = view.topology.nodes[&primary].clone();
                node.shard = Some(id);
                view.topology.set(Row::Node(node));
                view.topology.set(Row::Shard(ShardRow {
                    id,
                    number: 1,
                    primary,
                    incarnation: INCARNATION,
                    epoch: ShardEpoch(1),
                    config_epoch: ConfigEpoch(1),
                    replicas: Vec::new(),
                    phase: ShardPhase::Steady,
                    last_attempt: Default::default(),
                    floor: None,
                }));
            }
            Verb::AddSlots(add) => {
                let owner = Some(ShardId::from_slice(&add.shard).expect("an id"));
                for run in &add.runs {
                    let run = SlotRun::try_from(run.clone()).expect("slots");
                    view.topology.set(Row::Slots(SlotRun { owner, ..run }));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cluster_forms_step_by_step_and_each_request_is_sent_once() {
        let layout = Layout::found(&Env::real(), Wish::default()).expect("possible");
        let mut view = View::default();
        assert_eq!(next(&layout, &view), Ok(Step::AwaitNode(7000)));
        layout.node_ports().for_each(|port| register(&mut view, port));
        let mut sent = Vec::new();
        while let Ok(Step::Propose { request, verb, .. }) = next(&layout, &view) {
            assert!(!sent.contains(&request), "sent twice");
            sent.push(request);
            obey(&mut view, &verb);
        }
        assert_eq!(sent.len(), 9);
        assert_eq!(view.unassigned_slots(), 0);
        assert_eq!(next(&layout, &view), Ok(Step::AwaitLease(7000)));
        for node in view.topology.nodes.clone().into_keys() {
            view.reports.insert(node, Report { lease_left_ms: 1, ..Report::default() });
        }
        assert!(matches!(next(&layout, &view), Ok(Step::AwaitCopy(7003..=7005))));
        for row in view.topology.nodes.clone().into_values() {
            view.topology.set(Row::Node(NodeRow { whole: true, ..row }));
        }
        assert_eq!(next(&layout, &view), Ok(Step::Formed));
    }

    #[test]
    fn shards_are_founded_in_the_order_of_the_ports() {
        let layout = Layout::found(&Env::real(), Wish::default()).expect("possible");
        let mut view = View::default();
        register(&mut view, 7002);
        assert_eq!(next(&layout, &view), Ok(Step::AwaitNode(7000)));
        register(&mut view, 7000);
        assert!(matches!(next(&layout, &view), Ok(Step::Propose { said, .. }) if said.contains("7000")));
    }

    #[test]
    fn replicas_join_the_shard_of_their_place_once_the_slots_are_given() {
        let layout =
            Layout::found(&Env::real(), Wish { shards: Some(2), ..Wish::default() }).expect("possible");
        let mut view = View::default();
        [7000, 7001].into_iter().for_each(|port| register(&mut view, port));
        while let Ok(Step::Propose { verb, .. }) = next(&layout, &view) {
            obey(&mut view, &verb);
        }
        assert_eq!((view.unassigned_slots(), next(&layout, &view)), (0, Ok(Step::AwaitNode(7002))));
        [7002, 7003].into_iter().for_each(|port| register(&mut view, port));
        let ids = layout.forming().expect("ids");
        for (port, place) in [(7002, 0), (7003, 1)] {
            let Ok(Step::Propose { request, verb, .. }) = next(&layout, &view) else { panic!("a replica") };
            assert_eq!(request, ids[place].replicas[0]);
            obey(&mut view, &verb);
            assert_eq!(view.topology.nodes[&NodeId([port as u8; 20])].shard, Some(ids[place].shard));
        }
    }

    #[test]
    fn slots_that_were_moved_later_are_not_taken_back() {
        let layout =
            Layout::found(&Env::real(), Wish { shards: Some(1), replicas: Some(0), ..Wish::default() })
                .expect("possible");
        let mut view = View::default();
        register(&mut view, 7000);
        while let Ok(Step::Propose { verb, .. }) = next(&layout, &view) {
            obey(&mut view, &verb);
        }
        let all = layout.slots(0).expect("all");
        view.topology.set(Row::Slots(SlotRun { owner: Some(ShardId([9; 20])), ..all }));
        assert_eq!(next(&layout, &view), Ok(Step::AwaitLease(7000)));
    }
}
