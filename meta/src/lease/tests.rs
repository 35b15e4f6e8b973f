//! The lease table in virtual time: leader changes, slow, reordered and repeated heartbeats, clock rates, TTL changes.

use super::*;
use capstan_proto::ids::{MetaId, SpawnToken};

const NODE: NodeId = NodeId([1; 20]);
const OTHER: NodeId = NodeId([2; 20]);
const SHARD: ShardId = ShardId([9; 20]);
const TTL: Duration = Duration::from_secs(5);
const STREAM: StreamId = StreamId(1);

fn ms(ms: u64) -> Boot {
    Boot(ms * 1_000_000)
}

fn life(counter: u64) -> Incarnation {
    Incarnation { counter, token: SpawnToken([counter as u8; 16]) }
}

fn holder(counter: u64, epoch: u64) -> Holder {
    Holder { node: NODE, incarnation: life(counter), shard: SHARD, epoch: ShardEpoch(epoch) }
}

fn version(index: u64) -> Version {
    Version { generation: 0, index }
}

fn leader(term: u64) -> LeaderId {
    LeaderId { term, node: MetaId(1) }
}

/// A table of a leader elected at time zero: its grace is over at 5.05 s.
fn table() -> LeaseTable {
    LeaseTable::new(leader(1), Boot(0), Rules::ALL)
}

fn beat(sequence: u64, counter: u64, epoch: u64) -> Heartbeat {
    Heartbeat {
        stream: STREAM,
        sequence,
        node: NODE,
        incarnation: life(counter),
        claim: Some((SHARD, ShardEpoch(epoch))),
        confirmed: version(1),
    }
}

fn primary(counter: u64, epoch: u64) -> impl Fn(NodeId) -> Option<Standing> {
    move |node| {
        (node == NODE).then_some(Standing {
            incarnation: life(counter),
            dead: false,
            leads: Some((SHARD, life(counter), ShardEpoch(epoch))),
        })
    }
}

fn read(index: u64, ttl: Duration) -> Read {
    Read { version: version(index), ttl }
}

/// One heartbeat that arrives and is answered at `at`.
fn ask(table: &mut LeaseTable, sequence: u64, at: Boot) -> Verdict {
    table.arrived(beat(sequence, 1, 1), at);
    answer(table, TTL, at)
}

fn answer(table: &mut LeaseTable, ttl: Duration, at: Boot) -> Verdict {
    let round = table.start_round().expect("somebody waits");
    let answers = table.round_confirmed(round, read(1, ttl), primary(1, 1), at);
    answers.last().expect("everybody who waits is answered").verdict
}

#[test]
fn a_primary_gets_a_grant_with_the_version_it_was_computed_from() {
    let mut table = table();
    let granted = Grant { holder: holder(1, 1), duration: TTL, version: version(1) };
    assert_eq!(ask(&mut table, 7, ms(100)), Verdict::Granted(granted));
}

#[test]
fn the_leader_counts_from_receipt_and_one_percent_longer_than_the_node() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let round = table.start_round().expect("one waits");
    // The quorum takes a second: what counts is when the heartbeat arrived.
    table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(11_000));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(15_049)), Duration::from_millis(1));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(15_050)), Duration::ZERO);
}

#[test]
fn a_new_leader_waits_out_the_longest_lease_that_an_earlier_one_can_have_granted() {
    let table = LeaseTable::new(leader(2), ms(1000), Rules::ALL);
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(1000)), Duration::from_millis(5050));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(6050)), Duration::ZERO);
    // ►10: the TTL was lowered, the old one may still be out.
    let longest = Duration::from_secs(20);
    assert_eq!(table.left_of_shard(SHARD, longest, ms(6050)), Duration::from_millis(15_150));
}

#[test]
fn a_ttl_that_is_lowered_or_raised_leaves_leases_that_were_granted_as_long_as_they_were() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    answer(&mut table, Duration::from_secs(20), ms(10_000));
    table.arrived(beat(2, 1, 1), ms(11_000));
    answer(&mut table, Duration::from_secs(3), ms(11_000));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(30_199)), Duration::from_millis(1));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(30_200)), Duration::ZERO);
    table.arrived(beat(3, 1, 1), ms(31_000));
    answer(&mut table, Duration::from_secs(40), ms(31_000));
    assert_eq!(table.granted_left(NODE, ms(31_000)), Duration::from_millis(40_400));
}

#[test]
fn a_living_primary_is_never_stopped_by_somebody_who_asks_whether_it_is_over() {
    let mut table = table();
    ask(&mut table, 1, ms(10_000));
    assert_eq!(table.stop(holder(1, 1), TTL, ms(12_000)), Err(Duration::from_millis(3050)));
    assert!(matches!(ask(&mut table, 2, ms(12_001)), Verdict::Granted(_)));
}

#[test]
fn once_stopped_no_round_grants_not_even_one_that_began_before() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let round = table.start_round().expect("one waits");
    assert_eq!(table.stop(holder(1, 1), TTL, ms(10_001)), Ok(()));
    let answers = table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(10_002));
    assert_eq!(answers[0].verdict, Verdict::Refused(Refusal::Stopped));
    assert_eq!(ask(&mut table, 2, ms(10_003)), Verdict::Refused(Refusal::Stopped));
}

#[test]
fn granting_goes_on_after_a_rejected_proposal() {
    let mut table = table();
    assert_eq!(table.stop(holder(1, 1), TTL, ms(10_000)), Ok(()));
    table.resume(holder(1, 1), version(1));
    assert!(matches!(ask(&mut table, 1, ms(10_001)), Verdict::Granted(_)));
}

#[test]
fn a_state_that_is_older_than_the_outcome_grants_nothing() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let round = table.start_round().expect("one waits");
    assert_eq!(table.stop(holder(1, 1), TTL, ms(10_001)), Ok(()));
    // The promotion committed as version 2 while the round still holds the state of version 1.
    table.resume(holder(1, 1), version(2));
    let answers = table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(10_002));
    assert_eq!(answers[0].verdict, Verdict::Refused(Refusal::OldState));
}

#[test]
fn who_is_not_the_promoted_life_of_the_primary_in_this_epoch_is_told_why() {
    let asks = |counter, epoch, standing: Standing| {
        let mut table = table();
        table.arrived(beat(1, counter, epoch), ms(10_000));
        let round = table.start_round().expect("one waits");
        table.round_confirmed(round, read(1, TTL), |_| Some(standing), ms(10_000))[0].verdict
    };
    let of = |counter, dead, leads| Standing { incarnation: life(counter), dead, leads };
    let leads = |counter, epoch| Some((SHARD, life(counter), ShardEpoch(epoch)));
    let refused = |why| Verdict::Refused(why);
    assert_eq!(asks(1, 1, of(2, false, leads(2, 2))), refused(Refusal::OldIncarnation(2)));
    assert_eq!(asks(1, 1, of(1, true, leads(1, 1))), refused(Refusal::Dead));
    assert_eq!(asks(1, 1, of(1, false, None)), refused(Refusal::NotPrimary));
    assert_eq!(asks(2, 1, of(2, false, leads(1, 1))), refused(Refusal::NotPromoted));
    assert_eq!(asks(1, 1, of(1, false, leads(1, 2))), refused(Refusal::OtherEpoch(ShardEpoch(2))));
    assert_eq!(asks(1, 3, of(1, false, leads(1, 2))), refused(Refusal::OtherEpoch(ShardEpoch(2))));
}

#[test]
fn an_unknown_node_is_refused_and_leaves_no_trace() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let round = table.start_round().expect("one waits");
    let answers = table.round_confirmed(round, read(1, TTL), |_| None, ms(10_000));
    assert_eq!(answers[0].verdict, Verdict::Refused(Refusal::Unregistered));
    assert!(table.leases.is_empty() && table.confirmed.is_empty());
}

#[test]
fn a_heartbeat_that_arrives_while_a_round_runs_waits_for_the_next_one() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let first = table.start_round().expect("one waits");
    table.arrived(beat(2, 1, 1), ms(10_001));
    assert_eq!(table.start_round(), None, "one runs, one waits");
    let answers = table.round_confirmed(first, read(1, TTL), primary(1, 1), ms(10_002));
    assert_eq!(answers.iter().map(|a| a.sequence).collect::<Vec<_>>(), [1]);
    assert!(table.start_round().is_some());
}

#[test]
fn answers_carry_the_stream_and_the_sequence_however_they_are_ordered() {
    let mut table = table();
    for sequence in [5, 3, 4, 3] {
        table.arrived(beat(sequence, 1, 1), ms(10_000));
    }
    table.arrived(Heartbeat { stream: StreamId(2), ..beat(3, 1, 1) }, ms(10_000));
    let round = table.start_round().expect("some wait");
    let answers = table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(10_001));
    let pairs: Vec<_> = answers.iter().map(|a| (a.stream.0, a.sequence)).collect();
    assert_eq!(pairs, [(1, 3), (1, 4), (1, 5), (2, 3)]);
}

#[test]
fn a_round_that_no_quorum_confirms_grants_nothing_and_extends_nothing() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    let round = table.start_round().expect("one waits");
    assert_eq!(table.round_failed(round)[0].verdict, Verdict::Refused(Refusal::NoQuorum));
    assert_eq!(table.left_of_shard(SHARD, TTL, ms(10_000)), Duration::ZERO);
    assert!(table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(10_001)).is_empty());
}

#[test]
fn a_quorum_that_needs_longer_than_a_lease_grants_nothing() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(10_000));
    assert_eq!(answer(&mut table, TTL, ms(15_050)), Verdict::Refused(Refusal::Late));
}

#[test]
fn a_flood_of_heartbeats_on_one_stream_keeps_the_newest_few() {
    let mut table = table();
    (1..=100).for_each(|sequence| table.arrived(beat(sequence, 1, 1), ms(sequence)));
    let round = table.start_round().expect("some wait");
    let answers = table.round_confirmed(round, read(1, TTL), primary(1, 1), ms(101));
    let kept: Vec<_> = answers.iter().map(|a| a.sequence).collect();
    assert_eq!(kept, [97, 98, 99, 100]);
}

#[test]
fn a_closed_stream_is_not_waited_for() {
    let mut table = table();
    table.arrived(beat(1, 1, 1), ms(1));
    table.stream_closed(STREAM);
    assert_eq!(table.start_round(), None);
}

#[test]
fn a_life_whose_end_is_proved_holds_no_lease_and_the_other_lives_keep_theirs() {
    let mut table = table();
    ask(&mut table, 1, ms(10_000));
    assert!(!table.left_of_life(NODE, life(1), TTL, ms(10_000)).is_zero());
    table.life_ended(OTHER, life(1));
    table.life_ended(NODE, life(2));
    assert!(!table.left_of_shard(SHARD, TTL, ms(10_000)).is_zero());
    table.life_ended(NODE, life(1));
    assert!(table.left_of_shard(SHARD, TTL, ms(10_000)).is_zero());
}

#[test]
fn a_confirmed_version_belongs_to_the_life_that_confirmed_it_and_only_grows() {
    let mut table = table();
    let confirm = |table: &mut LeaseTable, sequence, counter, index| {
        table.arrived(Heartbeat { confirmed: version(index), ..beat(sequence, counter, 1) }, ms(10_000));
        let round = table.start_round().expect("one waits");
        table.round_confirmed(round, read(9, TTL), primary(counter, 1), ms(10_000));
    };
    confirm(&mut table, 1, 1, 5);
    confirm(&mut table, 2, 1, 4);
    assert_eq!(table.confirmed(NODE, life(1)), version(5));
    assert_eq!(table.confirmed(NODE, life(2)), Version::default());
    confirm(&mut table, 3, 2, 2);
    assert_eq!(table.confirmed(NODE, life(2)), version(2));
    assert_eq!(table.confirmed(NODE, life(1)), Version::default());
}

#[test]
fn leases_and_stops_that_are_history_are_forgotten() {
    let mut table = table();
    ask(&mut table, 1, ms(10_000));
    assert_eq!(table.stop(holder(1, 1), TTL, ms(20_000)), Ok(()));
    table.arrived(beat(2, 1, 2), ms(20_001));
    let round = table.start_round().expect("one waits");
    let answers = table.round_confirmed(round, read(2, TTL), primary(1, 2), ms(20_002));
    assert!(matches!(answers[0].verdict, Verdict::Granted(_)), "the next epoch is not stopped");
    assert!(!table.is_stopped(&holder(1, 1)));
    assert_eq!(table.leases.len(), 1);
}
