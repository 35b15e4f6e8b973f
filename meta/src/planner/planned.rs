//! Planned failovers: begun where a node wants to lead no longer, ended by a hand-over or without one (►14).
//!
//! The primary holds its clients and says when the candidate has everything; that word is the fence. An attempt that
//! does not get there is ended by a commit, never by forgetting it. A forced one gives up what the candidate lacks, but
//! waits for the primary's word, its lease's end or the proof of its death like any other (I4), and says how long.

use super::candidates;
use super::failover::ended;
use super::{Decision, Promotion, View, holder, last_heartbeat};
use crate::state::{Body, Consent, Fence};
use capstan_proto::env::Boot;
use capstan_proto::ids::{AttemptId, NodeId, Position};
use capstan_proto::timing::counted_by_leader;
use capstan_proto::topology::{NodeRow, ShardPhase, ShardRow};
use std::time::Duration;

/// The primary stops holding by itself at the hold limit; the meta group gives up a little later.
const MARGIN: Duration = Duration::from_millis(500);
const HOLD_LIMIT: &str = "hold-limit";

/// What to do about a shard's planned failover, or to begin one.
#[must_use]
pub fn plan(view: &View<'_>, shard: &ShardRow) -> Option<Decision> {
    match &shard.phase {
        ShardPhase::Steady => begin(view, shard),
        ShardPhase::Planned { attempt, candidate } => {
            // A primary that has ended is failed over from, to whoever is best: that ends the attempt as well.
            let due = (*attempt, *candidate);
            handed_over(view, shard, due, Consent::None)
                .or_else(|| (!ended(view, shard)).then(|| end(view, shard, due)).flatten())
        }
        ShardPhase::Forced { attempt, candidate, who } => {
            let due = (*attempt, *candidate);
            let consent = Consent::Operator { who: who.clone() };
            handed_over(view, shard, due, consent.clone())
                .or_else(|| fenced(view, shard, due, consent))
                .or_else(|| end(view, shard, due))
                .or(Some(Decision::Stop(holder(shard))))
        }
    }
}

/// Nodes that are drained, or about to stop, hand over what they lead.
fn begin(view: &View<'_>, shard: &ShardRow) -> Option<Decision> {
    let primary = view.topology.nodes.get(&shard.primary)?;
    if primary.dead || primary.incarnation != shard.incarnation {
        return None;
    }
    let wants = view.present(shard.primary).is_some_and(|said| said.wants_handover);
    let why = match (view.topology.drained.contains(&shard.primary), wants) {
        (true, _) => "the primary is drained",
        (false, true) => "the primary is about to stop",
        (false, false) => return None,
    };
    let candidate = candidates::best(view, shard)?;
    let body = Body::BeginPlanned {
        shard: shard.id,
        candidate,
        expected_epoch: shard.epoch,
        last_attempt: shard.last_attempt,
        why: why.to_owned(),
    };
    Some(Decision::Attempt { shard: shard.id, body })
}

/// The primary says that the candidate has everything, and that it executes nothing more under this attempt.
fn handed_over(
    view: &View<'_>,
    shard: &ShardRow,
    due: (AttemptId, NodeId),
    consent: Consent,
) -> Option<Decision> {
    let said = view.said.get(&shard.primary).filter(|said| said.incarnation == shard.incarnation)?;
    let (_, position) = said.handed_over.filter(|(attempt, _)| *attempt == due.0)?;
    promote(view, shard, due, (Fence::HandedOver, position, consent))
}

/// Forced: the primary has ended, or its lease has.
fn fenced(view: &View<'_>, shard: &ShardRow, due: (AttemptId, NodeId), consent: Consent) -> Option<Decision> {
    let fence = match (ended(view, shard), view.over.contains(&shard.id)) {
        (true, _) => Fence::ProvenDead,
        (false, true) => Fence::LeaseOver,
        (false, false) => return None,
    };
    let position = candidates::standing(view, due.1).map(|standing| standing.position).unwrap_or_default();
    promote(view, shard, due, (fence, position, consent))
}

fn promote(
    view: &View<'_>,
    shard: &ShardRow,
    (attempt, candidate): (AttemptId, NodeId),
    (fence, position, consent): (Fence, Position, Consent),
) -> Option<Decision> {
    let row = living(view, shard, candidate)?;
    let old = holder(shard);
    let waited = view.now.since(since(view, shard)).as_millis();
    let (kind, at) = match consent {
        Consent::None => ("planned", "the candidate has everything up to"),
        Consent::NoCopyLeft | Consent::Operator { .. } => ("forced", "the candidate is at"),
    };
    Some(Decision::Promote(Box::new(Promotion {
        old,
        candidate,
        incarnation: row.incarnation,
        position,
        fence,
        attempt: Some(attempt),
        consent,
        why: format!("{kind} failover {attempt}"),
        evidence: format!(
            "{}; waited {waited} ms for the primary to stop serving; {at} {position}",
            last_heartbeat(view, old)
        ),
    })))
}

/// The attempt leads nowhere: its candidate fell away, or it lasts too long.
fn end(view: &View<'_>, shard: &ShardRow, (attempt, candidate): (AttemptId, NodeId)) -> Option<Decision> {
    let why = match living(view, shard, candidate) {
        None => "the candidate has ended".to_owned(),
        Some(row) if !row.whole && matches!(shard.phase, ShardPhase::Planned { .. }) => {
            "the candidate holds no complete copy any more".to_owned()
        }
        Some(_) => {
            let lasts = view.now.since(since(view, shard));
            if lasts < limit(view, shard) {
                return None;
            }
            format!("the primary did not hand over within {} ms", lasts.as_millis())
        }
    };
    Some(Decision::Attempt { shard: shard.id, body: Body::EndAttempt { shard: shard.id, attempt, why } })
}

fn living<'a>(view: &View<'a>, shard: &ShardRow, candidate: NodeId) -> Option<&'a NodeRow> {
    let row = view.topology.nodes.get(&candidate)?;
    (!row.dead && shard.replicas.contains(&candidate)).then_some(row)
}

/// Since when this leader knows of the attempt.
fn since(view: &View<'_>, shard: &ShardRow) -> Boot {
    let known = view.attempts.get(&shard.id).filter(|(attempt, _)| *attempt == shard.last_attempt);
    known.map_or(view.now, |(_, since)| *since)
}

fn limit(view: &View<'_>, shard: &ShardRow) -> Duration {
    let hold = Duration::from_millis(view.topology.setting_number(HOLD_LIMIT)) + MARGIN;
    match shard.phase {
        ShardPhase::Steady | ShardPhase::Planned { .. } => hold,
        // Its lease runs out first, unless the leader changes meanwhile: then a grace period comes before.
        ShardPhase::Forced { .. } => {
            hold + counted_by_leader(Duration::from_millis(view.topology.lease_ttl_ms())) * 2
        }
    }
}

/// When the attempt under way has to be ended.
pub(super) fn deadline(view: &View<'_>, shard: &ShardRow) -> Option<Boot> {
    shard.phase.planned().map(|_| since(view, shard).after(limit(view, shard)))
}

#[cfg(test)]
mod tests;
