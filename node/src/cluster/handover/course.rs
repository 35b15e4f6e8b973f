//! What has become of an attempt, by the newest state that this node has taken over (►14). Pure.
//!
//! The one idea: an attempt is over when the committed state has no place for it any more, and by nothing else: no time, no
//! answer, no error is an argument here. What the clients that were held may do follows from what the state has instead.

use super::super::lease::Lead;
use super::super::role::{Attempt, CatchUp, Duty};

/// What has become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It is under way: clients are held.
    Stands,
    /// It has ended and the next one is under way: clients stay held.
    Followed,
    /// It has ended without a promotion: clients go on here, once the lease is back.
    Kept,
    /// It has ended, and this node leads under another epoch.
    LeadsAnew,
    /// It has ended, and this node leads no more: clients go elsewhere.
    Left,
}

/// What has become of an attempt that began when this node had that lead.
#[must_use]
pub fn of(attempt: Attempt, lead: Option<Lead>, duty: &Duty) -> Course {
    match (duty.attempt(), duty.lead()) {
        (Some(now), _) if now == attempt => Course::Stands,
        (Some(_), _) => Course::Followed,
        (None, now) if now == lead => Course::Kept,
        (None, Some(_)) => Course::LeadsAnew,
        (None, None) => Course::Left,
    }
}

/// Whether the lease may be given up: the candidate has acknowledged everything up to the last batch, or an operator has given up
/// what it lacks.
#[must_use]
pub fn may_give_up(attempt: Attempt, acked: Option<u64>, last: u64) -> bool {
    match attempt.catch_up {
        CatchUp::Whole => acked.is_some_and(|acked| acked >= last),
        CatchUp::Skipped => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Wanted;
    use capstan_proto::ids::{AttemptId, NodeId, ShardEpoch, ShardId};

    const CANDIDATE: NodeId = NodeId([2; 20]);

    fn attempt(id: u64, catch_up: CatchUp) -> Attempt {
        Attempt { id: AttemptId(id), candidate: CANDIDATE, catch_up }
    }

    fn lead(epoch: u64) -> Lead {
        Lead { shard: ShardId([9; 20]), epoch: ShardEpoch(epoch) }
    }

    fn primary(epoch: u64, attempt: Option<Attempt>) -> Duty {
        Duty::Primary { lead: lead(epoch), wanted: Wanted::Yes, attempt }
    }

    #[test]
    fn an_attempt_stands_until_the_state_has_another_one_or_none_and_what_follows_is_what_the_state_has() {
        let held = attempt(1, CatchUp::Whole);
        for (duty, course) in [
            (primary(4, Some(held)), Course::Stands),
            (primary(4, Some(attempt(2, CatchUp::Whole))), Course::Followed),
            (primary(4, Some(attempt(1, CatchUp::Skipped))), Course::Followed),
            (primary(6, Some(attempt(2, CatchUp::Whole))), Course::Followed),
            (primary(4, None), Course::Kept),
            (primary(6, None), Course::LeadsAnew),
            (Duty::Nothing, Course::Left),
        ] {
            assert_eq!(of(held, Some(lead(4)), &duty), course, "{duty:?}");
        }
    }

    #[test]
    fn a_lease_is_given_up_for_a_candidate_that_has_everything_or_by_consent() {
        let whole = attempt(1, CatchUp::Whole);
        assert!(may_give_up(whole, Some(7), 7) && may_give_up(whole, Some(8), 7));
        assert!(
            !may_give_up(whole, Some(6), 7) && !may_give_up(whole, None, 0),
            "it may have nothing at all"
        );
        assert!(may_give_up(attempt(1, CatchUp::Skipped), None, 7));
    }
}
