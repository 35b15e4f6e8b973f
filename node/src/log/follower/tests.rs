//! Followers over pipes in memory: what is sent to them, what waits, what they acknowledge.

use super::*;
use crate::log::tests::{frames, primary, write};
use crate::log::{Drained, ShardEpoch};
use capstan_proto::ids::SpawnToken;
use tokio::io::AsyncReadExt;

fn follow(log: &Arc<Log>, stream: tokio::io::DuplexStream) -> Follower {
    let incarnation = Incarnation { counter: 1, token: SpawnToken([0; 16]) };
    log.follow(NodeId([1; 20]), incarnation, FollowerOut::new(stream))
}

#[tokio::test]
async fn a_level_follower_is_sent_each_batch_by_the_drain_itself() {
    let (lanes, log) = primary(4);
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let follower = follow(&log, near);
    write(&lanes, b"a", b"1");
    log.drain();
    assert_eq!(follower.sent(), 0, "not before it is level");
    // The session has sent everything up to the epoch's first batch; what is missing is queued.
    let opened = frames(&log)[0].position();
    assert_eq!(follower.level_from(opened), Ok(true));
    follower.changed().await;
    follower.out().flush().await.expect("room");
    let tag = write(&lanes, b"b", b"2");
    log.drain();
    assert_eq!(follower.sent(), tag);
    let want: Vec<u8> = frames(&log)[1..].iter().flat_map(|frame| frame.bytes().to_vec()).collect();
    let mut got = vec![0; want.len()];
    far.read_exact(&mut got).await.expect("was sent");
    assert_eq!(got, want);
}

#[tokio::test]
async fn a_follower_that_blocks_delays_nobody_and_gets_everything_in_order_when_it_reads_again() {
    let (lanes, log) = primary(4);
    let (near, mut far) = tokio::io::duplex(100);
    let follower = follow(&log, near);
    assert_eq!(follower.level_from(log.last()), Ok(true));
    let from = log.last();
    let mut newest = 0;
    for i in 0..200u32 {
        newest = write(&lanes, &i.to_le_bytes(), &[1; 50]);
        assert_eq!(log.drain(), Drained::All);
    }
    assert!(log.is_sent(newest), "replies do not wait for a replica that blocks");
    assert!(follower.sent() < newest && follower.is_level());
    let want: Vec<u8> = log
        .read_after(from, usize::MAX)
        .expect("held")
        .iter()
        .flat_map(|frame| frame.bytes().to_vec())
        .collect();
    let out = follower.out();
    let reader = tokio::spawn(async move {
        let mut got = vec![0; want.len()];
        far.read_exact(&mut got).await.expect("was sent");
        assert_eq!(got, want);
    });
    out.flush().await.expect("a reader");
    reader.await.expect("everything came, in order");
    assert_eq!(follower.sent(), newest);
}

#[tokio::test]
async fn what_waits_for_a_follower_is_bounded_and_one_that_falls_behind_reads_the_log_again() {
    let (lanes, log) = primary(4);
    let (near, _far) = tokio::io::duplex(100);
    let follower = follow(&log, near);
    assert_eq!(follower.level_from(log.last()), Ok(true));
    let value = vec![0; 1 << 20];
    for i in 0..40u8 {
        write(&lanes, &[i], &value);
        log.drain();
    }
    assert!(!follower.is_level());
    assert!(follower.out().queued() <= QUEUE_MAX + (1 << 20), "{}", follower.out().queued());
    let next = Position { epoch: ShardEpoch(1), batch: follower.queued_up_to() };
    assert!(next < log.last() && log.read_after(next, 1).expect("held").len() == 1);
}

#[tokio::test]
async fn acknowledgements_are_counted_up_to_what_there_is_and_whoever_waits_is_told() {
    let (lanes, log) = primary(4);
    let follower = follow(&log, tokio::io::duplex(64).0);
    let tag = write(&lanes, b"a", b"1");
    log.drain();
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.until(|log| (log.count_acked(tag) >= 1).then_some(())).await }
    });
    follower.acked(tag - 1, 5);
    assert_eq!(log.count_acked(tag), 0);
    follower.acked(u64::MAX, 9);
    waiting.await.expect("told");
    let standing = log.followers()[0];
    assert_eq!((standing.acked, follower.clock_ms()), (log.last().batch.0, 9));
    assert!(standing.heard.is_some());
    drop(follower);
    assert!(log.followers().is_empty() && log.count_acked(0) == 0);
}

#[test]
fn a_replica_that_connects_anew_counts_once_and_its_old_session_ends() {
    let (_lanes, log) = primary(4);
    let old = follow(&log, tokio::io::duplex(64).0);
    old.acked(1, 0);
    let new = follow(&log, tokio::io::duplex(64).0);
    assert!(old.has_ended() && !new.has_ended());
    assert_eq!(log.count_acked(1), 0, "the new connection has not acknowledged anything");
    new.acked(1, 0);
    drop(old);
    assert_eq!((log.count_acked(1), log.followers().len()), (1, 1));
}

#[tokio::test]
async fn bytes_of_the_session_and_frames_of_the_drain_never_mix() {
    let (lanes, log) = primary(4);
    let (near, mut far) = tokio::io::duplex(64);
    let follower = follow(&log, near);
    assert_eq!(follower.level_from(log.last()), Ok(true));
    let from = log.last();
    let out = follower.out();
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("readable");
        got
    });
    for i in 0..50u8 {
        write(&lanes, &[i], &[i; 100]);
        log.drain();
        out.send(Bytes::from_static(b"<echo>")).await.expect("a reader");
    }
    let frames = log.read_after(from, usize::MAX).expect("held");
    drop((follower, out));
    log.step_down();
    let got = reader.await.expect("readable");
    let want: Vec<u8> = frames.iter().flat_map(|frame| [&frame.bytes()[..], b"<echo>"].concat()).collect();
    assert_eq!(got, want);
}

#[test]
fn a_primary_that_steps_down_has_everything_it_executed_in_its_log_and_records_nothing_more() {
    let (lanes, log) = primary(4);
    let follower = follow(&log, tokio::io::duplex(64).0);
    let tag = write(&lanes, b"a", b"1");
    log.step_down();
    assert_eq!(log.last().batch.0, tag, "the tail shows in the position");
    assert_eq!(write(&lanes, b"b", b"1"), 0);
    assert!(follower.has_ended() && log.followers().is_empty());
}

#[tokio::test]
async fn whoever_waits_for_an_acknowledgement_has_the_replica_asked_once_the_batch_was_sent() {
    let (lanes, log) = primary(4);
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let incarnation = Incarnation { counter: 1, token: SpawnToken([0; 16]) };
    let out = FollowerOut::new(near).asking_with(Bytes::from_static(b"ASK"));
    let follower = log.follow(NodeId([1; 20]), incarnation, out);
    let from = log.last();
    assert_eq!(follower.level_from(from), Ok(true));
    let tag = write(&lanes, b"a", b"1");
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.until_acked(tag, |log| (log.count_acked(tag) >= 1).then_some(())).await }
    });
    tokio::task::yield_now().await;
    log.drain();
    let mut want = log.read_after(from, usize::MAX).expect("held")[0].bytes().to_vec();
    want.extend_from_slice(b"ASK");
    let mut got = vec![0; want.len()];
    far.read_exact(&mut got).await.expect("was sent");
    assert_eq!(got, want, "the batch, then the question");
    follower.acked(tag, 0);
    waiting.await.expect("told");
}
