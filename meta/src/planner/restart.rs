//! A primary's process ended and its next life has registered: that life is promoted under a new shard epoch.
//!
//! The intuition: a registration is committed only when the old life's end was proved or its lease was over (►13), so
//! a later life in the node's row *is* the proof; no lease is waited for here. A restarted primary never simply goes
//! on. Without a log on disk the new life is empty, so it is promoted only when no whole copy lives (DESIGN 6); as long
//! as one does, this file stands back for the failover.

use super::{Promotion, View};
use crate::lease::Holder;
use crate::state::{Consent, Fence};
use capstan_proto::ids::Position;
use capstan_proto::topology::{ShardRow, Topology};

/// The promotions of new lives that are due.
#[must_use]
pub fn plan(view: &View<'_>) -> Vec<Promotion> {
    let free = view.topology.shards.values().filter(|shard| !view.busy.contains(&shard.id));
    free.filter_map(|shard| new_life(view.topology, shard)).collect()
}

fn new_life(topology: &Topology, shard: &ShardRow) -> Option<Promotion> {
    let node = topology.nodes.get(&shard.primary)?;
    if node.incarnation == shard.incarnation || node.dead || other_copy_lives(topology, shard) {
        return None;
    }
    let old =
        Holder { node: shard.primary, incarnation: shard.incarnation, shard: shard.id, epoch: shard.epoch };
    Some(Promotion {
        old,
        candidate: node.id,
        incarnation: node.incarnation,
        position: Position::default(),
        fence: Fence::ProvenDead,
        consent: if node.whole { Consent::None } else { Consent::NoCopyLeft },
        why: "the primary's process was replaced by its next life".to_owned(),
        evidence: format!("life {} is registered after life {}", node.incarnation, shard.incarnation),
    })
}

fn other_copy_lives(topology: &Topology, shard: &ShardRow) -> bool {
    let replicas = shard.replicas.iter().filter_map(|id| topology.nodes.get(id));
    replicas.into_iter().any(|replica| replica.whole && !replica.dead)
}

#[cfg(test)]
mod tests {
    use super::super::{Decision, Said, plan};
    use super::*;
    use capstan_proto::ids::{AttemptId, ConfigEpoch, Incarnation, NodeId, ShardEpoch, ShardId, SpawnToken};
    use capstan_proto::topology::{Addresses, NodeRow, ProcessPlace, Row, ShardPhase};
    use std::collections::{BTreeMap, BTreeSet};

    const NODE: NodeId = NodeId([1; 20]);
    const REPLICA: NodeId = NodeId([2; 20]);
    const SHARD: ShardId = ShardId([9; 20]);

    fn life(counter: u64) -> Incarnation {
        Incarnation { counter, token: SpawnToken([counter as u8; 16]) }
    }

    fn node(id: NodeId, counter: u64) -> NodeRow {
        NodeRow {
            id,
            incarnation: life(counter),
            place: ProcessPlace::default(),
            addresses: Addresses::default(),
            shard: Some(SHARD),
            dead: false,
            whole: false,
            software: String::new(),
        }
    }

    fn topology(nodes: Vec<NodeRow>) -> Topology {
        let mut topology = Topology::default();
        let replicas = nodes.iter().map(|node| node.id).filter(|id| *id != NODE).collect();
        nodes.into_iter().for_each(|node| topology.set(Row::Node(node)));
        topology.set(Row::Shard(ShardRow {
            id: SHARD,
            number: 1,
            primary: NODE,
            incarnation: life(1),
            epoch: ShardEpoch(4),
            config_epoch: ConfigEpoch(4),
            replicas,
            phase: ShardPhase::Steady,
            last_attempt: AttemptId(0),
            floor: None,
        }));
        topology
    }

    fn decide(topology: &Topology, busy: &[ShardId], said: &BTreeMap<NodeId, Said>) -> Vec<Decision> {
        let busy: BTreeSet<ShardId> = busy.iter().copied().collect();
        plan(&View { topology, said, busy: &busy })
    }

    #[test]
    fn a_primary_in_its_promoted_life_is_left_alone() {
        assert_eq!(decide(&topology(vec![node(NODE, 1)]), &[], &BTreeMap::new()), []);
    }

    #[test]
    fn the_next_life_of_a_primary_without_copies_is_promoted_and_the_loss_is_said() {
        let decisions = decide(&topology(vec![node(NODE, 2)]), &[], &BTreeMap::new());
        let [Decision::Promote(promotion)] = &decisions[..] else { panic!("{decisions:?}") };
        assert_eq!((promotion.candidate, promotion.incarnation), (NODE, life(2)));
        assert_eq!((promotion.old.incarnation, promotion.old.epoch), (life(1), ShardEpoch(4)));
        assert_eq!((promotion.fence, &promotion.consent), (Fence::ProvenDead, &Consent::NoCopyLeft));
    }

    #[test]
    fn a_shard_whose_proposal_is_not_settled_is_left_alone() {
        assert_eq!(decide(&topology(vec![node(NODE, 2)]), &[SHARD], &BTreeMap::new()), []);
    }

    #[test]
    fn a_life_that_died_again_is_not_promoted() {
        let dead = NodeRow { dead: true, ..node(NODE, 2) };
        assert_eq!(decide(&topology(vec![dead]), &[], &BTreeMap::new()), []);
    }

    #[test]
    fn an_empty_life_never_takes_the_place_of_a_whole_copy_that_lives() {
        let whole = NodeRow { whole: true, ..node(REPLICA, 1) };
        assert_eq!(decide(&topology(vec![node(NODE, 2), whole.clone()]), &[], &BTreeMap::new()), []);
        let gone = NodeRow { dead: true, ..whole };
        assert_eq!(decide(&topology(vec![node(NODE, 2), gone]), &[], &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn a_node_that_is_reached_elsewhere_is_updated_in_its_present_life_only() {
        let addresses = Addresses { ip: "10.0.0.9".into(), ..Addresses::default() };
        let said = |counter| {
            BTreeMap::from([(NODE, Said { incarnation: life(counter), addresses: addresses.clone() })])
        };
        let topology = topology(vec![node(NODE, 1)]);
        let update = Decision::Update { node: NODE, incarnation: life(1), addresses: addresses.clone() };
        assert_eq!(decide(&topology, &[], &said(1)), [update]);
        assert_eq!(decide(&topology, &[], &said(2)), []);
    }
}
