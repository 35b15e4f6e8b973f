//! Promotions, attempts, slots, settings, request ids: what is accepted, what is refused, and in which words.

use super::builders::{Bench, LEADER, OTHER, node, promotion, range, register, request, shard};
use crate::state::{
    Body, Command, Consent, Done, Fence, JoinRole, NODES_MAX, Outcome, Rejection, SlotRange, State,
};
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{AttemptId, NodeId, ShardId};
use capstan_proto::slot::Slot;
use capstan_proto::topology::ShardPhase;

#[test]
fn a_promotion_takes_a_whole_living_replica_in_its_present_life_and_raises_both_epochs() {
    let mut bench = Bench::cluster();
    let whole = promotion(&bench.state, shard(1), node(2));
    let why = bench.refused(Body::Promote(promotion(&bench.state, shard(1), node(3))));
    assert!(matches!(why, Rejection::NotWhole { .. }), "►3: {why}");
    let why = bench.refused(Body::Promote(promotion(&bench.state, shard(1), node(5))));
    assert!(matches!(why, Rejection::NotMember { .. }), "►3: {why}");
    let why = bench.refused(Body::Promote(promotion(&bench.state, shard(1), node(1))));
    assert!(matches!(why, Rejection::AlreadyPrimary { .. }), "{why}");

    let before = bench.state.topology().config_epoch;
    let Done::Promoted { epoch, config_epoch } = bench.done(Body::Promote(whole.clone())) else {
        panic!("promoted")
    };
    assert_eq!((epoch.0, config_epoch), (2, before.next()), "►1: two epochs, each on its own");
    let row = &bench.state.topology().shards[&shard(1)];
    assert_eq!((row.primary, row.replicas.as_slice()), (node(2), &[node(1), node(3)][..]));
    let why = bench.refused(Body::Promote(whole));
    assert!(matches!(why, Rejection::StaleEpoch { .. }), "I3: {why}");
}

#[test]
fn a_promotion_without_a_leader_or_of_another_leader_is_refused() {
    let mut bench = Bench::cluster();
    let body = Body::Promote(promotion(&bench.state, shard(1), node(2)));
    for leader in [None, Some(OTHER)] {
        let command = bench.command(leader, body.clone());
        let outcome = bench.apply(&command).outcome;
        assert!(
            matches!(
                outcome,
                Outcome::Rejected(Rejection::LeaderUnnamed { .. } | Rejection::ForeignLeader { .. })
            ),
            "►2: {outcome:?}"
        );
    }
}

#[test]
fn nothing_lifts_the_fence_and_only_an_operator_lifts_wholeness_while_a_copy_may_live() {
    let mut bench = Bench::cluster();
    let mut promote = promotion(&bench.state, shard(1), node(3));
    promote.consent = Consent::Operator { who: "ops".into() };
    for fence in [Fence::ProvenDead, Fence::HandedOver] {
        promote.fence = fence;
        let why = bench.refused(Body::Promote(promote.clone()));
        assert!(matches!(why, Rejection::NotFenced { .. }), "I4: {why}");
    }
    promote.fence = Fence::LeaseOver;
    promote.consent = Consent::NoCopyLeft;
    let why = bench.refused(Body::Promote(promote.clone()));
    assert!(matches!(why, Rejection::CopyLeft { .. }), "{why}");
    bench.done(Body::Dead { node: node(1), token: bench.life(1).token });
    bench.done(Body::Dead { node: node(2), token: bench.life(2).token });
    promote.fence = Fence::ProvenDead;
    bench.done(Body::Promote(promote));
    assert_eq!(bench.state.topology().shards[&shard(1)].primary, node(3));
}

#[test]
fn an_attempt_is_over_once_a_promotion_or_its_end_is_committed() {
    let mut bench = Bench::cluster();
    let begin = |bench: &Bench| {
        let row = &bench.state.topology().shards[&shard(1)];
        Body::BeginPlanned {
            shard: shard(1),
            candidate: node(2),
            expected_epoch: row.epoch,
            last_attempt: row.last_attempt,
            why: "asked for".into(),
        }
    };
    let body = begin(&bench);
    assert_eq!(bench.done(body.clone()), Done::AttemptBegun { attempt: AttemptId(1) });
    let why = bench.refused(begin(&bench));
    assert!(matches!(why, Rejection::AttemptUnderWay { .. }), "{why}");
    let mut promote = promotion(&bench.state, shard(1), node(2));
    promote.fence = Fence::HandedOver;
    promote.attempt = Some(AttemptId(1));
    let end = |attempt| Body::EndAttempt { shard: shard(1), attempt, why: "hold limit".into() };
    bench.done(end(AttemptId(1)));
    let why = bench.refused(Body::Promote(promote.clone()));
    assert!(matches!(why, Rejection::AttemptOver { .. }), "►14: {why}");
    let why = bench.refused(end(AttemptId(1)));
    assert!(matches!(why, Rejection::AttemptOver { .. }), "{why}");
    let why = bench.refused(body);
    assert!(matches!(why, Rejection::AttemptOver { .. }), "a late duplicate: {why}");

    let body = begin(&bench);
    bench.done(body);
    promote.attempt = Some(AttemptId(2));
    bench.done(Body::Promote(promote));
    let row = &bench.state.topology().shards[&shard(1)];
    assert_eq!((row.phase.clone(), row.primary), (ShardPhase::Steady, node(2)));
    let why = bench.refused(end(AttemptId(2)));
    assert!(matches!(why, Rejection::AttemptOver { .. }), "►14: {why}");
}

#[test]
fn slots_are_given_all_or_none_and_refusals_speak_as_redis_does() {
    let mut bench = Bench::cluster();
    let add = |ranges: &[SlotRange]| Body::AddSlots { shard: shard(2), ranges: ranges.to_vec() };
    for (ranges, text) in [
        (vec![range(8192, 9000), range(8000, 8200)], "Slot 8000 is already busy"),
        (vec![range(9000, 9010), range(9010, 9010)], "Slot 9010 specified multiple times"),
        (vec![range(9010, 9000)], "Invalid or out of range slot"),
    ] {
        let why = bench.refused(add(&ranges));
        assert_eq!(why.redis_text().as_deref(), Some(text), "{why}");
        assert!(why.to_string().starts_with(text), "{why}");
    }
    assert!(matches!(bench.refused(add(&[])), Rejection::NoSlots));
    let done = bench.done(add(&[range(10_000, 16_383), range(8192, 9999)]));
    assert_eq!(done, Done::SlotsAdded { slots: 8192 });
    assert!(Slot::all().all(|slot| bench.state.topology().owner(slot).is_some()));
    assert_eq!(bench.state.topology().runs().len(), 2, "adjacent runs are one");
}

#[test]
fn a_node_joins_once_and_a_primary_replicates_nobody() {
    let mut bench = Bench::cluster();
    let join = |n, s| Body::Join { node: node(n), role: JoinRole::Primary { new_shard: shard(s) } };
    assert!(matches!(bench.refused(join(1, 3)), Rejection::AlreadyMember { .. }));
    assert!(matches!(bench.refused(join(9, 3)), Rejection::UnknownNode { .. }));
    assert!(matches!(bench.refused(join(5, 2)), Rejection::ShardExists { .. }));
    let replicate = |n, s| Body::Replicate { node: node(n), shard: shard(s) };
    let why = bench.refused(replicate(4, 1));
    assert_eq!(
        why.redis_text().as_deref(),
        Some("To set a master the node must be empty and without assigned slots.")
    );
    bench.done(replicate(2, 2));
    let topology = bench.state.topology();
    assert_eq!(topology.shards[&shard(1)].replicas, [node(3)]);
    assert_eq!(topology.shards[&shard(2)].replicas, [node(2)]);
    assert!(!topology.nodes[&node(2)].whole, "whole says something of one shard");
    bench.done(Body::Dead { node: node(5), token: bench.life(5).token });
    assert!(matches!(bench.refused(join(5, 3)), Rejection::NodeDead { .. }));
}

#[test]
fn a_lowered_ttl_stays_in_force_for_one_old_ttl_whatever_the_clocks_say() {
    let mut bench = Bench::founded();
    let set = |value: &str| Body::SetSetting { name: "cluster-node-timeout".into(), value: value.into() };
    bench.done(set("20000"));
    assert_eq!(bench.state.lowered_ttl(), None, "raising takes effect at once");
    let at = UnixMs(1_700_000_100_000);
    let command = Command { at, ..bench.command(None, set("1")) };
    let Outcome::Done { done, .. } = bench.apply(&command).outcome else { panic!("clamped, not refused") };
    let clamped = Done::SettingStored { value: "3000".into(), clamped_from: Some("1".into()) };
    assert_eq!(done, clamped);
    assert_eq!(bench.state.topology().lease_ttl_ms(), 3000);
    let after = |ms: u64| UnixMs(at.0 + ms);
    assert_eq!(bench.state.lease_ttl_max_ms(after(0)), 20_000, "►10");
    assert_eq!(bench.state.lease_ttl_max_ms(after(20_199)), 20_000, "►10: counted with 1 % for clock rates");
    assert_eq!(bench.state.lease_ttl_max_ms(after(20_200)), 3000);

    // A leader whose clock is behind lowers again: the earlier lowering is not forgotten.
    bench.done(set("4000"));
    let behind = Command { at: UnixMs(5), ..bench.command(None, set("3000")) };
    bench.apply(&behind);
    assert_eq!(bench.state.lease_ttl_max_ms(after(20_199)), 20_000, "►10");
    let event = bench.state.history().iter().find(|event| event.why.contains("below the floor"));
    assert!(event.is_some(), "clamping is an event");
}

#[test]
fn a_setting_back_at_its_default_leaves_no_row_and_unknown_ones_are_refused() {
    let mut bench = Bench::founded();
    let set = |name: &str, value: &str| Body::SetSetting { name: name.into(), value: value.into() };
    bench.done(set("Cluster-Require-Full-Coverage", "NO"));
    assert_eq!(bench.state.topology().settings["cluster-require-full-coverage"], "no");
    bench.done(set("cluster-require-full-coverage", ""));
    assert!(bench.state.topology().settings.is_empty());
    assert!(matches!(bench.refused(set("maxmemory", "1")), Rejection::UnknownSetting { .. }));
    assert!(matches!(bench.refused(set("write-safety", "strict")), Rejection::BadSetting { .. }));
    assert!(matches!(bench.refused(set(&"x".repeat(999), "")), Rejection::TooLong { .. }));
}

#[test]
fn a_request_id_stands_for_one_command() {
    let mut bench = Bench::founded();
    let command = bench.command(None, Body::Register(register(1, 1, None)));
    let first = bench.apply(&command);
    let later = Command { author: "somebody else".into(), at: UnixMs(9), ..command.clone() };
    let again = bench.apply(&later);
    assert!(again.repeated && again.rows.is_empty());
    assert_eq!(again.outcome, first.outcome);
    let other = Command { body: Body::Register(register(2, 2, None)), ..command.clone() };
    assert_eq!(bench.apply(&other).outcome, Outcome::Rejected(Rejection::RequestIdReused));
    assert_eq!(bench.state.outcome_of(&command.request), Some(&first.outcome));
    assert_eq!(bench.state.outcome_of(&request(999)), None);
}

#[test]
fn a_refused_request_stays_refused_when_it_is_sent_again_although_it_would_be_accepted_now() {
    let mut bench = Bench::founded();
    let join = Body::Join { node: node(1), role: JoinRole::Primary { new_shard: shard(1) } };
    let early = bench.command(None, join);
    let refused = bench.apply(&early).outcome;
    bench.done(Body::Register(register(1, 1, None)));
    assert_eq!(bench.apply(&early).outcome, refused);
    assert!(bench.state.topology().shards.is_empty());
}

#[test]
fn before_its_founding_a_group_takes_nothing_and_after_it_no_other_identity() {
    let mut state = State::default();
    let mut bench = Bench::founded();
    let command = bench.command(Some(LEADER), Body::Register(register(1, 1, None)));
    assert_eq!(state.apply(1, LEADER, &command).outcome, Outcome::Rejected(Rejection::NotFounded));
    let group = capstan_proto::ids::GroupId([8; 16]);
    assert!(matches!(bench.refused(Body::Found { group }), Rejection::AlreadyFounded { .. }));
    let group = capstan_proto::ids::GroupId([7; 16]);
    assert_eq!(bench.done(Body::Found { group }), Done::Founded { group });
}

#[test]
fn the_state_has_a_limit_on_everything_that_can_be_sent() {
    let mut bench = Bench::founded();
    for n in 0..NODES_MAX as u32 {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let mut register = register(1, n, None);
        register.node = NodeId(id);
        bench.done(Body::Register(register));
    }
    let why = bench.refused(Body::Register(register(0xff, 1, None)));
    assert!(matches!(why, Rejection::Full { .. }), "{why}");
    bench.done(Body::SetSetting { name: "history-length".into(), value: "100".into() });
    assert_eq!(bench.state.history().len(), 100);
}

#[test]
fn every_refusal_has_a_code_of_its_own_and_says_what_to_do() {
    use capstan_proto::ids::{ConfigEpoch, GroupId, Position, ShardEpoch};
    let life = Bench::cluster().life(1);
    let (node, shard, slot) = (node(1), shard(1), Slot::new(5).expect("a slot"));
    let (epoch, attempt, text) = (ShardEpoch(1), AttemptId(1), "x".to_owned());
    let _ = ConfigEpoch(0);
    let all = [
        Rejection::ForeignLeader { decided: LEADER, committed: OTHER },
        Rejection::LeaderUnnamed { what: text.clone() },
        Rejection::RequestIdReused,
        Rejection::BadBatch { most: 1 },
        Rejection::NotFounded,
        Rejection::AlreadyFounded { group: GroupId([1; 16]) },
        Rejection::TooLong { field: text.clone(), length: 2, most: 1 },
        Rejection::BadField { field: text.clone(), value: text.clone(), want: text.clone() },
        Rejection::Full { what: text.clone(), most: 1 },
        Rejection::UnknownNode { node },
        Rejection::UnknownShard { shard },
        Rejection::StaleIncarnation { node, given: text.clone(), current: life },
        Rejection::MustWait { node, current: life },
        Rejection::NeverRegistered { node, given: life },
        Rejection::NodeDead { node, incarnation: life },
        Rejection::AlreadyMember { node, shard },
        Rejection::NotMember { node, shard },
        Rejection::ShardExists { shard },
        Rejection::StaleEpoch { shard, expected: epoch, current: epoch },
        Rejection::SlotBusy { slot, owner: shard },
        Rejection::SlotTwice { slot },
        Rejection::BadSlots { first: 2, last: 1 },
        Rejection::NoSlots,
        Rejection::IsPrimary { node, shard },
        Rejection::AlreadyPrimary { node, incarnation: life, shard },
        Rejection::NotWhole { node, shard },
        Rejection::BelowFloor { node, shard, position: Position::default(), floor: Position::default() },
        Rejection::CopyLeft { holder: node, shard },
        Rejection::NotFenced { primary: node, shard },
        Rejection::AttemptUnderWay { shard, attempt },
        Rejection::AttemptOver { shard, attempt, last: attempt },
        Rejection::UnknownSetting { name: text.clone() },
        Rejection::BadSetting { name: text.clone(), value: text.clone(), want: text.clone() },
        Rejection::NodeDrained { node },
        Rejection::NoCandidate { shard, why: text },
        Rejection::PrimaryAway { shard, primary: node },
    ];
    let codes: std::collections::BTreeSet<&str> = all.iter().map(Rejection::code).collect();
    assert_eq!(codes.len(), all.len());
    for why in &all {
        assert!(why.to_string().contains(':') && why.to_string().len() > 20, "{why}");
    }
    let _: ShardId = shard;
}
