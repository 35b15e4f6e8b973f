//! Attempts of planned failovers (►14), drained nodes, and what nodes tell of both afterwards.
//!
//! Judges only. An attempt is numbered, so that a promotion which was proposed under it and delayed is rejected once
//! the attempt was ended; whoever holds clients for it waits for one of the two commits.

use super::State;
use super::apply::{Change, Told};
use super::command::{Draining, Noted};
use super::history::Subject;
use super::outcome::{Done, Rejection};
use capstan_proto::ids::{AttemptId, NodeId, ShardEpoch, ShardId};
use capstan_proto::topology::{Row, ShardPhase, ShardRow};

/// ►14: numbers a planned failover.
pub(super) fn begin(
    state: &State,
    shard: ShardId,
    candidate: NodeId,
    seen: (ShardEpoch, AttemptId),
    why: &str,
) -> Result<Change, Rejection> {
    let row = free_shard(state, shard, candidate, seen)?;
    if state.topology.drained.contains(&candidate) {
        return Err(Rejection::NodeDrained { node: candidate });
    }
    if !state.living(candidate)?.whole {
        return Err(Rejection::NotWhole { node: candidate, shard });
    }
    let attempt = seen.1.next();
    let phase = ShardPhase::Planned { attempt, candidate };
    let what = format!("began planned failover {attempt} of shard {} to node {candidate}", row.number);
    Ok(begun(row, (attempt, candidate), phase, (what, why)))
}

/// ►14 by force: an operator consents to the loss of what the candidate lacks, and nothing more (I4).
pub(super) fn begin_forced(
    state: &State,
    shard: ShardId,
    candidate: NodeId,
    seen: (ShardEpoch, AttemptId),
    (who, why): (&str, &str),
) -> Result<Change, Rejection> {
    let row = free_shard(state, shard, candidate, seen)?;
    state.living(candidate)?;
    let attempt = seen.1.next();
    let who = if who.is_empty() { "an operator" } else { who };
    let phase = ShardPhase::Forced { attempt, candidate, who: who.to_owned() };
    let what = format!(
        "began forced failover {attempt} of shard {} to node {candidate}; {who} consented to the loss",
        row.number
    );
    Ok(begun(row, (attempt, candidate), phase, (what, why)))
}

/// The shard as the decision saw it, without an attempt under way.
fn free_shard(
    state: &State,
    shard: ShardId,
    candidate: NodeId,
    (expected, seen): (ShardEpoch, AttemptId),
) -> Result<&ShardRow, Rejection> {
    let row = state.shard(shard)?;
    if row.epoch != expected {
        return Err(Rejection::StaleEpoch { shard, expected, current: row.epoch });
    }
    if let Some((attempt, _)) = row.phase.planned() {
        return Err(Rejection::AttemptUnderWay { shard, attempt });
    }
    if row.last_attempt != seen {
        return Err(Rejection::AttemptOver { shard, attempt: seen, last: row.last_attempt });
    }
    match row.replicas.contains(&candidate) {
        true => Ok(row),
        false => Err(Rejection::NotMember { node: candidate, shard }),
    }
}

fn begun(
    row: &ShardRow,
    (attempt, candidate): (AttemptId, NodeId),
    phase: ShardPhase,
    (what, why): (String, &str),
) -> Change {
    let subject = Subject::shard(row.id, &[candidate, row.primary]);
    let told = Told { what, why: why.to_owned(), evidence: String::new(), subject };
    let fresh = ShardRow { phase, last_attempt: attempt, ..row.clone() };
    Change::told(Done::AttemptBegun { attempt }, vec![Row::Shard(fresh)], told)
}

/// ►14: from here on a promotion that names this attempt is rejected.
pub(super) fn end(state: &State, shard: ShardId, attempt: AttemptId, why: &str) -> Result<Change, Rejection> {
    let row = state.shard(shard)?;
    match row.phase.planned() {
        Some((now, candidate)) if now == attempt => {
            let told = Told {
                what: format!("ended planned failover {attempt} of shard {} without a promotion", row.number),
                why: why.to_owned(),
                evidence: String::new(),
                subject: Subject::shard(shard, &[candidate, row.primary]),
            };
            let fresh = ShardRow { phase: ShardPhase::Steady, ..row.clone() };
            Ok(Change::told(Done::AttemptEnded, vec![Row::Shard(fresh)], told))
        }
        Some(_) | None => Err(Rejection::AttemptOver { shard, attempt, last: row.last_attempt }),
    }
}

/// Over all lives of the node, until it is ended.
pub(super) fn drain(state: &State, node: NodeId, what: Draining) -> Result<Change, Rejection> {
    let row = state.node(node)?;
    let on = match what {
        Draining::Begins => true,
        Draining::Ends => false,
    };
    if state.topology.drained.contains(&node) == on {
        return Ok(Change::nothing(Done::Drained));
    }
    let text = match what {
        Draining::Begins => format!("node {node} is drained"),
        Draining::Ends => format!("node {node} is not drained any more"),
    };
    let subject = Subject { shard: row.shard, nodes: vec![node] };
    Ok(Change::told(Done::Drained, vec![Row::Drain { node, on }], Told::plain(text, subject)))
}

/// A line of the history, once. Changes no row.
pub(super) fn note(
    state: &State,
    shard: ShardId,
    node: NodeId,
    what: Noted,
    evidence: &str,
) -> Result<Change, Rejection> {
    let row = state.shard(shard)?;
    state.node(node)?;
    if let Noted::FirstServed { epoch } = what
        && row.epoch < epoch
    {
        return Err(Rejection::StaleEpoch { shard, expected: epoch, current: row.epoch });
    }
    if is_noted(state, shard, node, what) {
        return Ok(Change::nothing(Done::Noted));
    }
    let told = Told {
        what: text(row, node, what),
        why: String::new(),
        evidence: evidence.to_owned(),
        subject: Subject::shard(shard, &[node]),
    };
    Ok(Change::told(Done::Noted, Vec::new(), told))
}

/// Whether the history says so already, as far back as it goes.
pub(super) fn is_noted(state: &State, shard: ShardId, node: NodeId, what: Noted) -> bool {
    let Ok(row) = state.shard(shard) else { return false };
    let text = text(row, node, what);
    state.history.iter().rev().any(|event| event.subject.shard == Some(shard) && event.what == text)
}

fn text(shard: &ShardRow, node: NodeId, what: Noted) -> String {
    let number = shard.number;
    match what {
        Noted::FirstServed { epoch } => {
            format!("node {node} served its first command of shard {number} in epoch {epoch}")
        }
        Noted::Held { attempt, hold_us } => {
            format!("node {node} held the clients of shard {number} for {hold_us} us in attempt {attempt}")
        }
    }
}
