//! The node's lease in virtual time: late, lost and repeated answers, early grants, roles that change, parts that stick.

use super::*;
use capstan_proto::ids::SpawnToken;

const ME: NodeId = NodeId([1; 20]);
const STREAM: StreamNumber = StreamNumber(3);
const TTL: Duration = Duration::from_secs(5);

fn ms(ms: u64) -> Boot {
    Boot(ms * 1_000_000)
}

fn life(counter: u64) -> Incarnation {
    Incarnation { counter, token: SpawnToken([counter as u8; 16]) }
}

fn lead(epoch: u64) -> Lead {
    Lead { shard: ShardId([9; 20]), epoch: ShardEpoch(epoch) }
}

fn version(index: u64) -> Version {
    Version { generation: 0, index }
}

fn grant(epoch: u64, index: u64) -> Grant {
    Grant { node: ME, incarnation: life(1), lead: lead(epoch), duration: TTL, version: version(index) }
}

/// A primary in epoch 1 whose lanes have version 1.
fn primary() -> NodeLease {
    let mut lease = NodeLease::new(ME, life(1), Rules::ALL);
    lease.reach(version(1), Some(lead(1)));
    lease.in_force(version(1));
    lease
}

#[test]
fn a_lease_is_counted_from_the_instant_the_heartbeat_was_sent() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    let worth = lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(2500));
    assert_eq!(worth, Some(Worth::Used(ms(6000))));
    assert!(lease.holds(ms(5999)));
    assert!(!lease.holds(ms(6000)));
}

#[test]
fn an_answer_that_comes_after_its_lease_has_ended_is_worth_nothing() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    assert_eq!(lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(6000)), Some(Worth::Over));
    assert_eq!(lease.until(), None);
}

#[test]
fn reordered_and_repeated_answers_never_shorten_or_lengthen_a_lease() {
    let mut lease = primary();
    let first = lease.send(STREAM, ms(1000));
    let second = lease.send(STREAM, ms(1500));
    lease.answered(STREAM, second, Some(grant(1, 1)), ms(1600));
    assert_eq!(lease.answered(STREAM, first, Some(grant(1, 1)), ms(1700)), Some(Worth::Used(ms(6500))));
    assert_eq!(lease.answered(STREAM, second, Some(grant(1, 1)), ms(1800)), Some(Worth::Unasked));
    assert_eq!(lease.until(), Some(ms(6500)));
}

#[test]
fn an_answer_of_another_stream_is_for_nobody() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    let other = StreamNumber(4);
    assert_eq!(lease.answered(other, sequence, Some(grant(1, 1)), ms(1001)), Some(Worth::Unasked));
}

#[test]
fn a_refusal_takes_nothing_away_that_the_leader_still_counts() {
    let mut lease = primary();
    let first = lease.send(STREAM, ms(1000));
    lease.answered(STREAM, first, Some(grant(1, 1)), ms(1001));
    let second = lease.send(STREAM, ms(1500));
    assert_eq!(lease.answered(STREAM, second, None, ms(1501)), None);
    assert_eq!(lease.until(), Some(ms(6000)));
}

#[test]
fn a_grant_for_another_node_life_shard_or_epoch_is_not_ours() {
    let foreign = [
        Grant { node: NodeId([2; 20]), ..grant(1, 1) },
        Grant { incarnation: life(2), ..grant(1, 1) },
        Grant { lead: Lead { shard: ShardId([8; 20]), ..lead(1) }, ..grant(1, 1) },
        grant(2, 1),
        grant(0, 1),
    ];
    for grant in foreign {
        let mut lease = primary();
        let sequence = lease.send(STREAM, ms(1000));
        assert_eq!(lease.answered(STREAM, sequence, Some(grant), ms(1001)), Some(Worth::NotOurs));
        assert_eq!(lease.until(), None);
    }
}

#[test]
fn an_early_grant_waits_until_its_version_is_in_force_in_every_lane() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    assert_eq!(lease.answered(STREAM, sequence, Some(grant(1, 3)), ms(1001)), Some(Worth::Early));
    lease.reach(version(3), Some(lead(1)));
    assert_eq!(lease.until(), None, "reached, but not in every lane");
    lease.in_force(version(2));
    assert_eq!(lease.until(), None);
    lease.in_force(version(3));
    assert_eq!(lease.until(), Some(ms(6000)));
}

#[test]
fn early_grants_are_bounded_and_the_newest_stay() {
    let mut lease = primary();
    for number in 0..100 {
        let sequence = lease.send(STREAM, ms(1000 + number));
        lease.answered(STREAM, sequence, Some(grant(1, 3)), ms(1200));
    }
    assert_eq!(lease.early.len(), EARLY_MAX);
    lease.reach(version(3), Some(lead(1)));
    lease.in_force(version(3));
    assert_eq!(lease.until(), Some(ms(6099)));
}

#[test]
fn heartbeats_that_are_never_answered_are_forgotten_in_order() {
    let mut lease = primary();
    let first = lease.send(STREAM, ms(1000));
    (0..PENDING_MAX).for_each(|_| {
        lease.send(STREAM, ms(1001));
    });
    assert_eq!(lease.pending.len(), PENDING_MAX);
    assert_eq!(lease.answered(STREAM, first, Some(grant(1, 1)), ms(1002)), Some(Worth::Unasked));
}

#[test]
fn a_role_that_is_left_and_an_epoch_that_changes_end_the_lease_before_any_lane_changes() {
    for next in [None, Some(lead(2))] {
        let mut lease = primary();
        let first = lease.send(STREAM, ms(1000));
        let second = lease.send(STREAM, ms(1100));
        lease.answered(STREAM, first, Some(grant(1, 1)), ms(1101));
        assert!(lease.reach(version(2), next), "the lease is lost");
        assert_eq!(lease.until(), None);
        assert_eq!(lease.answered(STREAM, second, Some(grant(1, 1)), ms(1102)), Some(Worth::NotOurs));
    }
}

#[test]
fn a_version_that_does_not_change_the_role_leaves_the_lease_alone() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(1001));
    assert!(!lease.reach(version(5), Some(lead(1))));
    assert_eq!(lease.until(), Some(ms(6000)));
}

#[test]
fn a_version_is_confirmed_when_it_is_in_force_and_never_before() {
    let mut lease = primary();
    lease.reach(version(4), None);
    assert_eq!(lease.confirmed(), version(1));
    lease.in_force(version(9));
    assert_eq!(lease.confirmed(), version(4), "nothing is in force that was not reached");
}

#[test]
fn an_older_state_never_brings_a_role_back() {
    let mut lease = primary();
    lease.reach(version(4), None);
    assert!(!lease.reach(version(3), Some(lead(1))));
    assert_eq!(lease.lead(), None);
}

#[test]
fn a_node_that_does_not_move_for_half_a_ttl_gives_its_lease_up_until_it_moves_again() {
    let mut lease = primary();
    let first = lease.send(STREAM, ms(1000));
    lease.answered(STREAM, first, Some(grant(1, 1)), ms(1001));
    assert!(lease.note_health(Some(ms(1000)), TTL, ms(3499)));
    assert!(lease.holds(ms(3499)));
    let second = lease.send(STREAM, ms(3499));
    assert!(!lease.note_health(Some(ms(1000)), TTL, ms(3500)));
    assert!(!lease.holds(ms(3500)));
    assert_eq!(lease.claim(), None, "it asks for no lease");
    assert_eq!(lease.answered(STREAM, second, Some(grant(1, 1)), ms(3501)), Some(Worth::Unasked));
    assert!(lease.note_health(None, TTL, ms(3600)));
    let third = lease.send(STREAM, ms(3600));
    assert_eq!(lease.answered(STREAM, third, Some(grant(1, 1)), ms(3601)), Some(Worth::Used(ms(8600))));
}

#[test]
fn the_node_stops_before_a_leader_with_a_faster_clock_counts_its_lease_as_over() {
    // Real time in node nanoseconds; the leader's clock runs 1 % faster and heard of it after `way`.
    for way in [0, 1, 777_777, 900_000_000] {
        let mut lease = primary();
        let sent = ms(1000);
        let sequence = lease.send(STREAM, sent);
        lease.answered(STREAM, sequence, Some(grant(1, 1)), Boot(sent.0 + 2 * way + 1));
        let ends = lease.until().expect("granted").0;
        let counted = capstan_proto::timing::counted_by_leader(TTL).as_nanos() as u64;
        let over_in_node_time = sent.0 + way + counted * 100 / 101;
        assert!(ends <= over_in_node_time, "way {way}: {ends} > {over_in_node_time}");
    }
}

#[test]
fn a_primary_that_has_handed_over_takes_no_grant_until_the_attempt_has_ended_by_a_commit() {
    let mut lease = primary();
    let sequence = lease.send(STREAM, ms(1000));
    lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(1001));
    lease.attempt_is(Some(AttemptId(7)));
    assert!(lease.holds(ms(1002)), "it serves what is left until it hands over");
    lease.hand_over(AttemptId(7));
    assert!(!lease.holds(ms(1003)));
    // ►14: neither time nor a grant that the leader gave before it knew ends the attempt.
    let sequence = lease.send(STREAM, ms(1100));
    assert_eq!(lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(1101)), Some(Worth::GivenUp));
    lease.attempt_is(Some(AttemptId(7)));
    let sequence = lease.send(STREAM, ms(9000));
    assert_eq!(lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(9001)), Some(Worth::GivenUp));
    lease.attempt_is(None);
    assert!(!lease.holds(ms(9002)), "only a fresh grant brings the lease back");
    let sequence = lease.send(STREAM, ms(9100));
    assert!(matches!(lease.answered(STREAM, sequence, Some(grant(1, 1)), ms(9101)), Some(Worth::Used(_))));
    assert!(lease.holds(ms(9102)));
}
