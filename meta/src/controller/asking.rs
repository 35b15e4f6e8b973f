//! Failovers that people ask for: what the leader begins on what it knows of the replicas.
//!
//! It decides who takes over where nobody was named, and refuses what could come to nothing: it is better to say at once
//! why a failover is not begun than to hold clients for one that must end without a promotion.

use super::Controller;
use super::book::Book;
use crate::planner::{View, candidates, failover};
use crate::services::{FailoverKind, FailoverWish};
use crate::state::{Body, Rejection};
use capstan_proto::env::Boot;
use capstan_proto::ids::NodeId;
use capstan_proto::topology::ShardRow;

impl Controller {
    pub(super) fn judge_wish(&self, book: &Book, wish: &FailoverWish, now: Boot) -> Result<Body, Rejection> {
        let state = self.raft.state();
        let busy = book.busy();
        let (over, _) = book.over(state.topology(), self.ttl_max(&state), now);
        let (young, _) = book.young(state.topology(), now);
        begin(&book.view(state.topology(), (&busy, &over, &young), now), wish)
    }
}

/// The command that begins it, or why there can be none.
fn begin(view: &View<'_>, wish: &FailoverWish) -> Result<Body, Rejection> {
    let unknown = Rejection::UnknownShard { shard: wish.shard };
    let shard = view.topology.shards.get(&wish.shard).ok_or(unknown)?;
    if let Some((attempt, _)) = shard.phase.planned() {
        return Err(Rejection::AttemptUnderWay { shard: shard.id, attempt });
    }
    let (candidate, expected_epoch, last_attempt) =
        (candidate(view, shard, wish)?, shard.epoch, shard.last_attempt);
    match wish.kind {
        FailoverKind::Planned if failover::fence(view, shard).is_some() => {
            Err(Rejection::PrimaryAway { shard: shard.id, primary: shard.primary })
        }
        FailoverKind::Planned => Ok(Body::BeginPlanned {
            shard: shard.id,
            candidate,
            expected_epoch,
            last_attempt,
            why: format!("{} asked for it", wish.who),
        }),
        FailoverKind::Forced => Ok(Body::BeginForced {
            shard: shard.id,
            candidate,
            expected_epoch,
            last_attempt,
            who: wish.who.clone(),
            why: format!("{} asked for it", wish.who),
        }),
    }
}

fn candidate(view: &View<'_>, shard: &ShardRow, wish: &FailoverWish) -> Result<NodeId, Rejection> {
    let Some(named) = wish.candidate else {
        let none = || Rejection::NoCandidate { shard: shard.id, why: candidates::all_refused(view, shard) };
        return candidates::best(view, shard).ok_or_else(none);
    };
    let row = view.topology.nodes.get(&named).ok_or(Rejection::UnknownNode { node: named })?;
    if !shard.replicas.contains(&named) {
        return Err(Rejection::NotMember { node: named, shard: shard.id });
    }
    match (wish.kind, candidates::why_not(view, shard, row)) {
        (FailoverKind::Forced, _) | (FailoverKind::Planned, None) => Ok(named),
        (FailoverKind::Planned, Some(why)) => {
            Err(Rejection::NoCandidate { shard: shard.id, why: format!("node {named}: {why}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::scene::{OTHER, PRIMARY, REPLICA, SHARD, Scene, at};
    use capstan_proto::ids::{AttemptId, ShardId};
    use capstan_proto::topology::ShardPhase;

    fn wish(candidate: Option<NodeId>, kind: FailoverKind) -> FailoverWish {
        FailoverWish { shard: SHARD, candidate, kind, who: "ada".into() }
    }

    fn heard() -> Scene {
        let mut scene = Scene::new(&[REPLICA, OTHER]);
        scene.hear(PRIMARY);
        scene.hear(REPLICA).position = Some(at(4, 5));
        scene.hear(OTHER).position = Some(at(4, 6));
        scene
    }

    #[test]
    fn without_a_name_the_replica_with_the_highest_position_is_taken() {
        match begin(&heard().view(), &wish(None, FailoverKind::Planned)) {
            Ok(Body::BeginPlanned { candidate, last_attempt, .. }) => {
                assert_eq!((candidate, last_attempt), (OTHER, AttemptId(7)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_would_come_to_nothing_is_refused_with_its_reason() {
        let mut scene = heard();
        let refused =
            |scene: &Scene, wish: &FailoverWish| begin(&scene.view(), wish).expect_err("refused").to_string();
        let planned = |candidate| wish(candidate, FailoverKind::Planned);
        assert!(refused(&scene, &planned(Some(PRIMARY))).contains("no member"));
        scene.node(REPLICA).whole = false;
        scene.node(OTHER).dead = true;
        let text = refused(&scene, &planned(None));
        assert!(text.contains("no complete copy") && text.contains("has ended"), "{text}");
        assert!(refused(&scene, &planned(Some(REPLICA))).contains("no complete copy"));
        let mut scene = heard();
        scene.node(PRIMARY).dead = true;
        assert!(refused(&scene, &planned(None)).contains("--force"));
        let mut scene = heard();
        scene.shard().phase = ShardPhase::Planned { attempt: AttemptId(7), candidate: OTHER };
        assert!(refused(&scene, &planned(None)).contains("attempt 7"));
        let elsewhere = FailoverWish { shard: ShardId([1; 20]), ..planned(None) };
        assert!(refused(&heard(), &elsewhere).contains("no shard"));
    }

    #[test]
    fn a_forced_one_needs_neither_a_primary_nor_a_complete_copy() {
        let mut scene = heard();
        scene.node(PRIMARY).dead = true;
        scene.node(REPLICA).whole = false;
        match begin(&scene.view(), &wish(Some(REPLICA), FailoverKind::Forced)) {
            Ok(Body::BeginForced { candidate, who, .. }) => {
                assert_eq!((candidate, &who[..]), (REPLICA, "ada"))
            }
            other => panic!("{other:?}"),
        }
    }
}
