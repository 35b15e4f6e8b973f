//! One planned failover as the primary lives it: installed states in, held clients, lease and report out.

use super::*;
use crate::cluster::client::MetaGroup;
use crate::cluster::identity::Folder;
use crate::cluster::install;
use crate::cluster::lease::{Grant, StreamNumber};
use crate::cluster::view::tests::{cluster, node};
use crate::config::{Config, load};
use crate::core::NodeCore;
use crate::dispatch::{self, Ran, Scratch, Step};
use crate::input::Input;
use crate::log::{Follower, FollowerOut};
use crate::resp::Reply;
use crate::session::Session;
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use capstan_proto::ids::{AttemptId, Incarnation, ShardEpoch, SpawnToken, Version};
use capstan_proto::settings::HOLD_LIMIT;
use capstan_proto::topology::{Row, ShardPhase, ShardRow, Topology};

const ATTEMPT: AttemptId = AttemptId(6);

fn life_of(byte: u8) -> Incarnation {
    Incarnation { counter: 1, token: SpawnToken([byte; 16]) }
}

/// Node 1 is the primary of a shard, node 4 its replica; the states that follow are given by hand.
struct Scene {
    life: Arc<Life>,
    states: watch::Sender<Arc<Topology>>,
    topology: Topology,
    tasks: tokio::task::JoinSet<()>,
}

impl Scene {
    async fn new() -> Self {
        let flags = [("meta", "127.0.0.1:1")].map(|(name, value)| (name.into(), value.into()));
        let config: Config = load::load(None, |_| None, flags).expect("valid settings");
        let core = NodeCore::new(Env::real(), config);
        core.id.get_or_init(|| node(1));
        let group = || {
            let group = MetaGroup::new(&core.env, &Secret::default(), "127.0.0.1:1");
            Arc::new(group.expect("an address"))
        };
        let folder = Folder::open(&core.env, "").expect("no folder");
        let life = Arc::new(Life::new(core.clone(), (node(1), life_of(1)), (group(), group()), folder));
        let (states, installed) = watch::channel(Arc::new(Topology::default()));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(install::run(life.clone(), installed));
        tasks.spawn(run(life.clone()));
        let mut topology = cluster();
        topology.set(Row::Setting { name: HOLD_LIMIT.into(), value: "86400000".into() });
        let mut scene = Self { life, states, topology, tasks };
        scene.install().await;
        scene.grant();
        scene
    }

    fn shard(&self) -> ShardRow {
        self.topology.led_by(node(1)).or_else(|| self.topology.led_by(node(4))).expect("led").clone()
    }

    /// The next version of the cluster state, in force when this returns.
    async fn install(&mut self) {
        self.topology.version.index += 1;
        let version = self.topology.version;
        self.states.send_replace(Arc::new(self.topology.clone()));
        let mut in_force = self.life.in_force.subscribe();
        let _ = in_force.wait_for(|reached| *reached >= version).await.expect("installed");
    }

    async fn set_phase(&mut self, phase: ShardPhase) {
        let shard = ShardRow { phase, ..self.shard() };
        self.topology.set(Row::Shard(shard));
        self.install().await;
    }

    /// What a heartbeat brings while the meta leader grants.
    fn grant(&self) {
        let version: Version = self.topology.version;
        self.life.with_lease(|lease, now| {
            let sequence = lease.send(StreamNumber(1), now);
            let lead = lease.lead().expect("leads");
            let duration = Duration::from_secs(3600);
            let grant = Grant { node: node(1), incarnation: life_of(1), lead, duration, version };
            lease.answered(StreamNumber(1), sequence, Some(grant), now);
        });
    }

    fn follow(&self) -> Follower {
        self.life.core.log.follow(node(4), life_of(4), FollowerOut::new(tokio::io::sink()))
    }

    fn serves(&self) -> bool {
        self.life.core.serving.covers(self.life.core.env.clock.boot())
    }
}

/// What a client gets, or that it has to wait.
fn say(core: &NodeCore, line: &str) -> Result<String, Step> {
    let mut session = Session { authenticated: true, ..Session::default() };
    let mut input = Input::default();
    input.room()[..line.len()].copy_from_slice(line.as_bytes());
    input.filled(line.len());
    let mut out = Reply::over(Vec::new(), session.resp);
    let mut ran = Ran::default();
    let step =
        Scratch::with(|scratch| dispatch::run(core, &mut session, &mut input, &mut out, scratch, &mut ran));
    match step {
        Step::Drained => Ok(String::from_utf8_lossy(out.bytes()).into_owned()),
        step => Err(step),
    }
}

/// A key of the slot 101..8191 that node 1 serves.
const KEY: &str = "c";

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_handed_over_once_the_candidate_has_everything_and_held_clients_find_the_new_primary() {
    let mut scene = Scene::new().await;
    let core = scene.life.core.clone();
    let (follower, log) = (scene.follow(), core.log.clone());
    assert_eq!(say(&core, &format!("SET {KEY} 1\n")).expect("served"), "+OK\r\n");
    scene.set_phase(ShardPhase::Planned { attempt: ATTEMPT, candidate: node(4) }).await;
    assert!(matches!(say(&core, &format!("SET {KEY} 2\n")), Err(Step::Held)));
    until("what was executed is sealed", || log.is_sent(2)).await;
    let last = log.last();
    follower.acked(last.batch.0 - 1, 0);
    tokio::task::yield_now().await;
    assert!(scene.serves() && core.report.told().handed_over.is_none(), "the candidate lacks a batch");
    follower.acked(last.batch.0, 0);
    until("handed over", || core.report.told().handed_over.is_some()).await;
    assert_eq!(core.report.told().handed_over, Some(HandedOver { attempt: ATTEMPT, position: last }));
    // ►14 The lease is gone, and no grant that was under way brings it back.
    assert!(!scene.serves());
    scene.grant();
    assert!(!scene.serves());

    let waiting = tokio::spawn({
        let core = core.clone();
        async move { core.hold.passed(&*core.env.clock).await }
    });
    let promoted = ShardRow {
        primary: node(4),
        incarnation: life_of(4),
        epoch: ShardEpoch(2),
        replicas: vec![node(1)],
        phase: ShardPhase::Steady,
        ..scene.shard()
    };
    scene.topology.set(Row::Shard(promoted));
    scene.install().await;
    // The new primary may not know yet: whoever asks it now would be sent back.
    assert!(!waiting.is_finished() && matches!(say(&core, &format!("SET {KEY} 2\n")), Err(Step::Held)));
    until("released once the new primary has answered", || {
        core.replication.with_link(|link| link.up = true);
        waiting.is_finished()
    })
    .await;
    let moved = say(&core, &format!("SET {KEY} 2\n")).expect("an answer");
    assert!(moved.starts_with("-MOVED ") && moved.ends_with(":7004\r\n"), "{moved}");
    until("reported", || core.report.told().held.is_some()).await;
    let told = core.report.told();
    assert_eq!((told.handed_over, told.held.map(|held| held.attempt)), (None, Some(ATTEMPT)));
    assert!(follower.has_ended() && log.last() == last, "nothing was executed since");
    scene.tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_ends_without_a_promotion_gives_the_clients_back_once_the_lease_is_back() {
    let mut scene = Scene::new().await;
    let core = scene.life.core.clone();
    let follower = scene.follow();
    scene.set_phase(ShardPhase::Planned { attempt: ATTEMPT, candidate: node(4) }).await;
    follower.acked(core.log.last().batch.0, 0);
    until("handed over", || core.report.told().handed_over.is_some()).await;
    scene.set_phase(ShardPhase::Steady).await;
    assert!(
        matches!(say(&core, &format!("GET {KEY}\n")), Err(Step::Held)),
        "no lease yet, and no error for it"
    );
    scene.grant();
    until("released", || core.hold.patience(core.env.clock.boot()) == Patience::NoHold).await;
    assert_eq!(say(&core, &format!("GET {KEY}\n")).expect("served"), "$-1\r\n");
    assert!(core.report.told().handed_over.is_none() && !follower.has_ended());
    scene.tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_new_primary_wait_for_its_first_lease() {
    let mut scene = Scene::new().await;
    let core = scene.life.core.clone();
    assert_eq!(say(&core, &format!("SET {KEY} 1\n")).expect("served"), "+OK\r\n");
    let again = ShardRow { epoch: ShardEpoch(2), ..scene.shard() };
    scene.topology.set(Row::Shard(again));
    scene.install().await;
    assert!(!scene.serves() && matches!(say(&core, &format!("GET {KEY}\n")), Err(Step::Held)));
    scene.grant();
    assert_eq!(say(&core, &format!("GET {KEY}\n")).expect("served"), "$1\r\n1\r\n");
    // A lease that has run out is another matter: nobody knows when the next one comes.
    scene.life.with_lease(|lease, _| lease.give_up());
    let down = say(&core, &format!("GET {KEY}\n")).expect("an answer");
    assert_eq!(down, "-CLUSTERDOWN The cluster is down\r\n");
    scene.tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_candidate_never_catches_up_keeps_the_lease_and_ends_when_the_state_says_so() {
    let mut scene = Scene::new().await;
    let core = scene.life.core.clone();
    let _follower = scene.follow();
    assert_eq!(say(&core, &format!("SET {KEY} 1\n")).expect("served"), "+OK\r\n");
    scene.topology.set(Row::Setting { name: HOLD_LIMIT.into(), value: "1".into() });
    scene.set_phase(ShardPhase::Planned { attempt: ATTEMPT, candidate: node(4) }).await;
    until("the limit has passed", || {
        core.hold.patience(core.env.clock.boot()) == Patience::Over(Until::HandedOver)
    })
    .await;
    let answer = say(&core, &format!("SET {KEY} 2\n")).expect("an answer");
    assert!(answer.starts_with("-TRYAGAIN"), "{answer}");
    assert!(scene.serves() && core.report.told().handed_over.is_none());
    // ►14 Beyond the limit the hold is still on: only the committed state ends it.
    scene.set_phase(ShardPhase::Steady).await;
    until("released", || core.hold.patience(core.env.clock.boot()) == Patience::NoHold).await;
    assert_eq!(say(&core, &format!("GET {KEY}\n")).expect("served"), "$1\r\n1\r\n");
    scene.tasks.shutdown().await;
}
