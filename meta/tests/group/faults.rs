//! Kills under a stream of commands: every acknowledged one is there once, rejected ones are not, unknown ones are
//! resolved by their request id.

use crate::asker::{Answer, Asker, Confirmed};
use crate::cut::Cut;
use crate::servers::{Server, group, group_to_be};
use capstan_proto::env::{Disk, Env, Fault, FaultyStore, FolderLock, MemDisk, Store};
use capstan_proto::ids::RequestId;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(20);
/// A client of the stream gives up on one command after this and notes it as unknown.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What the clients of the stream were told.
#[derive(Default)]
struct Told {
    done: Vec<RequestId>,
    rejected: Vec<RequestId>,
    unknown: Vec<(RequestId, String)>,
}

/// Clients that send commands, every seventh of them one that is rejected, until told to end.
struct Stream {
    end: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Told>>,
}

impl Stream {
    fn start(servers: &[Server], clients: usize) -> Self {
        let (end, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (mut asker, end, count) = (Asker::of(servers), Arc::clone(&end), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut told = Told::default();
                let mut n = 0u32;
                while !end.load(Ordering::Relaxed) {
                    n += 1;
                    let id = asker.fresh_id();
                    let value =
                        if n.is_multiple_of(7) { "nonsense".to_owned() } else { (1000 + n).to_string() };
                    match asker.set(id, &value, PATIENCE).await {
                        Answer::Done { .. } => {
                            told.done.push(id);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Answer::Rejected(_) => told.rejected.push(id),
                        Answer::Unknown(_) => told.unknown.push((id, value)),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                told
            })
        };
        Self { clients: (0..clients).map(client).collect(), end, acknowledged }
    }

    /// Waits until so many more commands are acknowledged.
    async fn goes_on(&self, by: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + by;
        let grows = async {
            while self.acknowledged.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), grows)
            .await
            .expect("the stream of commands stands still");
    }

    /// Ends the stream, resolves what is unknown by asking again under the same id, and checks the history.
    async fn check(self, servers: &[Server]) -> (usize, usize, usize) {
        self.end.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for client in self.clients {
            let told = client.await.expect("no panic");
            all.done.extend(told.done);
            all.rejected.extend(told.rejected);
            all.unknown.extend(told.unknown);
        }
        let counts = (all.done.len(), all.rejected.len(), all.unknown.len());
        let mut asker = Asker::of(servers);
        for (id, value) in all.unknown {
            match asker.set(id, &value, SOON).await {
                Answer::Done { .. } => all.done.push(id),
                Answer::Rejected(_) => all.rejected.push(id),
                Answer::Unknown(why) => panic!("{id} stays unknown: {why}"),
            }
        }
        let done = asker.done_by().await;
        for id in all.done {
            assert_eq!(done.get(&id.to_string()), Some(&1), "{id} was acknowledged");
        }
        for id in all.rejected {
            assert_eq!(done.get(&id.to_string()), None, "{id} was rejected");
        }
        counts
    }
}

fn by_id(servers: &mut [Server], id: u64) -> &mut Server {
    servers.iter_mut().find(|server| server.config.id == id).expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_killed_under_a_stream_of_commands_and_nothing_acknowledged_is_lost_or_done_twice() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    asker.leader().await;
    let stream = Stream::start(&servers, 4);
    let mut worst = Duration::ZERO;
    for _ in 0..4 {
        let leader = asker.leader().await;
        by_id(&mut servers, leader).kill();
        let begun = asker.env.clock.boot();
        let id = asker.fresh_id();
        assert!(matches!(asker.set(id, "1", SOON).await, Answer::Done { .. } | Answer::Rejected(_)));
        worst = worst.max(asker.env.clock.boot().since(begun));
        by_id(&mut servers, leader).start();
        stream.goes_on(40).await;
    }
    let (done, rejected, unknown) = stream.check(&servers).await;
    println!(
        "{done} done, {rejected} rejected, {unknown} unknown at first; longest without a leader {worst:?}"
    );
    assert!(rejected > 0, "nothing was rejected: this tests less than it says");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_changes_are_refused_or_unknown_in_bounded_time_and_it_comes_back_by_itself() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    let leader = asker.leader().await;
    let stream = Stream::start(&servers, 2);
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    stream.goes_on(20).await;
    others.iter().for_each(|id| by_id(&mut servers, *id).kill());
    let mut lonely = Asker::of(std::slice::from_ref(by_id(&mut servers, leader)));
    let begun = lonely.env.clock.boot();
    let id = lonely.fresh_id();
    let answer = lonely.set(id, "1000", Duration::from_secs(1)).await;
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    let took = lonely.env.clock.boot().since(begun);
    assert!(took < Duration::from_secs(8), "a change without a quorum took {took:?}");
    let members = lonely.members().await.expect("any server shows the members");
    assert!(!members.quorum, "a leader without a quorum says that it has one");
    others.iter().for_each(|id| by_id(&mut servers, *id).start());
    assert!(matches!(asker.set(id, "1000", SOON).await, Answer::Done { .. }));
    stream.check(&servers).await;
}

/// The server that is asked is cut off from the others, which acknowledge a change: what it has is old, and it cannot
/// know that.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_a_quorum_must_confirm_is_not_told_by_a_server_that_missed_its_end() {
    let (mut servers, cut) = (group_to_be(3), Cut::default());
    cut.over(&mut servers);
    servers.iter_mut().for_each(Server::start);
    let mut asker = Asker::of(&servers);
    let before = asker.fresh_id();
    assert_eq!(asker.set(before, "1000", SOON).await, Answer::Done { repeated: false });
    let late = asker.leader().await % 3 + 1;
    let mut alone = Asker::of(std::slice::from_ref(by_id(&mut servers, late)));
    assert_eq!(alone.done_by().await.get(&before.to_string()), Some(&1), "the leader was asked instead");
    let all_it_has = async |alone: &mut Asker| alone.told(Confirmed::ByNobody, SOON).await.expect("some");
    while !all_it_has(&mut alone).await.contains_key(&before.to_string()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cut.off(by_id(&mut servers, late).address());
    let after = asker.fresh_id();
    assert_eq!(asker.set(after, "1001", SOON).await, Answer::Done { repeated: false });
    let old = all_it_has(&mut alone).await;
    assert!(old.contains_key(&before.to_string()) && !old.contains_key(&after.to_string()), "{old:?}");
    // It may still name the leader, who knows better; it must not answer itself.
    if let Ok(told) = alone.told(Confirmed::ByQuorum, Duration::from_secs(2)).await {
        assert!(told.contains_key(&after.to_string()), "an old history was told as a confirmed one");
    }
    cut.heal();
    assert_eq!(alone.done_by().await.get(&after.to_string()), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_servers_lose_power_at_once_and_everything_acknowledged_is_there() {
    let mut servers = group(3);
    let mut asker = Asker::of(&servers);
    asker.leader().await;
    let stream = Stream::start(&servers, 4);
    for _ in 0..3 {
        stream.goes_on(60).await;
        servers.iter_mut().for_each(Server::kill);
        servers.iter_mut().for_each(Server::start);
    }
    stream.goes_on(20).await;
    stream.check(&servers).await;
}

/// A disk whose stores fail from some call on.
struct FaultyDisk {
    disk: MemDisk,
    fault: Fault,
}

impl Disk for FaultyDisk {
    fn inline(&self) -> bool {
        true
    }

    fn open_store(&self, dir: &Path) -> io::Result<Arc<dyn Store>> {
        Ok(Arc::new(FaultyStore::new(self.disk.open_store(dir)?, self.fault)))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.replace(path, bytes)
    }

    fn lock_folder(&self, dir: &Path) -> io::Result<Arc<dyn FolderLock>> {
        self.disk.lock_folder(dir)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_fails_ends_with_a_clear_error_and_nothing_acknowledged_is_lost() {
    for fault in [Fault::Write(40), Fault::Flush(40)] {
        let mut servers = group(3);
        let mut asker = Asker::of(&servers);
        let leader = asker.leader().await;
        // The same folder, on a disk that is about to die.
        let server = by_id(&mut servers, leader);
        server.stop().await.expect("a stop in good order");
        let disk = server.memory().expect("a disk in memory");
        server.env = Env { disk: Arc::new(FaultyDisk { disk, fault }), ..Env::real() };
        server.start();
        let stream = Stream::start(&servers, 4);
        let how = by_id(&mut servers, leader).end().await.expect_err("it cannot go on");
        let text = how.to_string();
        assert!(text.contains("cannot go on") && text.contains("injected fault"), "{fault:?}: {text}");
        by_id(&mut servers, leader).kill();
        stream.goes_on(20).await;
        stream.check(&servers).await;
    }
}
