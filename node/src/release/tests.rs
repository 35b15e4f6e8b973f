//! Replies over real sockets: what waits, in which order it leaves, and what never leaves.

use super::*;
use crate::config::Config;
use crate::departure;
use crate::log::Wanted;
use crate::store::{Change, Effect};
use capstan_proto::env::{Boot, Clock, Env, UnixMs};
use capstan_proto::rules::Rules;
use capstan_proto::slot::Slot;
use std::future::poll_fn;
use std::sync::atomic::AtomicU64;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A clock that stands still until it is moved.
#[derive(Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn boot(&self) -> Boot {
        Boot(self.0.load(Relaxed))
    }

    fn wall(&self) -> UnixMs {
        UnixMs(0)
    }
}

struct Scene {
    core: Arc<NodeCore>,
    clock: Arc<Still>,
    outbox: Arc<Outbox>,
    client: TcpStream,
}

impl Scene {
    /// A primary of epoch 1 with a log and a lease until 1000, and one connection.
    async fn new(rules: Rules) -> Self {
        let clock = Arc::new(Still::default());
        let core = NodeCore::new(Env { clock: clock.clone(), rules, ..Env::real() }, Config::default());
        core.log.open_epoch(ShardEpoch(1));
        core.log.set_wanted(Wanted::Yes);
        core.serving.set_epoch(ShardEpoch(1));
        core.serving.set_until(Boot(1000));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = Arc::new(accepted.expect("a connection").0);
        stream.writable().await.expect("a connection");
        Self { core, clock, outbox: Arc::new(Outbox::new(stream)), client: client.expect("a connection") }
    }

    /// A write, and its reply.
    fn write(&self, key: &[u8], reply: &[u8]) {
        let slot = Slot::of_key(key);
        let mut lane = self.core.lanes.lock(self.core.lanes.of(slot));
        lane.apply(&Effect { slot, db: 0, key, change: Change::Delete });
        let batch = lane.pending_log().tag();
        drop(lane);
        self.answer(reply, Stamp { batch, under_lease: true, epoch: ShardEpoch(1) });
    }

    fn answer(&self, reply: &[u8], stamp: Stamp) {
        self.core.leave_later(&self.outbox, reply.to_vec(), stamp);
    }

    /// What the batcher does.
    fn drain(&self) {
        self.core.log.drain();
        self.core.release(self.core.log.sent());
    }

    fn trouble(&self) -> Option<Trouble> {
        self.outbox.inner.lock().trouble
    }

    async fn reads(&mut self, want: &[u8]) {
        let mut got = vec![0; want.len()];
        self.client.read_exact(&mut got).await.expect("replies");
        assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    fn reads_nothing(&mut self) {
        let mut byte = [0];
        let read = self.client.try_read(&mut byte);
        assert!(read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock), "{read:?}");
    }
}

#[tokio::test]
async fn a_reply_leaves_once_its_batch_was_sent_and_those_behind_it_not_before_it() {
    let mut scene = Scene::new(Rules::ALL).await;
    scene.write(b"a", b"1");
    scene.answer(b"2", Stamp::default());
    scene.write(b"b", b"3");
    scene.reads_nothing();
    assert_eq!(scene.outbox.waiting(), 3);
    scene.drain();
    scene.reads(b"123").await;
    assert!(scene.outbox.waiting() == 0 && scene.core.releases.is_empty());
    // What waits for a batch that was sent already does not wait.
    scene.answer(b"4", Stamp { batch: 1, ..Stamp::default() });
    scene.reads(b"4").await;
}

#[tokio::test]
async fn a_reply_whose_batch_is_sent_leaves_although_a_later_one_waits() {
    let mut scene = Scene::new(Rules::ALL).await;
    scene.write(b"a", b"1");
    scene.core.log.drain();
    scene.write(b"b", b"2");
    scene.core.release(scene.core.log.sent());
    scene.reads(b"1").await;
    scene.reads_nothing();
    assert_eq!(scene.outbox.waiting(), 1);
    scene.drain();
    scene.reads(b"2").await;
}

#[tokio::test]
async fn a_reply_does_not_leave_when_the_lease_has_ended_and_its_connection_is_closed() {
    for (rules, leaves) in [(Rules::ALL, false), (Rules::ALL.without(Rule::CheckBeforeReply), true)] {
        let mut scene = Scene::new(rules).await;
        scene.write(b"a", b"1");
        scene.clock.0.store(1000, Relaxed);
        scene.drain();
        if leaves {
            scene.reads(b"1").await;
        } else {
            assert_eq!(scene.trouble(), Some(Trouble::LeaseLost));
            let told = poll_fn(|context| scene.outbox.poll_trouble(context)).await;
            assert_eq!(told, Trouble::LeaseLost);
            scene.reads_nothing();
        }
    }
}

#[tokio::test]
async fn replies_of_an_epoch_that_has_ended_never_leave_though_a_new_lease_is_held() {
    let mut scene = Scene::new(Rules::ALL).await;
    scene.write(b"a", b"1");
    // Promoted again before the batcher came by: the outcome of what was executed before is unknown.
    scene.core.serving.set_epoch(ShardEpoch(3));
    scene.core.serving.set_until(Boot(u64::MAX - 1));
    scene.drain();
    assert_eq!(scene.trouble(), Some(Trouble::LeaseLost));
    scene.reads_nothing();
}

#[tokio::test]
async fn a_change_of_roles_closes_those_who_wait_without_waiting_for_a_batch() {
    let mut scene = Scene::new(Rules::ALL).await;
    scene.write(b"a", b"1");
    scene.core.sweep_replies();
    assert_eq!(scene.trouble(), None, "the lease holds");
    scene.core.serving.set_epoch(ShardEpoch(0));
    scene.core.sweep_replies();
    assert_eq!(scene.trouble(), Some(Trouble::LeaseLost));
    scene.reads_nothing();
}

#[tokio::test]
async fn what_a_socket_does_not_take_is_left_to_its_connection_and_arrives_complete() {
    let scene = Scene::new(Rules::ALL).await;
    let big: Vec<u8> = (0..20 << 20).map(|i: u32| (i / 7) as u8).collect();
    scene.write(b"a", &big);
    scene.write(b"b", b"end");
    scene.drain();
    assert_eq!(scene.trouble(), Some(Trouble::Blocked));
    let Scene { core, outbox, mut client, .. } = scene;
    let reader = tokio::spawn(async move {
        let mut got = vec![0; big.len() + 3];
        client.read_exact(&mut got).await.expect("replies");
        assert!(got[..big.len()] == big && got[big.len()..] == *b"end");
        client
    });
    while !outbox.write(&core) {
        outbox.stream.writable().await.expect("a reader");
    }
    drop(reader.await.expect("everything came"));
    assert_eq!(outbox.waiting(), 0);
}

#[tokio::test]
async fn a_connection_that_waits_for_room_is_told_when_there_is() {
    let scene = Scene::new(Rules::ALL).await;
    scene.write(b"a", &[b'x'; 100]);
    let waiting = tokio::spawn({
        let outbox = scene.outbox.clone();
        async move { poll_fn(|context| outbox.poll_at_most(10, context)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    scene.drain();
    assert_eq!(waiting.await.expect("told"), None);
}

#[tokio::test]
async fn a_client_that_has_left_is_noticed_when_its_reply_leaves() {
    let scene = Scene::new(Rules::ALL).await;
    socket2::SockRef::from(&*scene.outbox.stream).shutdown(std::net::Shutdown::Both).expect("connected");
    scene.write(b"a", b"1");
    scene.drain();
    assert!(matches!(scene.trouble(), Some(Trouble::Failed(_))), "{:?}", scene.trouble());
}

#[tokio::test]
async fn gathered_replies_leave_together_when_the_worker_parks_or_when_many_wait() {
    let mut scene = Scene::new(Rules::ALL).await;
    departure::gather_on_this_thread();
    assert!(departure::gathers(10) && !departure::gathers(100_000));
    let stamp = Stamp { batch: 0, under_lease: true, epoch: ShardEpoch(1) };
    for reply in [b"+1\r\n", b"+2\r\n"] {
        scene.outbox.gather(reply.to_vec(), stamp);
        departure::enlist(&scene.core, &scene.outbox);
    }
    assert_eq!(scene.outbox.waiting(), 8);
    departure::depart();
    scene.reads(b"+1\r\n+2\r\n").await;
    for _ in 0..32 {
        scene.outbox.gather(b"+3\r\n".to_vec(), stamp);
        departure::enlist(&scene.core, &scene.outbox);
    }
    assert_eq!(scene.outbox.waiting(), 0, "they do not wait for ever");
    scene.reads(&b"+3\r\n".repeat(32)).await;
}

#[tokio::test]
async fn gathered_replies_do_not_leave_after_the_lease() {
    let scene = Scene::new(Rules::ALL).await;
    departure::gather_on_this_thread();
    scene.outbox.gather(b"+1\r\n".to_vec(), Stamp { batch: 0, under_lease: true, epoch: ShardEpoch(1) });
    departure::enlist(&scene.core, &scene.outbox);
    scene.clock.0.store(1000, Relaxed);
    departure::depart();
    assert_eq!((scene.trouble(), scene.outbox.waiting()), (Some(Trouble::LeaseLost), 0));
}
