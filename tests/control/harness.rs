//! Meta servers and nodes inside the test process, each on a runtime of its own, as a process would have it.

use capstan_meta::founding::Peer;
use capstan_meta::server::{self, MetaConfig};
use capstan_node::accept;
use capstan_node::cluster::control::{self, ControlConfig, ControlError};
use capstan_node::config::load;
use capstan_node::core::NodeCore;
use capstan_proto::auth::Secret;
use capstan_proto::env::{Boot, Env};
use capstan_proto::ids::{NodeId, SpawnToken};
use capstan_proto::rpc::v1::admin_client::AdminClient;
use capstan_proto::rpc::v1::nodes_client::NodesClient;
use capstan_proto::rpc::{redirect, transport, v1};
use capstan_proto::rules::Rules;
use capstan_proto::slot::Slot;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Nothing in these tests takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A free port of the loopback address, below the range from which connections take theirs.
pub(crate) fn free_port() -> u16 {
    let env = Env::real();
    loop {
        let port = 10_000 + (env.random.u64() % 12_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something is so, and says what it was if it never is.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "never: {what}");
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// A group of meta servers.
pub(crate) struct Metas {
    peers: Vec<Peer>,
    dirs: tempfile::TempDir,
    running: Vec<Option<Running>>,
}

impl Metas {
    pub(crate) fn start(count: u64) -> Self {
        let peer = |id| Peer { id, address: format!("127.0.0.1:{}", free_port()) };
        let peers: Vec<Peer> = (1..=count).map(peer).collect();
        let dirs = tempfile::tempdir().expect("a temporary folder");
        let mut metas = Self { running: peers.iter().map(|_| None).collect(), peers, dirs };
        metas.start_all();
        metas
    }

    pub(crate) fn start_all(&mut self) {
        for at in 0..self.peers.len() {
            let Peer { id, address } = self.peers[at].clone();
            let config = MetaConfig {
                id,
                listen: address,
                announce: None,
                dir: self.dirs.path().join(id.to_string()),
                peers: self.peers.clone(),
                joins: false,
                secret: Secret::NONE,
            };
            let (stop, stopped) = oneshot::channel();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let stop = async {
                    let _ = stopped.await;
                };
                let ended = runtime.expect("a runtime").block_on(server::run(Env::real(), config, stop));
                ended.expect("a meta server ends when it is told to");
            });
            self.running[at] = Some(Running { stop, thread });
        }
    }

    pub(crate) fn list(&self) -> String {
        self.peers.iter().map(|peer| peer.address.clone()).collect::<Vec<_>>().join(",")
    }

    fn stop(&mut self, at: usize) {
        if let Some(Running { stop, thread }) = self.running[at].take() {
            let _ = stop.send(());
            thread.join().expect("a meta server does not panic");
        }
    }

    pub(crate) fn stop_all(&mut self) {
        // All are told first, so that none takes over meanwhile.
        let running: Vec<Running> = self.running.iter_mut().filter_map(Option::take).collect();
        let (stops, threads): (Vec<_>, Vec<_>) = running.into_iter().map(|r| (r.stop, r.thread)).unzip();
        for stop in stops {
            let _ = stop.send(());
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a meta server does not panic"));
    }

    pub(crate) async fn stop_leader(&mut self) -> u64 {
        let leader = self.state().await.leader;
        let at = self.peers.iter().position(|peer| peer.id == leader).expect("the leader is a member");
        tokio::task::block_in_place(|| self.stop(at));
        leader
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFn(AdminClient<tonic::transport::Channel>) -> Result<T, tonic::Status>,
    ) -> T {
        let asking = async {
            loop {
                for peer in &self.peers {
                    let made = transport::channel(&Env::real(), &Secret::NONE, &peer.address);
                    let asked = call(AdminClient::new(made.expect("an address")));
                    match tokio::time::timeout(Duration::from_secs(6), asked).await {
                        Ok(Ok(answer)) => return answer,
                        Ok(Err(status)) => assert!(
                            redirect::try_the_next(&status) || redirect::leader(&status).is_some(),
                            "{status:?}"
                        ),
                        Err(_) => {}
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, asking).await.expect("the meta group answers")
    }

    pub(crate) async fn state(&self) -> v1::StateReply {
        let state = async |mut admin: AdminClient<_>| {
            let asked = admin.state(v1::StateRequest { linearizable: true }).await;
            asked.map(tonic::Response::into_inner)
        };
        self.ask(state).await
    }

    /// All that has been decided, oldest first.
    pub(crate) async fn history(&self) -> Vec<v1::HistoryEvent> {
        let asked = async |mut admin: AdminClient<_>| {
            let request = v1::HistoryRequest { linearizable: true, ..v1::HistoryRequest::default() };
            admin.history(request).await.map(tonic::Response::into_inner)
        };
        self.ask(asked).await.events
    }

    /// A supervisor's word that the process with this token has ended.
    pub(crate) async fn dead(&self, node: NodeId, token: SpawnToken) -> v1::DeadReply {
        let request = v1::DeadRequest { node: node.0.to_vec().into(), token: token.0.to_vec().into() };
        self.of_any(async |mut nodes| nodes.dead(request.clone()).await).await
    }

    /// What a registration gets that a test has made by hand.
    pub(crate) async fn register(&self, request: &v1::RegisterRequest) -> v1::RegisterReply {
        self.of_any(async |mut nodes| nodes.register(request.clone()).await).await
    }

    /// What the first meta server says that answers.
    async fn of_any<T>(
        &self,
        ask: impl AsyncFn(NodesClient<tonic::transport::Channel>) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> T {
        let asking = async {
            loop {
                for peer in &self.peers {
                    let made = transport::channel(&Env::real(), &Secret::NONE, &peer.address);
                    let asked = ask(NodesClient::new(made.expect("an address"))).await;
                    if let Ok(reply) = asked {
                        return reply.into_inner();
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, asking).await.expect("the meta group answers")
    }

    pub(crate) async fn propose(&self, verb: v1::verb::Verb) {
        let mut id = [0; 16];
        Env::real().random.fill(&mut id);
        let request = v1::ProposeRequest {
            request_id: id.to_vec().into(),
            author: "test".to_owned(),
            verb: Some(v1::Verb { verb: Some(verb) }),
        };
        let reply = self
            .ask(async |mut admin: AdminClient<_>| {
                admin.propose(request.clone()).await.map(tonic::Response::into_inner)
            })
            .await;
        assert!(reply.done, "{reply:?}");
    }

    pub(crate) async fn set(&self, name: &str, value: &str) {
        let setting = v1::Setting { name: name.to_owned(), value: value.to_owned() };
        self.propose(v1::verb::Verb::SetSetting(setting)).await;
    }

    /// The node founds a shard that owns every slot.
    pub(crate) async fn give_all_slots(&self, node: NodeId) {
        let (node, shard) = (node.0.to_vec(), vec![7u8; 20]);
        self.propose(v1::verb::Verb::Join(v1::JoinVerb {
            node: node.into(),
            shard: None,
            new_shard: shard.clone().into(),
        }))
        .await;
        let all = v1::SlotRun { first: 0, last: 16383, owner: None };
        self.propose(v1::verb::Verb::AddSlots(v1::AddSlotsVerb { shard: shard.into(), runs: vec![all] }))
            .await;
    }
}

impl Drop for Metas {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop_all();
        }
    }
}

/// A node's control path, without its client port.
pub(crate) struct Node {
    pub(crate) core: Arc<NodeCore>,
    running: tokio::task::JoinHandle<Result<(), ControlError>>,
}

impl Node {
    pub(crate) fn start(metas: &Metas, dir: PathBuf) -> Self {
        Self::under(Rules::ALL, metas, dir)
    }

    /// A node that keeps to these rules.
    pub(crate) fn under(rules: Rules, metas: &Metas, dir: PathBuf) -> Self {
        let flags = [
            ("port", free_port().to_string()),
            ("meta", metas.list()),
            ("dir", dir.to_string_lossy().into_owned()),
        ];
        let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value));
        let config = load::load(None, |_| None, flags).expect("good settings");
        let core = NodeCore::new(Env { rules, ..Env::real() }, config);
        let running = tokio::spawn(control::run_on_own_thread(Arc::clone(&core), ControlConfig::default()));
        Self { core, running }
    }

    /// Opens a client port and connects to it.
    pub(crate) async fn client(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(accept::clients(Arc::clone(&self.core), listener));
        TcpStream::connect(address).await.expect("it listens")
    }

    pub(crate) async fn id(&self) -> NodeId {
        until("the node knows its id", || self.core.id.get().is_some()).await;
        *self.core.id.get().expect("just seen")
    }

    /// Its row is in its own copy of the cluster state.
    pub(crate) async fn registered(&self) -> NodeId {
        let id = self.id().await;
        until("the node is registered", || self.core.topology.load().nodes.contains_key(&id)).await;
        id
    }

    pub(crate) fn now(&self) -> Boot {
        self.core.env.clock.boot()
    }

    pub(crate) fn serves(&self) -> bool {
        self.core.serving.covers(self.now())
    }

    pub(crate) fn owns(&self, slot: u16) -> bool {
        let slot = Slot::new(slot).expect("a slot");
        let lane = self.core.lanes.lock(self.core.lanes.of(slot));
        lane.slot(slot).access() == capstan_node::store::Access::Mine
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Ends it as a process ends, and waits until its folder is free.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// The same for a node that is looked at afterwards.
    pub(crate) async fn end(&mut self) {
        self.core.stopping.begin();
        let ended = (&mut self.running).await;
        ended.expect("it does not panic").expect("it ends when it is told to");
    }
}
