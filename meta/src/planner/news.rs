//! What nodes say of themselves that the state does not know yet: addresses, complete copies, what they have done.
//!
//! Level-triggered: a heartbeat repeats it until the state shows it, or until the caller knows that it was refused. A
//! complete copy counts only of the shard, the life and the epoch that are the present ones (►3).

use super::{Decision, Said, View};
use crate::state::{Body, NodeUpdate, Noted};
use capstan_proto::ids::NodeId;
use capstan_proto::topology::NodeRow;

/// What should be proposed of what nodes say.
pub(super) fn plan(view: &View<'_>) -> Vec<Decision> {
    let mut news = Vec::new();
    for (node, said) in view.said {
        let Some(row) = view.topology.nodes.get(node) else { continue };
        if row.incarnation != said.incarnation || row.dead {
            continue;
        }
        let bodies =
            [moved(row, said), whole(view, row, said), served(view, row, said), held(view, *node, said)];
        news.extend(bodies.into_iter().flatten().map(|body| Decision::News { node: *node, body }));
    }
    news
}

fn update(row: &NodeRow, what: NodeUpdate) -> Body {
    Body::Update { node: row.id, incarnation: row.incarnation, what }
}

fn moved(row: &NodeRow, said: &Said) -> Option<Body> {
    (row.addresses != said.addresses).then(|| update(row, NodeUpdate::Addresses(said.addresses.clone())))
}

fn whole(view: &View<'_>, row: &NodeRow, said: &Said) -> Option<Body> {
    let (id, epoch) = said.whole_of?;
    let shard = view.topology.shards.get(&id)?;
    let fits = row.shard == Some(id) && shard.epoch == epoch && shard.primary != row.id && !row.whole;
    fits.then(|| update(row, NodeUpdate::Whole { shard: id, epoch }))
}

fn served(view: &View<'_>, row: &NodeRow, said: &Said) -> Option<Body> {
    let (epoch, ago) = said.first_served?;
    let shard = view.topology.led_by(row.id).filter(|shard| shard.epoch == epoch)?;
    let before = (view.now.since(said.received) + ago).as_millis();
    let what = Noted::FirstServed { epoch };
    Some(Body::Note { shard: shard.id, node: row.id, what, evidence: format!("{before} ms before") })
}

fn held(view: &View<'_>, node: NodeId, said: &Said) -> Option<Body> {
    let (shard, attempt, hold_us) = said.held?;
    view.topology.shards.get(&shard)?;
    Some(Body::Note { shard, node, what: Noted::Held { attempt, hold_us }, evidence: String::new() })
}

#[cfg(test)]
mod tests {
    use super::super::scene::{PRIMARY, REPLICA, SHARD, Scene, life};
    use super::*;
    use capstan_proto::ids::ShardEpoch;
    use capstan_proto::topology::Addresses;

    #[test]
    fn a_node_that_is_reached_elsewhere_is_updated_in_its_present_life_only() {
        let addresses = Addresses { ip: "10.0.0.9".into(), ..Addresses::default() };
        let mut scene = Scene::new(&[]);
        scene.hear(PRIMARY).addresses = addresses.clone();
        let what = NodeUpdate::Addresses(addresses);
        let body = Body::Update { node: PRIMARY, incarnation: life(1), what };
        assert_eq!(scene.plan(), [Decision::News { node: PRIMARY, body }]);
        scene.hear(PRIMARY).incarnation = life(2);
        assert_eq!(scene.plan(), []);
    }

    #[test]
    fn a_copy_is_whole_only_of_the_present_shard_epoch_and_life() {
        let mut scene = Scene::new(&[REPLICA]);
        scene.node(REPLICA).whole = false;
        let with = |scene: &mut Scene, of, epoch| {
            scene.hear(REPLICA).whole_of = Some((of, ShardEpoch(epoch)));
            scene.plan().len()
        };
        assert_eq!(with(&mut scene, SHARD, 4), 1);
        assert_eq!(with(&mut scene, SHARD, 3), 0);
        assert_eq!(with(&mut scene, capstan_proto::ids::ShardId([1; 20]), 4), 0);
        scene.hear(REPLICA).whole_of = Some((SHARD, ShardEpoch(4)));
        scene.node(REPLICA).incarnation = life(2);
        assert_eq!(scene.plan(), []);
    }

    #[test]
    fn the_first_command_of_the_present_epoch_is_noted() {
        let mut scene = Scene::new(&[]);
        scene.hear(PRIMARY).first_served = Some((ShardEpoch(4), std::time::Duration::from_millis(3)));
        let decisions = scene.plan();
        let [Decision::News { body: Body::Note { what, evidence, .. }, .. }] = &decisions[..] else {
            panic!("{decisions:?}")
        };
        assert_eq!(*what, Noted::FirstServed { epoch: ShardEpoch(4) });
        assert_eq!(evidence, "3 ms before");
        scene.hear(PRIMARY).first_served = Some((ShardEpoch(3), std::time::Duration::ZERO));
        assert_eq!(scene.plan(), []);
    }
}
