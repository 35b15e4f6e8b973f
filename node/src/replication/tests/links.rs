//! The live stream: cuts, continuation, promotions, and who is served.

use super::super::admission::judge;
use super::super::wire::{Hello, Refusal};
use super::pair::*;
use crate::cluster::view::{Standing, View};
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{GroupId, Position, ShardEpoch, ShardId};
use capstan_proto::rules::Rules;
use capstan_proto::topology::Row;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const BACKLOG: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_under_random_writes_and_cuts_ends_up_equal_and_its_log_is_a_prefix() {
    let shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    let mut dice = Dice::cast();
    for _ in 0..12 {
        let (core, rounds) = (shard.core(1).clone(), 200 + dice.below(3000));
        let mut own = Dice::of(dice.below(u64::MAX));
        let writing = tokio::task::spawn_blocking(move || {
            (0..rounds).for_each(|_| change(&core, &mut own, 500));
        });
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
        shard.net.cut();
        writing.await.expect("no panic");
    }
    shard.level(1, 2).await;
    let (primary, replica) = (shard.core(1), shard.core(2));
    assert_equal(primary, replica);
    let (first, _) = replica.log.held();
    let behind = Position { batch: capstan_proto::ids::BatchNumber(first.max(2) - 1), epoch: ShardEpoch(1) };
    let theirs = replica.log.read_after(behind, usize::MAX).expect("held");
    let ours = primary.log.read_after(behind, usize::MAX).expect("held");
    assert!(!theirs.is_empty() && theirs == ours, "the replica's log is not the primary's");
    assert!(shard.net.made.load(Relaxed) > 1, "no link was cut: this test tests nothing");
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_applies_large_batches_with_all_its_workers_ends_up_equal() {
    let shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    shard.level(1, 2).await;
    let mut dice = Dice::cast();
    let writers: Vec<_> = (0..3u8)
        .map(|writer| {
            let (core, mut own) = (shard.core(1).clone(), Dice::of(dice.below(u64::MAX)));
            tokio::task::spawn_blocking(move || {
                for turn in 0..100u8 {
                    // Alone more than two parts of a batch; what follows is spread over the lanes.
                    set(&core, &format!("large{}", turn % 40), &[writer ^ turn; 70_000]);
                    (0..50).for_each(|_| change(&core, &mut own, 500));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    shard.level(1, 2).await;
    assert_equal(shard.core(1), shard.core(2));
    assert_eq!(shard.core(1).log.last(), shard.core(2).log.last());
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_goes_on_from_its_position_and_is_not_copied_again() {
    let shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    (0..1000).for_each(|n| set(shard.core(1), &format!("key{n}"), b"first"));
    shard.level(1, 2).await;
    assert_eq!(shard.core(1).replication.copies.load(Relaxed), 1);
    for round in 1..=3 {
        shard.net.cut();
        (0..1000).for_each(|n| set(shard.core(1), &format!("key{n}"), format!("{round}").as_bytes()));
        shard.level(1, 2).await;
        assert_equal(shard.core(1), shard.core(2));
    }
    let replication = &shard.core(1).replication;
    assert_eq!(replication.copies.load(Relaxed), 1);
    assert!(replication.continued.load(Relaxed) >= 3);
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_falls_out_of_the_log_is_copied_anew_and_answers_from_the_old_data_meanwhile() {
    let mut shard = Shard::start(1, 64 * 1024, Rules::ALL).await;
    set(shard.core(1), "key", b"old");
    shard.level(1, 2).await;
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    (0..3000).for_each(|n| set(shard.core(1), &format!("key{n}"), &[7; 100]));
    until("the log is trimmed", || shard.core(1).log.held().0 > 10).await;
    assert_eq!(contents(shard.core(2)).len(), 1, "the old data is not there any more");
    shard.promote(1, 2).await;
    shard.level(1, 2).await;
    assert_equal(shard.core(1), shard.core(2));
    assert_eq!(shard.core(1).replication.copies.load(Relaxed), 2);
    assert_eq!(shard.core(1).replication.refused_positions.load(Relaxed), 1);
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_goes_on_and_the_old_primary_with_a_tail_is_copied_whole() {
    let mut shard = Shard::start(2, BACKLOG, Rules::ALL).await;
    (0..500).for_each(|n| set(shard.core(1), &format!("key{n}"), b"epoch 1"));
    shard.level(1, 2).await;
    shard.level(1, 3).await;
    // The replicas are gone; what the primary writes now nobody else has.
    for at in [1, 2] {
        let receiver = shard.nodes[at].receiver.take().expect("it follows");
        receiver.stop_and_join().await;
    }
    set(shard.core(1), "tail", b"lost with the failover");
    until("the tail is in the log", || shard.core(1).log.last() > shard.core(2).log.last()).await;
    shard.promote(2, 2).await;
    set(shard.core(2), "key1", b"epoch 2");
    shard.level(2, 1).await;
    shard.level(2, 3).await;
    assert_equal(shard.core(2), shard.core(1));
    assert_equal(shard.core(2), shard.core(3));
    assert!(!contents(shard.core(1)).contains_key(&(0, b"tail".to_vec())));
    let replication = &shard.core(2).replication;
    assert_eq!(replication.copies.load(Relaxed), 1, "only the one with the tail is copied");
    assert_eq!(replication.continued.load(Relaxed), 1, "the other goes on");
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_stopped_has_applied_everything_that_was_acknowledged() {
    for _ in 0..10 {
        let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
        shard.level(1, 2).await;
        let core = shard.core(1).clone();
        let writing = tokio::task::spawn_blocking(move || {
            (0..20_000).for_each(|n| set(&core, &format!("key{n}"), &[7; 50]));
        });
        until("something has been acknowledged", || {
            shard.core(1).log.followers().iter().any(|follower| follower.acked > 3)
        })
        .await;
        let receiver = shard.nodes[1].receiver.take().expect("it follows");
        receiver.stop_and_join().await;
        let acked = shard.core(1).log.followers().iter().map(|follower| follower.acked).max();
        let last = shard.core(2).log.last();
        assert!(acked.is_none_or(|acked| acked <= last.batch.0), "{acked:?} acknowledged, {last} there");
        // Its data is exactly what its log says: nothing is applied any more.
        let before = contents(shard.core(2));
        writing.await.expect("no panic");
        assert_eq!(shard.core(2).log.last(), last);
        assert!(contents(shard.core(2)) == before);
        shard.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_reach_the_newest_batch_and_the_clock_comes_back() {
    let shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    shard.core(1).serving.set_until(capstan_proto::env::Boot(u64::MAX));
    set(shard.core(1), "key", b"value");
    shard.level(1, 2).await;
    let last = shard.core(1).log.last().batch.0;
    until("everything is acknowledged", || shard.core(1).log.count_acked(last) == 1).await;
    until("the clock came back", || super::super::standing::lag(shard.core(2)).is_some()).await;
    let info = crate::info::replication::ReplicationFacts::collect(shard.core(2));
    assert_eq!((info.link_state(), info.offset), ("connected", last));
    let info = crate::info::replication::ReplicationFacts::collect(shard.core(1));
    assert_eq!(info.followers.len(), 1);
    assert_eq!((info.followers[0].offset, info.followers[0].copying), (last, false));
    shard.net.cut();
    shard.stop().await;
}

fn hello() -> Hello {
    Hello {
        group: GROUP,
        shard: SHARD,
        node: node(2),
        incarnation: life(2),
        epoch: ShardEpoch(1),
        position: None,
        starts: Vec::new(),
    }
}

#[tokio::test]
async fn only_a_replica_of_this_shard_in_its_present_life_is_served_and_only_by_the_primary() {
    let shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    let seen_by = |byte: u8, topology| {
        View::new(Arc::new(topology), node(byte), Some(life(byte)), Standing::Live, UnixMs(0))
    };
    let view = seen_by(1, shard.topology.clone());
    let good = judge(&hello(), &view);
    assert!(good.is_ok(), "{good:?}");
    let stranger = Hello { node: node(9), ..hello() };
    assert_eq!(judge(&stranger, &view), Err(Refusal::NoReplica));
    let of_old = Hello { incarnation: life(3), ..hello() };
    assert_eq!(judge(&of_old, &view), Err(Refusal::NoReplica));
    let primary_itself = Hello { node: node(1), incarnation: life(1), ..hello() };
    assert_eq!(judge(&primary_itself, &view), Err(Refusal::NoReplica));
    for epoch in [0, 2] {
        let other = Hello { epoch: ShardEpoch(epoch), ..hello() };
        assert_eq!(judge(&other, &view), Err(Refusal::OtherEpoch));
    }
    let foreign = Hello { group: GroupId([8; 16]), ..hello() };
    assert_eq!(judge(&foreign, &view), Err(Refusal::OtherGroup));
    let elsewhere = Hello { shard: ShardId([1; 20]), ..hello() };
    assert_eq!(judge(&elsewhere, &view), Err(Refusal::NotPrimary));
    assert_eq!(judge(&hello(), &seen_by(2, shard.topology.clone())), Err(Refusal::NotPrimary));
    let mut topology = shard.topology.clone();
    let mut row = topology.nodes[&node(2)].clone();
    row.dead = true;
    topology.set(Row::Node(row));
    assert_eq!(judge(&hello(), &seen_by(1, topology)), Err(Refusal::NoReplica));
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_an_older_epoch_is_not_followed_and_its_replica_is_not_counted() {
    let mut shard = Shard::start(2, BACKLOG, Rules::ALL).await;
    set(shard.core(1), "key", b"value");
    shard.level(1, 2).await;
    shard.level(1, 3).await;
    shard.promote(2, 2).await;
    shard.level(2, 3).await;
    // Node 1 was not told the truth of epoch 2 by its own log; whoever still knows epoch 1 only is refused by node 2.
    let view = shard.core(2).view.load_full();
    let late = Hello { node: node(3), incarnation: life(3), ..hello() };
    assert_eq!(judge(&late, &view), Err(Refusal::OtherEpoch));
    until("the old primary has no followers", || shard.core(1).log.followers().is_empty()).await;
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hears_of_a_promotion_first_is_taken_in_when_its_primary_hears_of_it() {
    let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    set(shard.core(1), "key", b"value");
    shard.level(1, 2).await;
    shard.decide(2, 2);
    // It dials nobody any more, and still knows the old state only.
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    shard.hear(1, 2, 2).await;
    let made = shard.net.made.load(Relaxed);
    shard.follow(1, 2, 2);
    until("node 1 dials", || shard.net.made.load(Relaxed) > made).await;
    // A refusal would come at once, and a second try after the first pause.
    tokio::time::sleep(Duration::from_millis(60)).await;
    shard.hear(2, 2, 2).await;
    shard.level(2, 1).await;
    assert_eq!(shard.net.made.load(Relaxed), made + 1, "it was refused");
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_positions_of_another_shard_mean_nothing() {
    let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    set(shard.core(1), "key", b"value");
    shard.level(1, 2).await;
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    let core = shard.core(2);
    // By chance both shards can have a batch of this epoch and number.
    assert_ne!(core.log.last(), Position::default());
    let elsewhere = super::super::Receiver::start(core, ShardId([0xb2; 20]), node(1), ShardEpoch(1));
    assert_eq!((core.log.last(), core.report.told().whole_of), (Position::default(), None));
    elsewhere.stop_and_join().await;
    shard.stop().await;
}
