//! The log against the rules that it lives by: exact tags, prefixes, one history, positions that only grow.

use super::*;
use crate::store::log::{Order, take_logged};
use crate::store::{Change, Effect, NodeWide};
use capstan_proto::env::{RealClock, UnixMs};
use capstan_proto::rules::Rule;
use capstan_proto::slot::Slot as HashSlot;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const BUDGET: usize = 1 << 28;

fn log_with(lanes: usize, order: Order, rules: Rules) -> (Arc<Lanes>, Arc<Log>) {
    let lanes = Arc::new(Lanes::with_order(lanes, 1, 7, order));
    let log = Arc::new(Log::new(lanes.clone(), Arc::new(RealClock), rules, BUDGET));
    (lanes, log)
}

/// The log of a primary with a replica.
pub(super) fn primary(lanes: usize) -> (Arc<Lanes>, Arc<Log>) {
    let (lanes, log) = log_with(lanes, Order::default(), Rules::ALL);
    log.open_epoch(ShardEpoch(1));
    log.set_wanted(Wanted::Yes);
    (lanes, log)
}

/// Writes a key as a command would; says which batch it belongs to.
pub(super) fn write(lanes: &Lanes, key: &[u8], value: &[u8]) -> u64 {
    let slot = HashSlot::of_key(key);
    let mut lane = lanes.lock(lanes.of(slot));
    lane.apply(&Effect { slot, db: 0, key, change: Change::Set { value, expires: None } });
    lane.pending_log().tag()
}

pub(super) fn frames(log: &Log) -> Vec<Frame> {
    log.read_after(Position::default(), usize::MAX).expect("the log is held from its first batch")
}

fn content(lanes: &Lanes) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut content = BTreeMap::new();
    for number in 0..lanes.count() {
        let lane = lanes.lock(number);
        for entry in lane.slots().flat_map(|(_, slot)| slot.entries()) {
            content.insert(entry.key().to_vec(), entry.value().to_vec());
        }
    }
    content
}

/// What a replica makes of frames.
fn replay(frames: &[Frame]) -> Lanes {
    let copy = Lanes::new(16, 1, 3);
    for frame in frames {
        match frame.kind() {
            Kind::Effects => {
                for effect in frame.entries() {
                    let effect = effect.expect("was sealed here");
                    copy.lock(copy.of(effect.slot)).apply(&effect);
                }
            }
            Kind::NodeWide => copy.apply_node_wide(frame.whole_node_change().expect("was sealed here")),
            Kind::EpochOpened => {}
        }
    }
    copy
}

/// A thread's own random numbers: which lanes meet is all that matters.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Stops the writers, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// One write: when it began and ended on a clock that all threads share, and its tag.
struct Write {
    began: u64,
    ended: u64,
    tag: u64,
}

/// Writers on all lanes while this thread drains; what they wrote, by key.
fn race(lanes: &Lanes, log: &Log, writers: u64, each: u64) -> BTreeMap<Vec<u8>, Write> {
    let (clock, left) = (AtomicU64::new(0), AtomicU64::new(writers));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let handles: Vec<_> = (0..writers)
            .map(|writer| {
                let (clock, left, stop) = (&clock, &left, &stop);
                scope.spawn(move || {
                    let mut seed = writer;
                    let mut done = Vec::new();
                    for i in 0..each {
                        if stop.load(Relaxed) {
                            break;
                        }
                        let key = format!("{}:{writer}:{i}", next(&mut seed)).into_bytes();
                        let began = clock.fetch_add(1, SeqCst);
                        let tag = write(lanes, &key, b"v");
                        done.push((key, Write { began, ended: clock.fetch_add(1, SeqCst), tag }));
                        // However the threads are scheduled, batches end in the middle of what each of them does.
                        while i % 200 == 199 && log.lanes.tagging().open() == tag && !stop.load(Relaxed) {
                            thread::yield_now();
                        }
                    }
                    left.fetch_sub(1, SeqCst);
                    done
                })
            })
            .collect();
        while left.load(SeqCst) > 0 {
            assert_eq!(log.drain(), Drained::All);
        }
        let done = handles.into_iter().flat_map(|handle| handle.join().expect("a writer")).collect();
        assert_eq!(log.drain(), Drained::All);
        done
    })
}

#[test]
fn each_batch_holds_exactly_what_was_tagged_for_it_and_is_a_prefix_of_what_was_executed() {
    for lanes in [4, 64] {
        let (lanes, log) = primary(lanes);
        let writes = race(&lanes, &log, 4, 20_000);
        let mut logged = BTreeMap::new();
        for frame in frames(&log) {
            for effect in frame.entries() {
                logged.insert(effect.expect("sealed here").key.to_vec(), frame.number());
            }
        }
        assert_eq!(logged.len(), writes.len(), "every write once");
        for (key, write) in &writes {
            assert_eq!(logged.get(key), Some(&write.tag), "{}", key.escape_ascii());
        }
        // Whoever began after another had ended is in the same batch or a later one.
        let mut ends: Vec<_> = writes.values().map(|write| (write.ended, write.tag)).collect();
        let mut begins: Vec<_> = writes.values().map(|write| (write.began, write.tag)).collect();
        ends.sort_unstable();
        begins.sort_unstable();
        let (mut newest, mut ended) = (0, ends.iter().peekable());
        for (began, tag) in begins {
            while let Some((_, before)) = ended.next_if(|(end, _)| *end < began) {
                newest = newest.max(*before);
            }
            assert!(tag >= newest, "a write of batch {tag} began after one of batch {newest} had ended");
        }
        let batches = log.last().batch.0;
        assert!(batches >= 100, "{batches} batches: the drains did not meet the writers");
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "an entry missed its batch")]
fn a_number_that_is_read_before_the_dirty_bit_is_set_lets_entries_miss_their_batch() {
    let (lanes, log) = log_with(4, Order::NumberFirst, Rules::ALL);
    log.open_epoch(ShardEpoch(1));
    log.set_wanted(Wanted::Yes);
    for _ in 0..100 {
        race(&lanes, &log, 4, 20_000);
    }
}

#[test]
fn a_replay_of_the_log_is_the_data_also_when_the_whole_node_was_flushed_in_the_middle_of_drains() {
    let (lanes, log) = primary(16);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let handles: Vec<_> = (0..3u64)
            .map(|writer| {
                let (lanes, stop) = (&lanes, &stop);
                scope.spawn(move || {
                    let mut seed = writer;
                    for i in 0..15_000u64 {
                        if stop.load(Relaxed) {
                            return;
                        }
                        let key = (next(&mut seed) % 300).to_string();
                        write(lanes, key.as_bytes(), &i.to_le_bytes());
                        if i % 500 == 250 {
                            // Twice in a row, with writes between: numbers are given to both.
                            lanes.apply_node_wide(NodeWide::FlushAll);
                            write(lanes, b"between", b"");
                            lanes.apply_node_wide(NodeWide::FlushDb(0));
                        }
                    }
                })
            })
            .collect();
        while handles.iter().any(|handle| !handle.is_finished()) {
            log.drain();
        }
    });
    assert_eq!(log.drain(), Drained::All);
    let frames = frames(&log);
    assert_eq!(frames.iter().filter(|frame| frame.kind() == Kind::NodeWide).count(), 180);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(frame.number(), i as u64 + 1);
        assert_eq!(Frame::parse(frame.bytes().clone()).as_ref(), Ok(frame));
    }
    assert!(!content(&lanes).is_empty());
    assert_eq!(content(&replay(&frames)), content(&lanes));
}

#[test]
fn what_is_recorded_while_a_lane_is_held_is_one_batch_and_the_next_hold_begins_another() {
    let (lanes, log) = primary(1);
    let effect = |key: &'static [u8]| Effect {
        slot: HashSlot::of_key(key),
        db: 0,
        key,
        change: Change::Set { value: b"", expires: Some(UnixMs(5)) },
    };
    let mut held = lanes.lock_long(0);
    held.apply(&effect(b"a"));
    let tag = held.pending_log().tag();
    // The drain cannot have the lane: it neither blocks nor seals the batch without it.
    assert_eq!(log.drain(), Drained::Waiting(crate::store::Busy { lane: 0 }));
    held.apply(&effect(b"b"));
    assert_eq!((held.pending_log().tag(), log.last().batch.0), (tag, tag - 1));
    take_logged();
    drop(held);
    assert_eq!(take_logged(), tag, "what the replies of this thread wait for");
    assert!(write(&lanes, b"c", b"") > tag);
    assert_eq!(log.drain(), Drained::All);
    let of_batch = |n: u64| frames(&log)[n as usize - 1].entries().count();
    assert_eq!((of_batch(tag), of_batch(tag + 1)), (2, 1));
    assert!(log.is_sent(tag + 1) && !log.is_sent(tag + 2));
}

#[test]
fn nothing_is_kept_while_nobody_wants_a_log_and_nothing_to_drain_makes_no_batch() {
    let (lanes, log) = log_with(4, Order::default(), Rules::ALL);
    log.open_epoch(ShardEpoch(1));
    let last = log.last();
    assert_eq!(write(&lanes, b"a", b""), 0);
    assert_eq!((log.drain(), log.last()), (Drained::All, last));
}

#[test]
fn a_value_of_many_megabytes_is_a_batch_like_any_other() {
    let (lanes, log) = primary(4);
    let big = vec![7; 5 << 20];
    write(&lanes, b"big", &big);
    write(&lanes, b"small", b"1");
    assert_eq!(log.drain(), Drained::All);
    assert_eq!(content(&replay(&frames(&log))), content(&lanes));
}

/// ►12 Without the batch that opens an epoch, the longer tail of the primary before outranks the new primary's log.
#[test]
fn a_new_primary_stands_above_every_tail_of_the_epochs_before_it_because_it_opens_its_epoch_with_a_batch() {
    let above = |rules: Rules| {
        let (lanes, old) = log_with(4, Order::default(), rules);
        old.open_epoch(ShardEpoch(1));
        old.set_wanted(Wanted::Yes);
        for i in 0..3u8 {
            write(&lanes, &[i], b"");
            old.drain();
        }
        let (_, promoted) = log_with(4, Order::default(), rules);
        // Its replica has received all but the last batch when the old primary dies.
        let received = frames(&old);
        received[..received.len() - 1]
            .iter()
            .for_each(|frame| promoted.append_received(frame).expect("in order"));
        promoted.open_epoch(ShardEpoch(2));
        promoted.set_wanted(Wanted::Yes);
        assert!(!promoted.continues(old.last()), "the tail is no prefix");
        assert_eq!(
            promoted.last().batch.0,
            received.len() as u64 - u64::from(!rules.on(Rule::EpochOpensWithBatch))
        );
        promoted.last() > old.last()
    };
    assert!(above(Rules::ALL));
    assert!(!above(Rules::ALL.without(Rule::EpochOpensWithBatch)), "the rule is what this rests on");
}

#[test]
fn a_promoted_replica_goes_on_where_the_log_it_received_ends() {
    let (lanes, old) = primary(4);
    write(&lanes, b"a", b"1");
    old.drain();
    let (mine, log) = log_with(4, Order::default(), Rules::ALL);
    for frame in frames(&old) {
        log.append_received(&frame).expect("in order");
    }
    assert!(log.append_received(&frames(&old)[0]).is_err(), "I6: a number is there once");
    log.open_epoch(ShardEpoch(5));
    log.set_wanted(Wanted::Yes);
    let tag = write(&mine, b"b", b"2");
    assert_eq!(tag, old.last().batch.0 + 2);
    log.drain();
    assert_eq!(log.last(), Position { epoch: ShardEpoch(5), batch: BatchNumber(tag) });
    assert_eq!(log.read_after(old.last(), usize::MAX).expect("a prefix").len(), 2);
    let firsts: Vec<_> = log.epochs().iter().map(|start| (start.epoch.0, start.first.0)).collect();
    assert_eq!(firsts, [(1, 1), (5, 3)]);
}

#[test]
fn a_former_primary_that_was_copied_anew_goes_on_where_the_copy_ends() {
    let (lanes, log) = primary(4);
    for i in 0..20u8 {
        write(&lanes, &[i], b"");
        log.drain();
    }
    log.step_down();
    // The new primary's log is shorter: the tail is lost.
    let opened = EpochStart { epoch: ShardEpoch(2), first: BatchNumber(8) };
    let copied = Position { epoch: ShardEpoch(2), batch: BatchNumber(9) };
    log.start_over(copied, vec![EpochStart { epoch: ShardEpoch(1), first: BatchNumber(1) }, opened]);
    log.open_epoch(ShardEpoch(3));
    log.set_wanted(Wanted::Yes);
    assert_eq!(write(&lanes, b"a", b""), 11);
    log.drain();
    let numbers: Vec<_> =
        log.read_after(copied, usize::MAX).expect("held").iter().map(Frame::number).collect();
    assert_eq!(numbers, [10, 11]);
}

#[test]
fn a_time_without_a_log_sends_every_replica_of_before_to_a_copy() {
    let (lanes, log) = primary(4);
    write(&lanes, b"a", b"1");
    log.drain();
    let before = log.last();
    log.set_wanted(Wanted::No);
    write(&lanes, b"a", b"2");
    log.set_wanted(Wanted::Yes);
    assert_eq!(log.read_after(before, 1), Err(Gone::TooOld(before)));
    assert_eq!(log.read_after(log.last(), 1), Ok(vec![]), "a copy that begins now goes on from here");
    write(&lanes, b"b", b"1");
    log.drain();
    // And a primary that has served without a log has no position as a replica.
    log.set_wanted(Wanted::No);
    log.step_down();
    assert_eq!(log.last(), Position::default());
    assert!(!log.continues(Position::default()));
}
