//! ►13: whose life ends whose, and how a node comes back.

use super::builders::{Bench, LEADER, node, place, register, shard, token};
use crate::state::{
    Body, Consent, Done, Fence, JoinRole, LeaseOver, NodeUpdate, Outcome, Register, Rejection, Switches,
};
use capstan_proto::rules::{Rule, Rules};
use capstan_proto::topology::ProcessPlace;

#[test]
fn a_registration_sent_again_gets_the_same_incarnation() {
    let mut bench = Bench::founded();
    let first = bench.done(Body::Register(register(1, 1, None)));
    let again = bench.done(Body::Register(register(1, 1, None)));
    assert_eq!(first, again);
    assert_eq!(bench.life(1).counter, 1);
    assert_eq!(bench.state.history().len(), 2, "founding and one registration");
}

#[test]
fn a_next_life_on_the_same_folder_in_the_same_boot_proves_the_end_of_the_last() {
    let mut bench = Bench::founded();
    bench.done(Body::Register(register(1, 1, None)));
    let last = bench.life(1);
    bench.done(Body::Register(register(1, 2, Some(last))));
    assert_eq!((bench.life(1).counter, bench.life(1).token), (2, token(2)));
}

#[test]
fn a_life_elsewhere_must_wait_until_its_death_is_committed_or_its_leader_says_that_the_lease_is_over() {
    let elsewhere = |last| Register { place: place(99), ..register(1, 2, Some(last)) };
    let mut bench = Bench::founded();
    bench.done(Body::Register(register(1, 1, None)));
    let last = bench.life(1);
    let why = bench.refused(Body::Register(elsewhere(last)));
    assert_eq!(why, Rejection::MustWait { node: node(1), current: last });

    let over = Some(LeaseOver { incarnation: last, evidence: "silent for 6 s".into() });
    let unnamed =
        bench.command(None, Body::Register(Register { lease_over: over.clone(), ..elsewhere(last) }));
    let outcome = bench.apply(&unnamed).outcome;
    assert!(matches!(outcome, Outcome::Rejected(Rejection::LeaderUnnamed { .. })), "►2: {outcome:?}");
    bench.done(Body::Register(Register { lease_over: over, ..elsewhere(last) }));
    assert_eq!(bench.life(1).counter, 2);
    let event = bench.state.history().iter().next_back().expect("an event");
    assert!(event.evidence.contains("silent for 6 s"), "{event:?}");

    let last = bench.life(1);
    bench.done(Body::Dead { node: node(1), token: last.token });
    bench.done(Body::Register(Register { place: place(7), ..register(1, 3, Some(last)) }));
    assert_eq!(bench.life(1).counter, 3);
}

#[test]
fn after_a_reboot_or_on_a_machine_without_an_id_the_folder_proves_nothing() {
    for place in [
        ProcessPlace { boot: "boot-2".into(), ..place(1) },
        ProcessPlace { machine: String::new(), ..place(1) },
        ProcessPlace { pid_namespace: 5, ..place(1) },
        ProcessPlace { folder: (1, 2), ..place(1) },
    ] {
        let mut bench = Bench::founded();
        bench.done(Body::Register(register(1, 1, None)));
        let last = bench.life(1);
        let why = bench.refused(Body::Register(Register { place, ..register(1, 2, Some(last)) }));
        assert!(matches!(why, Rejection::MustWait { .. }), "{why}");
    }
}

#[test]
fn a_registration_delayed_past_the_next_life_is_refused_and_proves_nobody_dead() {
    let mut bench = Bench::cluster();
    let first = bench.life(4);
    bench.done(Body::Register(register(4, 40, Some(first))));
    let mut promote = super::builders::promotion(&bench.state, shard(2), node(4));
    promote.fence = Fence::ProvenDead;
    promote.consent = Consent::NoCopyLeft;
    bench.done(Body::Promote(promote));
    bench.done(Body::Join { node: node(5), role: JoinRole::Replica { shard: shard(2) } });
    bench.whole(5);

    // All from the very folder, whose lock proves an end only to the life that follows the present one.
    let over = |incarnation| Some(LeaseOver { incarnation, evidence: "silent for 6 s".into() });
    let delayed = [
        register(4, 4, None),
        register(4, 41, None),
        register(4, 41, Some(first)),
        Register { lease_over: over(first), ..register(4, 41, Some(first)) },
        Register { lease_over: over(bench.life(4)), ..register(4, 41, Some(first)) },
    ];
    let switches = Switches { rules: Rules::ALL.without(Rule::DeathNeedsProof), ..Switches::default() };
    for registration in delayed {
        let why = bench.refused(Body::Register(registration.clone()));
        assert!(matches!(why, Rejection::StaleIncarnation { .. }), "{why}");
        // The comparison with the present life stands in the way even where nothing has to be proved.
        let command = bench.command(Some(LEADER), Body::Register(registration));
        let outcome = bench.state.clone().apply_with(switches, bench.index, LEADER, &command).outcome;
        assert!(matches!(outcome, Outcome::Rejected(Rejection::StaleIncarnation { .. })), "{outcome:?}");
    }
    assert!(!bench.state.topology().nodes[&node(4)].dead);
    let mut promote = super::builders::promotion(&bench.state, shard(2), node(5));
    promote.fence = Fence::ProvenDead;
    let why = bench.refused(Body::Promote(promote));
    assert!(matches!(why, Rejection::NotFenced { .. }), "I4: {why}");
}

#[test]
fn a_death_ends_only_the_life_that_it_names() {
    let mut bench = Bench::founded();
    bench.done(Body::Register(register(1, 1, None)));
    let first = bench.life(1);
    bench.done(Body::Register(register(1, 2, Some(first))));
    let why = bench.refused(Body::Dead { node: node(1), token: first.token });
    assert!(matches!(why, Rejection::StaleIncarnation { .. }), "{why}");
    assert!(!bench.state.topology().nodes[&node(1)].dead);
    bench.done(Body::Dead { node: node(1), token: token(2) });
    bench.done(Body::Dead { node: node(1), token: token(2) });
    let why = bench.refused(Body::Register(register(1, 2, Some(first))));
    assert!(matches!(why, Rejection::NodeDead { .. }), "a proved death is for ever: {why}");
}

#[test]
fn a_node_that_lived_under_another_group_is_refused() {
    let mut bench = Bench::founded();
    bench.done(Body::Register(register(1, 1, None)));
    let foreign = bench.life(1);
    let why = bench.refused(Body::Register(register(2, 1, Some(foreign))));
    assert!(matches!(why, Rejection::NeverRegistered { .. }), "{why}");
}

#[test]
fn a_restarted_primary_without_copies_serves_only_after_a_promotion_that_records_the_loss() {
    let mut bench = Bench::cluster();
    let last = bench.life(4);
    bench.done(Body::Register(register(4, 40, Some(last))));
    let row = bench.state.topology().shards[&shard(2)].clone();
    assert_ne!(row.incarnation, bench.life(4), "the shard still belongs to the life that ended");
    assert!(!bench.state.topology().nodes[&node(4)].whole);

    let mut promote = super::builders::promotion(&bench.state, shard(2), node(4));
    promote.fence = Fence::ProvenDead;
    let why = bench.refused(Body::Promote(promote.clone()));
    assert!(matches!(why, Rejection::NotWhole { .. }), "►3: {why}");
    promote.consent = Consent::NoCopyLeft;
    bench.done(Body::Promote(promote));
    let after = &bench.state.topology().shards[&shard(2)];
    assert_eq!((after.epoch.0, after.incarnation), (row.epoch.0 + 1, bench.life(4)));
    let event = bench.state.history().iter().next_back().expect("an event");
    assert!(event.what.contains("data lost"), "{event:?}");
}

#[test]
fn a_new_life_of_a_replica_is_whole_only_once_it_says_so_of_its_shard_and_epoch() {
    let mut bench = Bench::cluster();
    let last = bench.life(2);
    bench.done(Body::Register(register(2, 20, Some(last))));
    assert!(!bench.state.topology().nodes[&node(2)].whole);
    let epoch = bench.epoch(1);
    let says = |incarnation, what| Body::Update { node: node(2), incarnation, what };
    let whole = |shard, epoch| NodeUpdate::Whole { shard, epoch };
    let why = bench.refused(says(last, whole(shard(1), epoch)));
    assert!(matches!(why, Rejection::StaleIncarnation { .. }), "{why}");
    let now = bench.life(2);
    let why = bench.refused(says(now, whole(shard(2), epoch)));
    assert!(matches!(why, Rejection::NotMember { .. }), "{why}");
    let why = bench.refused(says(now, whole(shard(1), epoch.next())));
    assert!(matches!(why, Rejection::StaleEpoch { .. }), "{why}");
    assert_eq!(bench.done(says(now, whole(shard(1), epoch))), Done::Updated);
    assert!(bench.state.topology().nodes[&node(2)].whole);
}

#[test]
fn texts_that_would_break_cluster_nodes_or_have_no_end_are_refused() {
    let mut bench = Bench::founded();
    for ip in ["1.2.3.4 master", "a,b", "a@b", "a\nb", &"x".repeat(300)] {
        let mut register = register(1, 1, None);
        register.addresses.ip = ip.to_owned();
        let why = bench.refused(Body::Register(register));
        assert!(matches!(why, Rejection::BadField { .. } | Rejection::TooLong { .. }), "{ip}: {why}");
    }
    let mut command = bench.command(Some(LEADER), Body::Register(register(1, 1, None)));
    command.author = "x".repeat(10_000);
    assert!(matches!(bench.apply(&command).outcome, Outcome::Rejected(Rejection::TooLong { .. })));
}
