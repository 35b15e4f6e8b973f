//! What this life of the node is to its shard, and what has to be done when that changes. Pure.
//!
//! It decides the order of a change of roles; `install.rs` carries it out. The intuition: whoever becomes a primary first
//! has everything that it was sent (the receiver is joined), then opens its epoch in the log (►12), then wants or does
//! not want a log, and only then do its lanes serve; whoever stops being one first stops serving, then closes its log,
//! so that its position names everything it has executed, and its replies that still wait never leave (►9).

use super::lease::Lead;
use crate::log::Wanted;
use capstan_proto::ids::{AttemptId, Incarnation, NodeId, ShardEpoch, ShardId};
use capstan_proto::topology::{ShardPhase, ShardRow, Topology};

/// A planned failover that is under way (►14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Its number.
    pub id: AttemptId,
    /// Who is to be primary.
    pub candidate: NodeId,
    /// What is waited for first.
    pub catch_up: CatchUp,
}

/// Whether the candidate catches up before its primary gives up its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// It has everything first.
    Whole,
    /// An operator gave up what it lacks.
    Skipped,
}

/// Whom a replica follows (I5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// The shard.
    pub shard: ShardId,
    /// Its primary.
    pub primary: NodeId,
    /// Since which promotion.
    pub epoch: ShardEpoch,
}

/// What a life of a node is to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Duty {
    /// Nothing: it has no shard, or an earlier life of it is the primary.
    #[default]
    Nothing,
    /// It is the primary.
    Primary {
        /// Of which shard, since which promotion.
        lead: Lead,
        /// Whether anybody reads its log.
        wanted: Wanted,
        /// A planned failover to somebody else.
        attempt: Option<Attempt>,
    },
    /// It follows the primary.
    Replica(Source),
}

impl Duty {
    /// Reads it off a copy of the cluster state.
    #[must_use]
    pub fn of(topology: &Topology, node: NodeId, incarnation: Incarnation) -> Self {
        let present = topology.nodes.get(&node).filter(|row| row.incarnation == incarnation && !row.dead);
        let Some(shard) = present.and_then(|row| topology.shards.get(&row.shard?)) else {
            return Self::Nothing;
        };
        if let Some(lead) = Lead::of(topology, node, incarnation) {
            return Self::Primary { lead, wanted: wanted(shard), attempt: attempt(shard) };
        }
        if shard.primary == node || !shard.replicas.contains(&node) {
            return Self::Nothing;
        }
        Self::Replica(Source { shard: shard.id, primary: shard.primary, epoch: shard.epoch })
    }

    /// What it leads.
    #[must_use]
    pub const fn lead(&self) -> Option<Lead> {
        match self {
            Self::Primary { lead, .. } => Some(*lead),
            Self::Nothing | Self::Replica(_) => None,
        }
    }

    /// The planned failover that is under way here.
    #[must_use]
    pub const fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Primary { attempt, .. } => *attempt,
            Self::Nothing | Self::Replica(_) => None,
        }
    }

    const fn source(&self) -> Option<Source> {
        match self {
            Self::Replica(source) => Some(*source),
            Self::Nothing | Self::Primary { .. } => None,
        }
    }

    const fn wanted(&self) -> Option<Wanted> {
        match self {
            Self::Primary { wanted, .. } => Some(*wanted),
            Self::Nothing | Self::Replica(_) => None,
        }
    }
}

const fn wanted(shard: &ShardRow) -> Wanted {
    if shard.replicas.is_empty() { Wanted::No } else { Wanted::Yes }
}

fn attempt(shard: &ShardRow) -> Option<Attempt> {
    match shard.phase {
        ShardPhase::Steady => None,
        ShardPhase::Planned { attempt, candidate } => {
            Some(Attempt { id: attempt, candidate, catch_up: CatchUp::Whole })
        }
        ShardPhase::Forced { attempt, candidate, .. } => {
            Some(Attempt { id: attempt, candidate, catch_up: CatchUp::Skipped })
        }
    }
}

/// One step of a change of roles. The lease has learnt of it before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Stop following, with everything that came applied and in the log.
    StopReceiver,
    /// Open the epoch in the log (►12).
    OpenEpoch(ShardEpoch),
    /// Record effects from now on, or no more.
    Want(Wanted),
    /// Commands on the shard wait (►14).
    Hold,
    /// Commands wait for the first lease of a new epoch.
    AwaitLease,
    /// Lock every lane and tell it what it may do now (►8).
    Lanes,
    /// Close the log behind what was executed; replies that wait for it are dropped with their connections (►9).
    StepDown,
    /// Follow a primary.
    Receive(Source),
}

/// The steps from one duty to the next, in the order in which they are safe.
#[must_use]
pub fn steps(before: &Duty, after: &Duty) -> Vec<Step> {
    let mut steps = Vec::new();
    let (left, taken) = (before.lead(), after.lead());
    if before.source().is_some() && before.source() != after.source() {
        steps.push(Step::StopReceiver);
    }
    match after.lead() {
        Some(lead) if left != taken => {
            if left.is_some() {
                // The lease of the old epoch is void: nothing executes although the lanes do not know yet.
                steps.push(Step::StepDown);
            }
            steps.push(Step::OpenEpoch(lead.epoch));
            steps.push(Step::AwaitLease);
        }
        Some(_) | None => {}
    }
    if let Some(wanted) = after.wanted()
        && (left != taken || before.wanted() != Some(wanted))
    {
        steps.push(Step::Want(wanted));
    }
    if after.attempt().is_some() && after.attempt() != before.attempt() {
        steps.push(Step::Hold);
    }
    steps.push(Step::Lanes);
    if left.is_some() && taken.is_none() {
        steps.push(Step::StepDown);
    }
    if let Some(source) = after.source()
        && before.source() != Some(source)
    {
        steps.push(Step::Receive(source));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::tests::{cluster, node};
    use capstan_proto::ids::SpawnToken;
    use capstan_proto::topology::Row;

    fn life(byte: u8) -> Incarnation {
        Incarnation { counter: 1, token: SpawnToken([byte; 16]) }
    }

    fn lead(epoch: u64) -> Lead {
        Lead { shard: ShardId([1; 20]), epoch: ShardEpoch(epoch) }
    }

    fn primary(epoch: u64, wanted: Wanted) -> Duty {
        Duty::Primary { lead: lead(epoch), wanted, attempt: None }
    }

    fn source(epoch: u64) -> Source {
        Source { shard: ShardId([1; 20]), primary: node(9), epoch: ShardEpoch(epoch) }
    }

    #[test]
    fn a_duty_is_read_off_the_cluster_state() {
        let mut topology = cluster();
        let led = |byte| Lead::of(&cluster(), node(byte), life(byte)).expect("leads");
        let of = |topology: &Topology, byte| Duty::of(topology, node(byte), life(byte));
        assert_eq!(
            of(&topology, 1),
            Duty::Primary { lead: led(1), wanted: Wanted::Yes, attempt: None },
            "with a replica"
        );
        assert_eq!(
            of(&topology, 2),
            Duty::Primary { lead: led(2), wanted: Wanted::No, attempt: None },
            "without"
        );
        let follows = Source { shard: led(1).shard, primary: node(1), epoch: led(1).epoch };
        assert_eq!(of(&topology, 4), Duty::Replica(follows));
        assert_eq!(of(&topology, 5), Duty::Nothing, "no shard");
        assert_eq!(Duty::of(&topology, node(1), life(7)), Duty::Nothing, "an earlier life leads");

        let mut shard = topology.shards[&led(1).shard].clone();
        shard.phase = ShardPhase::Planned { attempt: AttemptId(6), candidate: node(4) };
        topology.set(Row::Shard(shard));
        let attempt = Attempt { id: AttemptId(6), candidate: node(4), catch_up: CatchUp::Whole };
        assert_eq!(of(&topology, 1).attempt(), Some(attempt));
        assert_eq!(of(&topology, 4), Duty::Replica(follows), "the candidate follows until it is promoted");
    }

    #[test]
    fn a_promotion_ends_with_the_lanes_once_everything_received_is_in_and_the_epoch_is_open() {
        assert_eq!(
            steps(&Duty::Replica(source(3)), &primary(4, Wanted::Yes)),
            [
                Step::StopReceiver,
                Step::OpenEpoch(ShardEpoch(4)),
                Step::AwaitLease,
                Step::Want(Wanted::Yes),
                Step::Lanes
            ]
        );
        assert_eq!(
            steps(&Duty::Nothing, &primary(1, Wanted::No)),
            [Step::OpenEpoch(ShardEpoch(1)), Step::AwaitLease, Step::Want(Wanted::No), Step::Lanes]
        );
    }

    #[test]
    fn a_demotion_begins_with_the_lanes_and_follows_once_the_log_is_closed() {
        assert_eq!(
            steps(&primary(3, Wanted::Yes), &Duty::Replica(source(4))),
            [Step::Lanes, Step::StepDown, Step::Receive(source(4))]
        );
        assert_eq!(steps(&primary(3, Wanted::Yes), &Duty::Nothing), [Step::Lanes, Step::StepDown]);
    }

    #[test]
    fn a_primary_that_missed_its_own_demotion_closes_the_old_epoch_before_it_opens_the_new_one() {
        assert_eq!(
            steps(&primary(3, Wanted::Yes), &primary(5, Wanted::Yes)),
            [
                Step::StepDown,
                Step::OpenEpoch(ShardEpoch(5)),
                Step::AwaitLease,
                Step::Want(Wanted::Yes),
                Step::Lanes
            ]
        );
    }

    #[test]
    fn a_replica_follows_another_primary_or_epoch_and_stays_with_the_same() {
        let (old, new) = (Duty::Replica(source(3)), Duty::Replica(source(4)));
        assert_eq!(steps(&old, &new), [Step::StopReceiver, Step::Lanes, Step::Receive(source(4))]);
        assert_eq!(steps(&old, &old), [Step::Lanes]);
        assert_eq!(steps(&old, &Duty::Nothing), [Step::StopReceiver, Step::Lanes]);
    }

    #[test]
    fn a_planned_failover_holds_before_the_lanes_know_and_its_end_touches_nothing_but_them() {
        let attempt = |id| Duty::Primary {
            lead: lead(3),
            wanted: Wanted::Yes,
            attempt: Some(Attempt { id: AttemptId(id), candidate: node(4), catch_up: CatchUp::Whole }),
        };
        let steady = primary(3, Wanted::Yes);
        assert_eq!(steps(&steady, &attempt(1)), [Step::Hold, Step::Lanes]);
        assert_eq!(steps(&attempt(1), &attempt(1)), [Step::Lanes]);
        assert_eq!(steps(&attempt(1), &attempt(2)), [Step::Hold, Step::Lanes]);
        assert_eq!(steps(&attempt(1), &steady), [Step::Lanes]);
    }

    #[test]
    fn a_first_replica_starts_the_log_and_the_last_one_to_go_ends_it() {
        let (without, with) = (primary(3, Wanted::No), primary(3, Wanted::Yes));
        assert_eq!(steps(&without, &with), [Step::Want(Wanted::Yes), Step::Lanes]);
        assert_eq!(steps(&with, &without), [Step::Want(Wanted::No), Step::Lanes]);
    }
}
