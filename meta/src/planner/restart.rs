//! A primary's process ended, its next life has registered, and no copy is left: that life is promoted, empty.
//!
//! The intuition: a registration is committed only when the old life's end was proved or its lease was over (►13), so
//! a later life in the node's row *is* the proof; no lease is waited for here. A restarted primary never simply goes
//! on. Without a log on disk the new life is empty, so it is promoted only when no whole copy lives (DESIGN 6); as long
//! as one does, [`super::failover`] promotes that, or waits until it answers or is proved dead.

use super::{Decision, Promotion, View, holder, last_heartbeat};
use crate::state::{Consent, Fence};
use capstan_proto::ids::Position;
use capstan_proto::topology::{ShardRow, Topology};

/// The promotion of a shard's primary in its new life, if that is due.
#[must_use]
pub fn plan(view: &View<'_>, shard: &ShardRow) -> Option<Decision> {
    let node = view.topology.nodes.get(&shard.primary)?;
    if node.incarnation == shard.incarnation || node.dead || other_copy_lives(view.topology, shard) {
        return None;
    }
    let old = holder(shard);
    let heard = last_heartbeat(view, old);
    Some(Decision::Promote(Box::new(Promotion {
        old,
        candidate: node.id,
        incarnation: node.incarnation,
        position: Position::default(),
        fence: Fence::ProvenDead,
        attempt: None,
        consent: if node.whole { Consent::None } else { Consent::NoCopyLeft },
        why: "the primary's process was replaced by its next life, and no complete copy is left".to_owned(),
        evidence: format!(
            "life {} is registered after life {}; {heard}; no whole replica lives",
            node.incarnation, shard.incarnation
        ),
    })))
}

fn other_copy_lives(topology: &Topology, shard: &ShardRow) -> bool {
    let replicas = shard.replicas.iter().filter_map(|id| topology.nodes.get(id));
    replicas.into_iter().any(|replica| replica.whole && !replica.dead)
}

#[cfg(test)]
mod tests {
    use super::super::scene::{PRIMARY, SHARD, Scene, life};
    use super::*;
    use capstan_proto::ids::ShardEpoch;

    /// A primary alone, in this life after it was promoted in its first.
    fn alone(counter: u64) -> Scene {
        let mut scene = Scene::new(&[]);
        scene.node(PRIMARY).incarnation = life(counter);
        scene.node(PRIMARY).whole = counter == 1;
        scene
    }

    #[test]
    fn a_primary_in_its_promoted_life_is_left_alone() {
        assert_eq!(alone(1).plan(), []);
    }

    #[test]
    fn the_next_life_of_a_primary_without_copies_is_promoted_and_the_loss_is_said() {
        let promotion = alone(2).promotion();
        assert_eq!((promotion.candidate, promotion.incarnation), (PRIMARY, life(2)));
        assert_eq!((promotion.old.incarnation, promotion.old.epoch), (life(1), ShardEpoch(4)));
        assert_eq!((promotion.fence, &promotion.consent), (Fence::ProvenDead, &Consent::NoCopyLeft));
    }

    #[test]
    fn a_shard_whose_proposal_is_not_settled_is_left_alone() {
        let mut scene = alone(2);
        scene.busy.insert(SHARD);
        assert_eq!(scene.plan(), []);
    }

    #[test]
    fn a_life_that_died_again_is_not_promoted() {
        let mut scene = alone(2);
        scene.node(PRIMARY).dead = true;
        assert_eq!(scene.plan(), []);
    }
}
