//! A primary has ended: the living whole replica with the highest position takes its place.
//!
//! The intuition: a lease that is over, or a proof of death, says that nobody serves; then granting is stopped, and only
//! what the candidates report *after* that counts (►6), so that nobody is chosen for what it had before the old primary's
//! last batches reached the others. The wait is bounded: who does not answer is left out as soon as another has. It
//! refuses to act while the primary is heard claiming its shard: it lacks no more than a quorum of the meta group.

use super::candidates::{self, Standing};
use super::{Asked, Decision, Promotion, View, holder, last_heartbeat};
use crate::lease::Holder;
use crate::state::{Consent, Fence};
use capstan_proto::env::Boot;
use capstan_proto::ids::NodeId;
use capstan_proto::topology::{NodeRow, ShardRow};
use std::time::Duration;

/// A candidate that has not answered within this is left out, if another has answered.
pub const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// Nobody answered within this: the holder may have its lease again if it comes back, then they are asked anew.
pub const ASK_LIMIT: Duration = Duration::from_millis(1500);
/// A primary whose claim came within this is there: its next heartbeat is answered with a grant.
const HEARD: Duration = Duration::from_millis(1250);

/// What to do about a shard's primary, if anything.
#[must_use]
pub fn plan(view: &View<'_>, shard: &ShardRow) -> Option<Decision> {
    let old = holder(shard);
    let asked = view.asked.get(&shard.id).filter(|asked| asked.old == old);
    let Some(fence) = fence(view, shard) else {
        return asked.map(|_| Decision::GiveUp(old));
    };
    let candidates = candidates::of(view, shard);
    let Some(asked) = asked else {
        let candidates: Vec<NodeId> = candidates.iter().map(|row| row.id).collect();
        return (!candidates.is_empty()).then_some(Decision::Ask { old, fence, candidates });
    };
    let answers = answers(view, shard, &candidates, asked);
    let waited = view.now.since(asked.at);
    match candidates::highest(answers.iter().copied()) {
        Some(best) if answers.len() == candidates.len() || waited >= ANSWER_LIMIT => {
            let row = view.topology.nodes.get(&best.node)?;
            Some(Decision::Promote(Box::new(Promotion {
                old,
                candidate: best.node,
                incarnation: row.incarnation,
                position: best.position,
                fence,
                attempt: None,
                consent: Consent::None,
                why: why(fence).to_owned(),
                evidence: evidence(view, old, (fence, &candidates), (&answers, waited)),
            })))
        }
        Some(_) => None,
        None => (waited >= ASK_LIMIT || candidates.is_empty()).then_some(Decision::GiveUp(old)),
    }
}

/// When an ask that is under way has to be looked at again.
pub(super) fn deadlines(asked: &Asked) -> [Boot; 2] {
    [asked.at.after(ANSWER_LIMIT), asked.at.after(ASK_LIMIT)]
}

/// How it is known that the primary serves no more, if it is.
#[must_use]
pub fn fence(view: &View<'_>, shard: &ShardRow) -> Option<Fence> {
    if ended(view, shard) {
        return Some(Fence::ProvenDead);
    }
    // A fresh primary holds no lease because it has not learnt of its promotion: it gets the time of one.
    let away = view.over.contains(&shard.id) && !view.young.contains(&shard.id) && !claims(view, shard);
    away.then_some(Fence::LeaseOver)
}

/// The promoted life's end is proved, or a later life is registered, which is as good (►13).
pub(super) fn ended(view: &View<'_>, shard: &ShardRow) -> bool {
    let primary = view.topology.nodes.get(&shard.primary);
    primary.is_some_and(|row| row.dead || row.incarnation != shard.incarnation)
}

/// Whether the very life that was promoted was heard claiming this epoch a moment ago.
pub(super) fn claims(view: &View<'_>, shard: &ShardRow) -> bool {
    let said = view.said.get(&shard.primary).filter(|said| said.incarnation == shard.incarnation);
    said.is_some_and(|said| {
        said.claim == Some((shard.id, shard.epoch)) && view.now.since(said.received) < HEARD
    })
}

/// What candidates said after they were asked.
fn answers(view: &View<'_>, shard: &ShardRow, candidates: &[&NodeRow], asked: &Asked) -> Vec<Standing> {
    let answered = |row: &&&NodeRow| view.present(row.id).is_some_and(|said| said.number > asked.after);
    let standings = candidates.iter().filter(answered).filter_map(|row| candidates::standing(view, row.id));
    standings.filter(|standing| shard.floor.is_none_or(|floor| standing.position >= floor)).collect()
}

const fn why(fence: Fence) -> &'static str {
    match fence {
        Fence::ProvenDead => "the primary's process has ended",
        Fence::LeaseOver => "the primary's lease is over",
        Fence::HandedOver => "the primary has handed over",
    }
}

/// Last heartbeat, witness, candidates and their positions, in words.
fn evidence(
    view: &View<'_>,
    old: Holder,
    (fence, candidates): (Fence, &[&NodeRow]),
    (answers, waited): (&[Standing], Duration),
) -> String {
    let witness = match (fence, view.topology.nodes.get(&old.node)) {
        (Fence::ProvenDead, Some(row)) if row.incarnation != old.incarnation => {
            format!("the registration of its life {}", row.incarnation.counter)
        }
        (Fence::ProvenDead, Some(_) | None) => "its supervisor".to_owned(),
        (Fence::LeaseOver, _) => "this leader's lease table".to_owned(),
        (Fence::HandedOver, _) => "the primary itself".to_owned(),
    };
    let one = |row: &&NodeRow| match answers.iter().find(|answer| answer.node == row.id) {
        Some(answer) => format!("{} at {}", row.id, answer.position),
        None => format!("{} silent", row.id),
    };
    let listed: Vec<String> = candidates.iter().map(one).collect();
    format!(
        "{}; witness: {witness}; candidates asked {} ms before: {}",
        last_heartbeat(view, old),
        waited.as_millis(),
        listed.join(", ")
    )
}

#[cfg(test)]
mod tests;
