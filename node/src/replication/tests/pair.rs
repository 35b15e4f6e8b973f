//! The nodes, the network between them, and what is compared in the end.

use super::super::peer_port;
use super::super::receiver::Receiver;
use crate::cluster::view::{Standing, View};
use crate::config::Config;
use crate::config::load::load;
use crate::core::NodeCore;
use crate::log::{Wanted, batcher};
use crate::store::object::{End, Kind};
use crate::store::{Change, Effect, NodeWide, rebuild};
use capstan_proto::auth::Secret;
use capstan_proto::env::{BoxFuture, Env, Listener, Net, RealNet, Stream, UnixMs};
use capstan_proto::ids::{
    AttemptId, ConfigEpoch, GroupId, Incarnation, NodeId, ShardEpoch, ShardId, SpawnToken,
};
use capstan_proto::rules::Rules;
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::{
    Addresses, EndpointType, NodeRow, ProcessPlace, Row, ShardPhase, ShardRow, SlotRun, Topology,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) const SHARD: ShardId = ShardId([0xa1; 20]);
pub(super) const GROUP: GroupId = GroupId([7; 16]);

pub(super) fn node(byte: u8) -> NodeId {
    NodeId([byte; 20])
}

pub(super) fn life(byte: u8) -> Incarnation {
    Incarnation { counter: 1, token: SpawnToken([byte; 16]) }
}

/// The machine's network, but every connection that it makes can be cut.
pub(super) struct CuttableNet {
    cuts: watch::Sender<u64>,
    pub(super) made: AtomicU64,
}

impl CuttableNet {
    fn new() -> Arc<Self> {
        Arc::new(Self { cuts: watch::Sender::new(0), made: AtomicU64::new(0) })
    }

    /// Breaks every connection, with whatever is on its way.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Net for CuttableNet {
    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let mut far = RealNet.connect(to).await?;
            let (near, mut middle) = tokio::io::duplex(64 * 1024);
            let mut cuts = self.cuts.subscribe();
            self.made.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    _ = cuts.changed() => {}
                    _ = tokio::io::copy_bidirectional(&mut far, &mut middle) => {}
                }
            });
            Ok(Box::new(near) as Stream)
        })
    }

    fn listen<'a>(&'a self, at: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        RealNet.listen(at)
    }
}

/// One node and what runs on it.
pub(super) struct Node {
    pub(super) core: Arc<NodeCore>,
    pub(super) receiver: Option<Receiver>,
    tasks: JoinSet<()>,
}

/// A shard of a primary (node 1) and some replicas (2, 3, …), all of whose connections can be cut.
pub(super) struct Shard {
    pub(super) nodes: Vec<Node>,
    pub(super) net: Arc<CuttableNet>,
    pub(super) topology: Topology,
}

fn row(byte: u8, peer_port: u16) -> Row {
    let addresses = Addresses {
        ip: "127.0.0.1".into(),
        port: 7000 + u16::from(byte),
        peer_port,
        hostname: String::new(),
        preferred: EndpointType::Ip,
    };
    Row::Node(NodeRow {
        id: node(byte),
        incarnation: life(byte),
        place: ProcessPlace::default(),
        addresses,
        shard: Some(SHARD),
        dead: false,
        whole: true,
        software: String::new(),
    })
}

fn config(backlog: u64) -> Config {
    let text =
        format!("meta = \"127.0.0.1:1\"\nbind = \"127.0.0.1\"\nport = 0\nrepl-backlog-size = {backlog}\n");
    load(Some(&text), |_| None, Vec::new()).expect("settings")
}

impl Shard {
    pub(super) async fn start(replicas: u8, backlog: u64, rules: Rules) -> Self {
        let net = CuttableNet::new();
        let env = Env { net: net.clone(), rules, ..Env::real() };
        let mut topology = Topology::default();
        topology.set(Row::Cluster { group: GROUP, config_epoch: ConfigEpoch(1) });
        let slot = |n| Slot::new(n).expect("below SLOTS");
        topology.set(Row::Slots(SlotRun { first: slot(0), last: slot(SLOTS - 1), owner: Some(SHARD) }));
        let mut nodes = Vec::new();
        for byte in 1..=replicas + 1 {
            let core = NodeCore::new(env.clone(), config(backlog));
            core.id.set(node(byte)).expect("set once");
            core.replication.prepare(Secret::NONE);
            let mut tasks = JoinSet::new();
            for listener in peer_port::bind(&core, &Secret::NONE).await.expect("a free port") {
                tasks.spawn(peer_port::run(core.clone(), listener, Secret::NONE));
            }
            tasks.spawn(batcher::run(core.clone()));
            let peer_port = core.replication.peer_port.get().copied().expect("bound");
            topology.set(row(byte, peer_port));
            nodes.push(Node { core, receiver: None, tasks });
        }
        let mut shard = Self { nodes, net, topology };
        shard.promote(1, 1).await;
        shard
    }

    pub(super) fn core(&self, byte: u8) -> &Arc<NodeCore> {
        &self.nodes[usize::from(byte) - 1].core
    }

    /// Makes a node the primary of an epoch, in the order of `cluster/role.rs`; all others follow it.
    pub(super) async fn promote(&mut self, byte: u8, epoch: u64) {
        self.decide(byte, epoch);
        let all = 1..=self.nodes.len() as u8;
        for other in all.clone() {
            self.hear(other, byte, epoch).await;
        }
        for other in all.filter(|other| *other != byte) {
            self.follow(other, byte, epoch);
        }
    }

    /// A node is the primary of an epoch, which nobody has heard of yet.
    pub(super) fn decide(&mut self, byte: u8, epoch: u64) {
        let all = self.nodes.len() as u8;
        self.topology.set(Row::Shard(ShardRow {
            id: SHARD,
            number: 1,
            primary: node(byte),
            incarnation: life(byte),
            epoch: ShardEpoch(epoch),
            config_epoch: ConfigEpoch(epoch),
            replicas: (1..=all).filter(|other| *other != byte).map(node).collect(),
            phase: ShardPhase::Steady,
            last_attempt: AttemptId(0),
            floor: None,
        }));
    }

    /// One node hears what was decided.
    pub(super) async fn hear(&mut self, other: u8, byte: u8, epoch: u64) {
        let topology = Arc::new(self.topology.clone());
        let each = &mut self.nodes[usize::from(other) - 1];
        if let Some(receiver) = each.receiver.take() {
            receiver.stop_and_join().await;
        }
        let core = each.core.clone();
        let installed = tokio::task::spawn_blocking(move || {
            if other == byte {
                core.log.open_epoch(ShardEpoch(epoch));
                core.log.set_wanted(Wanted::Yes);
            } else {
                core.log.step_down();
            }
            core.install(View::new(topology, node(other), Some(life(other)), Standing::Live, UnixMs(0)));
        });
        installed.await.expect("no panic");
    }

    /// A node follows the primary of an epoch.
    pub(super) fn follow(&mut self, other: u8, byte: u8, epoch: u64) {
        let each = &mut self.nodes[usize::from(other) - 1];
        each.receiver = Some(Receiver::start(&each.core, SHARD, node(byte), ShardEpoch(epoch)));
    }

    /// Waits until a replica has everything that its primary has, and it is in force.
    pub(super) async fn level(&self, primary: u8, replica: u8) {
        let (primary, replica) = (self.core(primary), self.core(replica));
        let epoch = primary.log.last().epoch;
        until("the replica is level", || {
            let whole = replica.report.told().whole_of.is_some_and(|whole| whole.epoch == epoch);
            whole && replica.log.last() == primary.log.last() && is_drained(primary)
        })
        .await;
    }

    pub(super) async fn stop(mut self) {
        for each in &mut self.nodes {
            if let Some(receiver) = each.receiver.take() {
                receiver.stop_and_join().await;
            }
            each.tasks.shutdown().await;
        }
    }
}

/// Everything that was recorded is in the log.
fn is_drained(core: &NodeCore) -> bool {
    let tagging = core.lanes.tagging();
    core.log.last().batch.0 + 1 == tagging.open() && !tagging.has_something()
}

/// Waits for a condition; a minute is a failure.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(limit.await.is_ok(), "not within a minute: {what}");
}

/// What each key is rebuilt from.
pub(super) type Contents = BTreeMap<(u8, Vec<u8>), (Vec<String>, Option<UnixMs>)>;

/// Every key with its value and expiry.
pub(super) fn contents(core: &NodeCore) -> Contents {
    let mut found = Contents::new();
    for number in 0..core.lanes.count() {
        let lane = core.lanes.lock(number);
        for entry in lane.slots().flat_map(|(_, table)| table.entries()) {
            let place = (entry.db(), entry.key().to_vec());
            let mut changes = Vec::new();
            rebuild::all(entry, |change| changes.push(format!("{change:?}")));
            if entry.kind() != Kind::List {
                changes.sort();
            }
            found.insert(place, (changes, entry.expires()));
        }
    }
    found
}

/// Compares all keys; says the first that differs rather than all of them.
pub(super) fn assert_equal(primary: &NodeCore, replica: &NodeCore) {
    let (ours, theirs) = (contents(primary), contents(replica));
    if let Some(difference) = first_difference(&ours, &theirs) {
        panic!("primary {} keys, replica {}: {difference}", ours.len(), theirs.len());
    }
}

pub(super) fn first_difference(ours: &Contents, theirs: &Contents) -> Option<String> {
    let say = |key: &[u8], what: &str| Some(format!("{}: {what}", key.escape_ascii()));
    for ((db, key), value) in ours {
        match theirs.get(&(*db, key.clone())) {
            None => return say(key, "missing at the replica"),
            Some(theirs) if theirs != value => return say(key, "another value at the replica"),
            Some(_) => {}
        }
    }
    theirs.keys().find(|key| !ours.contains_key(*key)).and_then(|(_, key)| say(key, "only at the replica"))
}

pub(super) fn apply(core: &NodeCore, key: &[u8], change: Change<'_>) {
    let slot = Slot::of_key(key);
    core.lanes.lock(core.lanes.of(slot)).apply(&Effect { slot, db: 0, key, change });
}

pub(super) fn set(core: &NodeCore, key: &str, value: &[u8]) {
    apply(core, key.as_bytes(), Change::Set { value, expires: None });
}

/// A seeded stream of numbers (SplitMix64): a failing run is run again with the seed that it has printed.
pub(super) struct Dice(u64);

impl Dice {
    /// A seed from the environment, or a new one; printed.
    pub(super) fn cast() -> Self {
        let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| Env::real().random.u64());
        println!("SEED={seed}");
        Self(seed)
    }

    /// This seed.
    pub(super) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// One random change of one of `keys` keys; now and then a change of the whole node.
pub(super) fn change(core: &NodeCore, dice: &mut Dice, keys: u64) {
    let key = format!("key{}", dice.below(keys));
    let value = vec![dice.below(256) as u8; dice.below(120) as usize];
    match dice.below(4000) {
        0 => core.lanes.apply_node_wide(NodeWide::FlushAll),
        n if n % 8 == 1 => apply(core, key.as_bytes(), Change::Delete),
        n if n % 8 == 2 => {
            apply(core, key.as_bytes(), Change::Expire { at: Some(UnixMs(u64::MAX - dice.below(99))) })
        }
        n if n % 8 == 3 => {
            let offset = dice.below(200) as u32;
            apply(core, key.as_bytes(), Change::Write { offset, bytes: &value });
        }
        n if n % 8 == 5 => {
            apply(core, key.as_bytes(), Change::HashSet { field: &value[..value.len() / 2], value: &value })
        }
        n if n % 8 == 6 => apply(core, key.as_bytes(), Change::ListPush { end: End::Left, value: &value }),
        n if n % 512 == 4 => {
            let large = vec![1; 200_000 + dice.below(400_000) as usize];
            apply(core, key.as_bytes(), Change::Set { value: &large, expires: None });
        }
        _ => apply(core, key.as_bytes(), Change::Set { value: &value, expires: None }),
    }
}
