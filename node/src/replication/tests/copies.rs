//! Whole copies: under load, interrupted, beside other replicas, and without ►21.

use super::pair::*;
use crate::store::{Change, NodeWide};
use capstan_proto::rules::{Rule, Rules};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BACKLOG: u64 = 64 << 20;

/// Changes keys until it is told to stop; says how many changes there were.
fn load(
    core: &Arc<crate::core::NodeCore>,
    stop: &Arc<AtomicBool>,
    keys: u64,
    seed: u64,
) -> tokio::task::JoinHandle<u64> {
    let (core, stop) = (core.clone(), stop.clone());
    tokio::spawn(async move {
        let (mut dice, mut count) = (Dice::of(seed), 0);
        while !stop.load(Ordering::Relaxed) {
            let key = format!("key{}", dice.below(keys));
            let value = dice.below(u64::MAX).to_le_bytes();
            match dice.below(8) {
                0 => apply(&core, key.as_bytes(), Change::Delete),
                1 => apply(&core, key.as_bytes(), Change::Write { offset: 5, bytes: &value }),
                _ => set(&core, &key, &value),
            }
            count += 1;
            if count % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
        count
    })
}

fn fill(core: &crate::core::NodeCore, keys: u32) {
    (0..keys).for_each(|n| set(core, &format!("key{n}"), &[n as u8; 32]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_copy_of_200_000_keys_under_load_equals_the_data() {
    let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    fill(shard.core(1), 200_000);
    // The copy that was begun on the empty data is forgotten: this replica has nothing.
    shard.core(2).log.start_over(Default::default(), Vec::new());
    let stop = Arc::new(AtomicBool::new(false));
    let writing = load(shard.core(1), &stop, 220_000, Dice::cast().below(u64::MAX));
    shard.promote(1, 2).await;
    let replica = shard.core(2).clone();
    until("the copy is in force", || replica.report.told().whole_of.is_some_and(|w| w.epoch.0 == 2)).await;
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.expect("no panic") > 1000, "there was no load");
    shard.level(1, 2).await;
    assert_equal(shard.core(1), shard.core(2));
    assert!(contents(shard.core(2)).len() > 150_000);
    shard.stop().await;
}

/// Copies often enough under load that a wrong copy is seen; says whether one was.
async fn some_copy_differs(rules: Rules, tries: u32) -> bool {
    let mut dice = Dice::cast();
    for _ in 0..tries {
        let mut shard = Shard::start(1, BACKLOG, rules).await;
        let receiver = shard.nodes[1].receiver.take().expect("it follows");
        receiver.stop_and_join().await;
        fill(shard.core(1), 3000);
        shard.core(2).log.start_over(Default::default(), Vec::new());
        let stop = Arc::new(AtomicBool::new(false));
        let writing = load(shard.core(1), &stop, 3000, dice.below(u64::MAX));
        shard.promote(1, 2).await;
        let replica = shard.core(2).clone();
        until("the copy is in force", || replica.report.told().whole_of.is_some_and(|w| w.epoch.0 == 2))
            .await;
        stop.store(true, Ordering::Relaxed);
        writing.await.expect("no panic");
        shard.level(1, 2).await;
        let differs = first_difference(&contents(shard.core(1)), &contents(shard.core(2))).is_some();
        shard.stop().await;
        if differs {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_under_the_hold_make_every_copy_right() {
    assert!(!some_copy_differs(Rules::ALL, 3).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(debug_assertions)]
async fn without_markers_that_begin_the_copy_a_copy_is_wrong() {
    // ►21 off: markers are written after what they mark.
    assert!(some_copy_differs(Rules::ALL.without(Rule::MarkerBeginsCopy), 20).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_copy_starts_over_and_the_old_data_answers_meanwhile() {
    let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    set(shard.core(1), "of old", b"value");
    shard.level(1, 2).await;
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    fill(shard.core(1), 60_000);
    shard.core(2).log.start_over(Default::default(), Vec::new());
    shard.promote(1, 2).await;
    let replica = shard.core(2).clone();
    for _ in 0..3 {
        until("a copy is under way", || {
            replica.replication.link().copying.is_some_and(|copy| copy.keys > 0) || is_whole(&replica)
        })
        .await;
        if !is_whole(&replica) {
            assert_eq!(contents(&replica).len(), 1, "a half copy is seen");
        }
        shard.net.cut();
    }
    shard.level(1, 2).await;
    assert_equal(shard.core(1), &replica);
    shard.stop().await;
}

fn is_whole(core: &crate::core::NodeCore) -> bool {
    core.report.told().whole_of.is_some_and(|whole| whole.epoch.0 == 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_for_one_replica_disturbs_no_other_and_a_flush_in_the_middle_is_a_flush() {
    let mut shard = Shard::start(2, BACKLOG, Rules::ALL).await;
    fill(shard.core(1), 30_000);
    shard.level(1, 2).await;
    shard.level(1, 3).await;
    let receiver = shard.nodes[2].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    shard.core(3).log.start_over(Default::default(), Vec::new());
    shard.promote(1, 2).await;
    let third = shard.core(3).clone();
    until("a copy is under way", || {
        third.replication.link().copying.is_some_and(|copy| copy.keys > 0) || is_whole(&third)
    })
    .await;
    let core = shard.core(1).clone();
    tokio::task::spawn_blocking(move || {
        core.lanes.apply_node_wide(NodeWide::FlushAll);
        (0..500).for_each(|n| set(&core, &format!("after{n}"), b"the flush"));
    })
    .await
    .expect("no panic");
    for replica in [2, 3] {
        shard.level(1, replica).await;
        assert_equal(shard.core(1), shard.core(replica));
        assert_eq!(contents(shard.core(replica)).len(), 500);
    }
    shard.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_larger_than_a_hold_is_copied_in_parts_while_it_changes() {
    let mut shard = Shard::start(1, BACKLOG, Rules::ALL).await;
    let receiver = shard.nodes[1].receiver.take().expect("it follows");
    receiver.stop_and_join().await;
    set(shard.core(1), "large", &vec![1; 6 << 20]);
    shard.core(2).log.start_over(Default::default(), Vec::new());
    let (core, stop) = (shard.core(1).clone(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let writing = tokio::spawn(async move {
        let mut dice = Dice::of(5);
        while !stopped.load(Ordering::Relaxed) {
            let offset = dice.below(7 << 20) as u32;
            let bytes = dice.below(u64::MAX).to_le_bytes();
            apply(&core, b"large", Change::Write { offset, bytes: &bytes });
            tokio::task::yield_now().await;
        }
    });
    shard.promote(1, 2).await;
    let replica = shard.core(2).clone();
    until("the copy is in force", || is_whole(&replica)).await;
    stop.store(true, Ordering::Relaxed);
    writing.await.expect("no panic");
    shard.level(1, 2).await;
    assert_equal(shard.core(1), shard.core(2));
    shard.stop().await;
}
