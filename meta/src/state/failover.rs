//! Who is primary: promotions (►3), with or without the attempt of a planned failover (►14).
//!
//! Judges only. A promotion is the only thing that changes a primary, and each raises the shard epoch by one (I3). It
//! decides from the command and the state; leases and positions are the leader's to weigh, under its leader id (►2).

use super::State;
use super::apply::{Change, Switches, Told};
use super::command::{Consent, Fence, Promote};
use super::history::Subject;
use super::outcome::{Done, Rejection};
use super::planted::Bug;
use capstan_proto::ids::{LeaderId, NodeId, ShardEpoch};
use capstan_proto::rules::Rule;
use capstan_proto::topology::{NodeRow, Row, ShardPhase, ShardRow};

/// ►3: the checks that no leader can skip.
pub(super) fn promote(
    state: &State,
    promote: &Promote,
    leader: Option<LeaderId>,
    switches: Switches,
) -> Result<Change, Rejection> {
    if leader.is_none() {
        return Err(Rejection::LeaderUnnamed { what: "promotion".to_owned() });
    }
    let shard = state.shard(promote.shard)?;
    if shard.epoch != promote.expected_epoch && !switches.planted.has(Bug::StaleEpochAccepted) {
        let (expected, current) = (promote.expected_epoch, shard.epoch);
        return Err(Rejection::StaleEpoch { shard: shard.id, expected, current });
    }
    let judged = switches.rules.on(Rule::PromotionIsJudged);
    let candidate = candidate(state, shard, promote, judged)?;
    if switches.rules.on(Rule::AttemptEndsByCommit) {
        judge_attempt(shard, promote)?;
    }
    judge_fence(state, shard, promote)?;
    if judged {
        judge_copy(state, shard, candidate, promote)?;
    }
    let Some(group) = state.topology.group else { return Err(Rejection::NotFounded) };

    let config_epoch = state.topology.config_epoch.next();
    let epoch = promote.expected_epoch.next();
    let mut replicas: Vec<NodeId> =
        shard.replicas.iter().copied().filter(|replica| *replica != candidate.id).collect();
    if shard.primary != candidate.id {
        replicas.push(shard.primary);
        replicas.sort_unstable();
    }
    let fresh = ShardRow {
        primary: candidate.id,
        incarnation: candidate.incarnation,
        epoch,
        config_epoch,
        replicas,
        // Whatever attempt was under way is over: its holder is no primary under this epoch any more (►14).
        phase: ShardPhase::Steady,
        ..shard.clone()
    };
    let rows = vec![
        Row::Node(NodeRow { whole: true, ..candidate.clone() }),
        Row::Shard(fresh),
        Row::Cluster { group, config_epoch },
    ];
    Ok(Change::told(Done::Promoted { epoch, config_epoch }, rows, told(shard, candidate, promote, epoch)))
}

/// The member that is to be primary, in the life that was asked.
fn candidate<'a>(
    state: &'a State,
    shard: &ShardRow,
    promote: &Promote,
    judged: bool,
) -> Result<&'a NodeRow, Rejection> {
    let node = promote.candidate;
    let row = state.node(node)?;
    if shard.primary != node && !shard.replicas.contains(&node) {
        return Err(Rejection::NotMember { node, shard: shard.id });
    }
    if row.incarnation != promote.incarnation && judged {
        let given = promote.incarnation.to_string();
        return Err(Rejection::StaleIncarnation { node, given, current: row.incarnation });
    }
    if shard.primary == node && shard.incarnation == row.incarnation {
        return Err(Rejection::AlreadyPrimary { node, incarnation: row.incarnation, shard: shard.id });
    }
    state.living(node)
}

/// ►14: a promotion that names an attempt counts only while that very attempt is under way.
fn judge_attempt(shard: &ShardRow, promote: &Promote) -> Result<(), Rejection> {
    let Some(named) = promote.attempt else { return Ok(()) };
    match shard.phase.planned() == Some((named, promote.candidate)) {
        true => Ok(()),
        false => Err(Rejection::AttemptOver { shard: shard.id, attempt: named, last: shard.last_attempt }),
    }
}

/// I4: the present primary has stopped. What the state itself can check, it checks.
fn judge_fence(state: &State, shard: &ShardRow, promote: &Promote) -> Result<(), Rejection> {
    let primary = state.node(shard.primary)?;
    let holds = match promote.fence {
        Fence::ProvenDead => primary.dead || primary.incarnation != shard.incarnation,
        Fence::LeaseOver => true,
        Fence::HandedOver => promote.attempt.is_some(),
    };
    match holds {
        true => Ok(()),
        false => Err(Rejection::NotFenced { primary: primary.id, shard: shard.id }),
    }
}

/// ►3: whole, and at or above the floor, unless consent lifts it.
fn judge_copy(
    state: &State,
    shard: &ShardRow,
    candidate: &NodeRow,
    promote: &Promote,
) -> Result<(), Rejection> {
    match &promote.consent {
        Consent::Operator { .. } => Ok(()),
        Consent::NoCopyLeft => {
            let members = shard.replicas.iter().copied().chain([shard.primary]);
            let mut others = members.filter(|id| *id != candidate.id).filter_map(|id| state.node(id).ok());
            match others.find(|node| node.whole && !node.dead) {
                Some(holder) => Err(Rejection::CopyLeft { holder: holder.id, shard: shard.id }),
                None => Ok(()),
            }
        }
        Consent::None if !candidate.whole => Err(Rejection::NotWhole { node: candidate.id, shard: shard.id }),
        Consent::None => match shard.floor {
            Some(floor) if promote.position < floor => {
                let position = promote.position;
                Err(Rejection::BelowFloor { node: candidate.id, shard: shard.id, position, floor })
            }
            Some(_) | None => Ok(()),
        },
    }
}

fn told(shard: &ShardRow, candidate: &NodeRow, promote: &Promote, epoch: ShardEpoch) -> Told {
    let loss = match &promote.consent {
        Consent::None => "",
        _ if !candidate.whole => ", empty: data lost",
        Consent::NoCopyLeft | Consent::Operator { .. } => ", possible loss",
    };
    let consent = match &promote.consent {
        Consent::None => String::new(),
        Consent::NoCopyLeft => "; no complete copy was left".to_owned(),
        Consent::Operator { who } => format!("; {who} consented to the loss"),
    };
    let fence = match promote.fence {
        Fence::ProvenDead => "its end was proved",
        Fence::LeaseOver => "its lease was over",
        Fence::HandedOver => "it handed over",
    };
    let (node, number) = (candidate.id, shard.number);
    Told {
        what: format!("promoted node {node} to primary of shard {number} in epoch {epoch}{loss}"),
        why: promote.why.clone(),
        evidence: format!(
            "old primary {} ({}): {fence}; candidate at {}{consent}; {}",
            shard.primary, shard.incarnation, promote.position, promote.evidence
        ),
        subject: Subject::shard(shard.id, &[node, shard.primary]),
    }
}
