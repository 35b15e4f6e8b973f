//! One meta server from start to stop: its folder, its port, its seat in the group, and how it leaves.
//!
//! Numbered list of a start: 1 the folder's lock; 2 the store, read whole; 3 the port, open for whoever asks who is
//! there; 4 a seat ([`crate::founding`]); 5 Raft; 6 the group's identity, if there is none; 7 leases. It stops when it
//! is told to, when openraft cannot go on (its storage failed), or when it was removed from the group.

use crate::controller::Controller;
use crate::founding::{self, Peer, Seat};
use crate::host::{Host, Seated};
use crate::members;
use crate::raft::wire::End;
use crate::raft::{Found, Identity, Links, LogStore, Machine, MetaRaft, StoreToken};
use crate::services::{AdminService, NodeLeases, NodesService, RaftService, WatchService};
use crate::state::{Body, Command};
use capstan_proto::auth::Secret;
use capstan_proto::env::{Env, FolderLock, Listener, Store};
use capstan_proto::ids::{GroupId, RequestId};
use capstan_proto::rpc::transport::{MESSAGE_MAX, PING_EVERY, PING_TIMEOUT, incoming};
use capstan_proto::rpc::v1;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Server;

/// After the stop open calls get so long to end.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// After the stop the store's writer gets so long to end, so that the folder can be opened again.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
const RELEASE_LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often a leader looks whether something is left to do: the founding, a half change of the members.
const DUTY_EVERY: Duration = Duration::from_millis(100);
/// A server that finds itself removed says so after it has been so for this long.
const REMOVED_LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a meta server is started with.
#[derive(Debug, Clone)]
pub struct MetaConfig {
    /// Its number among the founders; without `peers` it founds a group of its own under it.
    pub id: u64,
    /// Where it listens, HOST:PORT.
    pub listen: String,
    /// How the others reach it; none: where it listens.
    pub announce: Option<String>,
    /// Its folder.
    pub dir: PathBuf,
    /// The founders of a new group, this one among them; none: a group of one.
    pub peers: Vec<Peer>,
    /// It waits to be taken in by a group that is there, and founds none.
    pub joins: bool,
    /// The secret of the cluster; none: loopback only.
    pub secret: Secret,
}

/// Why a meta server does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// What it was started with makes no sense.
    #[error("{0}")]
    Config(String),
    /// Without a secret anybody could rule the cluster.
    #[error(
        "without a cluster secret a meta server listens on loopback only, not on {0}: give it --secret-file"
    )]
    Open(String),
    /// Another process has the folder.
    #[error("another process uses {dir}: stop it first", dir = .0.display())]
    InUse(PathBuf),
    /// The folder, or the store in it, cannot be used.
    #[error("{dir}: {error}", dir = .dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The port cannot be had.
    #[error("cannot listen on {at}: {error}")]
    Listen {
        /// Where.
        at: String,
        /// Why.
        error: io::Error,
    },
    /// openraft stopped: its storage failed. What was acknowledged is on the other servers.
    #[error("this meta server cannot go on: {0}")]
    Stopped(String),
    /// Another member said so, or the membership does.
    #[error("this server was removed from the meta group; its folder is of no more use")]
    Removed,
}

/// Runs a meta server until `stop` is ready.
pub async fn run(
    env: Env,
    config: MetaConfig,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), MetaError> {
    run_with(env, config, stop, |_| {}).await
}

/// [`run`], with word of the address that is really bound (port 0 asks for any): for tests.
pub async fn run_with(
    env: Env,
    config: MetaConfig,
    stop: impl Future<Output = ()> + Send,
    bound: impl FnOnce(std::net::SocketAddr) + Send,
) -> Result<(), MetaError> {
    let config = checked(config)?;
    let (lock, opened) = open(&env, &config).await?;
    let listen = |error| MetaError::Listen { at: config.listen.clone(), error };
    let listener = env.net.listen(&config.listen).await.map_err(listen)?;
    bound(listener.local_addr().map_err(listen)?);
    let held = Arc::downgrade(&opened.store);
    let ended = serve(&env, &config, opened, listener, stop).await;
    released(&held).await;
    drop(lock);
    ended
}

struct Opened {
    store: Arc<dyn Store>,
    log: LogStore,
    machine: Arc<Machine>,
    identity: Identity,
}

fn checked(mut config: MetaConfig) -> Result<MetaConfig, MetaError> {
    if !config.secret.is_set() && !is_loopback(&config.listen) {
        return Err(MetaError::Open(config.listen));
    }
    let address = config.announce.get_or_insert_with(|| config.listen.clone()).clone();
    if config.joins {
        config.peers.clear();
        return Ok(config);
    }
    if config.peers.is_empty() {
        config.peers.push(Peer { id: config.id, address });
        return Ok(config);
    }
    config.peers.sort();
    let twice = |pair: &[Peer]| pair[0].id == pair[1].id || pair[0].address == pair[1].address;
    if config.peers.windows(2).any(twice) {
        return Err(MetaError::Config("--peers names a number or an address twice".to_owned()));
    }
    let me = config.peers.iter().find(|peer| peer.id == config.id);
    match me {
        Some(me) if me.address == address => Ok(config),
        Some(me) => {
            Err(MetaError::Config(format!("--peers says {me}, but this server is reached at {address}")))
        }
        None => Err(MetaError::Config(format!("--peers does not name this server, number {}", config.id))),
    }
}

/// `localhost`, `127.x.y.z` or `[::1]`, with a port.
fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn open(env: &Env, config: &MetaConfig) -> Result<(Arc<dyn FolderLock>, Opened), MetaError> {
    let folder = |error| MetaError::Folder { dir: config.dir.clone(), error };
    let dir = config.dir.clone();
    let lock = env.on_disk(move |disk| disk.lock_folder(&dir)).await.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => MetaError::InUse(config.dir.clone()),
        _ => folder(error),
    })?;
    let dir = config.dir.join("store");
    let opening = env.on_disk(move |disk| {
        let store = disk.open_store(&dir)?;
        let (log, found) = LogStore::open(Arc::clone(&store))?;
        let Found { identity, snapshot } = found;
        Ok((store, log, identity, Machine::open(snapshot.as_deref())?))
    });
    let (store, log, identity, machine) = opening.await.map_err(folder)?;
    let identity = match identity {
        Some(identity) => identity,
        None => {
            let fresh = Identity { store: StoreToken::draw(&*env.random), seat: None };
            log.save_identity(fresh).await.map_err(folder)?;
            fresh
        }
    };
    Ok((lock, Opened { store, log, machine, identity }))
}

async fn serve(
    env: &Env,
    config: &MetaConfig,
    opened: Opened,
    listener: Box<dyn Listener>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), MetaError> {
    let Opened { store: _, log, machine, identity } = opened;
    let links = Links::new(env.clone(), config.secret.clone());
    let address = config.announce.clone().unwrap_or_else(|| config.listen.clone());
    let peers = config.peers.iter().map(ToString::to_string).collect();
    let host = Arc::new(Host::new(env.clone(), (address, peers), (log, machine, links), identity));
    let (end_port, port_ends) = tokio::sync::oneshot::channel::<()>();
    let port = tokio::spawn(answer(env.clone(), config.secret.clone(), Arc::clone(&host), listener, async {
        let _ = port_ends.await;
    }));
    let ended = take_part(&host, config, stop).await;
    host.stop();
    let _ = end_port.send(());
    let abort = port.abort_handle();
    if tokio::time::timeout(DRAIN_LIMIT, port).await.is_err() {
        abort.abort();
    }
    ended
}

/// Answers on the port until told to end.
async fn answer(
    env: Env,
    secret: Secret,
    host: Arc<Host>,
    listener: Box<dyn Listener>,
    end: impl Future<Output = ()>,
) {
    macro_rules! sized {
        ($service:expr) => {
            $service.max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX)
        };
    }
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .tcp_nodelay(true)
        .add_service(sized!(v1::raft_server::RaftServer::new(RaftService(Arc::clone(&host)))))
        .add_service(sized!(v1::admin_server::AdminServer::new(AdminService::new(Arc::clone(&host)))))
        .add_service(sized!(v1::nodes_server::NodesServer::new(NodesService(Arc::clone(&host)))))
        .add_service(sized!(v1::watch_server::WatchServer::new(WatchService::new(host))));
    if let Err(error) = server.serve_with_incoming_shutdown(incoming(env, secret, listener), end).await {
        tracing::error!(%error, "the port is closed");
    }
}

async fn take_part(
    host: &Arc<Host>,
    config: &MetaConfig,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), MetaError> {
    tokio::pin!(stop);
    let folder = |error| MetaError::Folder { dir: config.dir.clone(), error };
    let identity = host.identity().await;
    let seat = match identity.seat {
        Some(id) if !host.log.is_pristine() => Seat { id, founders: None },
        _ => tokio::select! {
            biased;
            seat = founding::wait_for_seat(host, config.id, &config.peers) => seat.map_err(folder)?,
            () = &mut stop => return Ok(()),
        },
    };
    let me = End { id: seat.id, store: identity.store };
    let started =
        MetaRaft::start(&host.env, me, host.log.clone(), Arc::clone(&host.machine), host.links.clone());
    let raft = started.await.map_err(|fatal| MetaError::Stopped(fatal.to_string()))?;
    if let Some(founders) = seat.founders {
        // A restart between this and the first entry of the log does it again.
        raft.initialize(founders).await.map_err(MetaError::Stopped)?;
    }
    tracing::info!(number = seat.id, address = host.address, "this meta server takes part");
    let controller = Controller::new(&host.env, raft.clone());
    host.sit(Seated { raft: raft.clone(), leases: Arc::clone(&controller) as Arc<dyn NodeLeases> });
    let mut leading = JoinSet::new();
    leading.spawn(duties(raft.clone()));
    leading.spawn(controller.run());
    let ended = tokio::select! {
        biased;
        () = &mut stop => Ok(()),
        why = raft.stopped() => Err(MetaError::Stopped(why)),
        () = removed(&raft, host) => Err(MetaError::Removed),
    };
    raft.stop().await;
    leading.shutdown().await;
    ended
}

/// What is left to do for whoever leads.
async fn duties(raft: MetaRaft) {
    loop {
        // Not the leader's watch: tokio wakes those who wait for one in an order that no seed reaches (tests/sim).
        tokio::time::sleep(DUTY_EVERY).await;
        if raft.leads().is_none() {
            continue;
        }
        if raft.state().group().is_none() {
            found(&raft).await;
        }
        if raft.voters().joint
            && let Err(status) = members::finish(&raft).await
        {
            tracing::debug!(why = status.message(), "the change of the members is not finished yet");
        }
    }
}

/// Gives the group its identity. Two leaders in turn may both try: the second is rejected, which is as good.
async fn found(raft: &MetaRaft) {
    let env = raft.env();
    let (mut group, mut request) = ([0; 16], [0; 16]);
    env.random.fill(&mut group);
    env.random.fill(&mut request);
    let command = Command {
        request: RequestId(request),
        author: format!("meta {}", raft.me()),
        at: env.clock.wall(),
        leader: None,
        body: Body::Found { group: GroupId(group) },
    };
    match raft.propose(command).await {
        Ok(_) => tracing::info!(group = ?raft.state().group(), "the meta group is founded"),
        Err(error) => tracing::debug!(%error, "the founding is not committed yet"),
    }
}

/// Returns when this server was removed: its own membership says so, or another member does.
async fn removed(raft: &MetaRaft, host: &Host) {
    let mut told = host.links.removed();
    loop {
        if *told.borrow_and_update() || raft.was_removed(raft.me().0) {
            return;
        }
        tokio::select! {
            biased;
            _ = told.changed() => {}
            () = tokio::time::sleep(REMOVED_LOOK_EVERY) => {}
        }
    }
}

/// Waits until nobody holds the store any more: its file can be opened again.
async fn released(store: &Weak<dyn Store>) {
    let gone = async {
        while store.strong_count() > 0 {
            tokio::time::sleep(RELEASE_LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(RELEASE_LIMIT, gone).await.is_err() {
        tracing::warn!("the store is still held by somebody");
    }
}
