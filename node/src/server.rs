//! A data node from start to end: folder, sockets, clients, and a stop that loses nothing that was executed.
//!
//! [`Server::bind`] fails with a message that says what to do; [`Server::serve`] runs until it is told to stop, by its
//! caller (signals) or by SHUTDOWN. Then nobody is accepted any more, each connection finishes the commands it has
//! begun, its replies leave, and it ends; who is not done within [`GRACE`] is cut off.

mod housekeeping;
mod listen;

use crate::accept;
use crate::cluster::control::{self, ControlConfig, ControlError};
use crate::cluster::identity::{Folder, FolderError};
use crate::cluster::leaving;
use crate::config::{Config, Key};
use crate::core::{Mode, NodeCore};
use crate::replication::peer_port;
use crate::supervised::{Supervised, Word};
use crate::trace::ServingTrace;
use capstan_proto::auth::Secret;
use capstan_proto::env::{Env, Listener};
use capstan_proto::ids::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long connections may take to finish when the node stops.
pub const GRACE: Duration = Duration::from_secs(5);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder is that of a node of a cluster, and the node was started without one.
    #[error(
        "the data folder {0} belongs to a node of a cluster: start it with --meta, or choose another --dir for a node of its own"
    )]
    OfACluster(String),
    /// The control path cannot go on.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    /// The peer port cannot be listened on.
    #[error(transparent)]
    Peers(#[from] peer_port::BindError),
    /// Its background tasks failed.
    #[error("the node ended: {0}")]
    Ended(String),
}

/// What a node is started with.
#[derive(Debug, Default)]
pub struct NodeConfig {
    /// The settings, from file, environment and flags.
    pub settings: Config,
    /// The cluster secret, for meta and peer connections.
    pub secret: Secret,
    /// The supervisor that started this process, if one did.
    pub supervisor: Option<Supervised>,
    /// Where to write down what was served when.
    pub trace: Option<ServingTrace>,
}

/// A node that listens and does not serve yet.
#[allow(missing_debug_implementations)]
pub struct Server {
    core: Arc<NodeCore>,
    listeners: Vec<TcpListener>,
    peers: Vec<Box<dyn Listener>>,
    control: ControlConfig,
    /// The folder of a node that is alone, locked until it has ended. In a cluster the control path holds it.
    folder: Option<Folder>,
}

/// Starts a node and serves until `stop` or SHUTDOWN.
pub async fn run(env: Env, config: NodeConfig, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
    Server::bind(env, config).await?.serve(stop).await
}

impl Server {
    /// Takes the data folder, the client port and the peer port.
    pub async fn bind(env: Env, config: NodeConfig) -> Result<Self, NodeError> {
        let settings = config.settings;
        let alone = if settings.in_cluster() { None } else { Some(open_alone(&env, &settings).await?) };
        let listeners = listen::all(&settings).await?;
        let core = NodeCore::new(env, settings);
        if let Some(trace) = config.trace {
            let _ = core.trace.set(trace);
        }
        let folder = alone.map(|(folder, id)| {
            // Set once, here: nobody else could have been first.
            let _ = core.id.set(id);
            folder
        });
        for listener in &listeners {
            if let Ok(address) = listener.local_addr() {
                let _ = core.port.set(address.port());
                tracing::info!(%address, "listening for clients");
            }
        }
        let secret = config.secret;
        core.replication.prepare(secret.clone());
        let peers = match core.mode {
            Mode::Cluster => peer_port::bind(&core, &secret).await?,
            Mode::Emulated => Vec::new(),
        };
        let supervisor = config.supervisor.map(Arc::new);
        Ok(Self { core, listeners, peers, control: ControlConfig { secret, supervisor }, folder })
    }

    /// What connections and tests share.
    #[must_use]
    pub const fn core(&self) -> &Arc<NodeCore> {
        &self.core
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `stop` or SHUTDOWN.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let core = self.core;
        crate::store::ahead::start();
        let mut tasks = tokio::task::JoinSet::new();
        for listener in self.listeners {
            tasks.spawn(accept::clients(core.clone(), listener));
        }
        for listener in self.peers {
            tasks.spawn(peer_port::run(core.clone(), listener, self.control.secret.clone()));
        }
        tasks.spawn(housekeeping::run(core.clone()));
        tasks.spawn(crate::commands::keys::active::run(core.clone()));
        // Without tokio's budget: a budget that is used up would look like a replica's socket that is full.
        let batcher = tokio::spawn(tokio::task::unconstrained(crate::log::batcher::run(core.clone())));
        let supervisor = self.control.supervisor.clone();
        let control = control(core.clone(), self.control);
        tokio::pin!(control);
        tracing::info!(version = crate::CAPSTAN_VERSION, "ready");
        let ended = tokio::select! {
            () = stop => Ok(()),
            () = to_end(&core) => Ok(()),
            () = orphaned(&core, supervisor.as_deref()) => Ok(()),
            ended = &mut control => ended.map_err(NodeError::from),
            // These tasks have no end of their own: one that ends has failed.
            ended = tasks.join_next() => Err(NodeError::Ended(format!("{ended:?}"))),
        };
        core.stopping.begin();
        if let Some(supervisor) = supervisor.filter(|_| core.stopping.is_shut_down()) {
            supervisor.say(Word::Ending);
        }
        tasks.shutdown().await;
        finish_clients(&core).await;
        // Replies wait for it: it ends after the last client.
        batcher.abort();
        drop(self.folder);
        tracing::info!("stopped");
        ended
    }
}

/// The control path of a node in a cluster; a node that is alone has none and waits for ever.
async fn control(core: Arc<NodeCore>, config: ControlConfig) -> Result<(), ControlError> {
    match core.mode {
        Mode::Cluster => control::run_on_own_thread(core, config).await,
        Mode::Emulated => std::future::pending().await,
    }
}

/// Returns when the node is to end: at once, or after a hand-over, for which a node that is alone has nobody.
async fn to_end(core: &NodeCore) {
    core.stopping.wanted().await;
    if core.mode == Mode::Cluster
        && tokio::time::timeout(leaving::LONGEST, core.stopping.begun()).await.is_err()
    {
        tracing::error!("the control path does not end: the node stops without it");
    }
}

/// Has the node end, in order, when its supervisor has ended: its end could not be proved any more (DESIGN 6). Returns only
/// if that cannot be watched.
async fn orphaned(core: &NodeCore, supervisor: Option<&Supervised>) {
    let Some(supervisor) = supervisor else { return std::future::pending().await };
    if let Err(error) = supervisor.gone().await {
        tracing::error!(%error, "the control pipe cannot be watched");
        return;
    }
    tracing::warn!("the supervisor has ended: this process hands over what it can, and ends");
    core.stopping.orphan();
    std::future::pending().await
}

/// The folder and the id of a node that is alone. Without a folder the id is a new one at each start.
async fn open_alone(env: &Env, settings: &Config) -> Result<(Folder, NodeId), NodeError> {
    let (env, dir) = (env.clone(), settings.text(Key::Dir));
    let opened = tokio::task::spawn_blocking(move || {
        let folder = Folder::open(&env, &dir)?;
        let identity = folder.identity()?;
        // Serving all slots of a cluster's node from a copy of nothing would answer its clients wrongly.
        match identity.group {
            Some(_) => Err(NodeError::OfACluster(dir.as_ref().clone())),
            None => Ok((folder, identity.node)),
        }
    });
    opened.await.unwrap_or_else(|error| Err(NodeError::Ended(error.to_string())))
}

/// Lets every connection finish, and cuts off those that do not.
async fn finish_clients(core: &NodeCore) {
    core.clients.list().iter().for_each(|client| client.finish());
    if tokio::time::timeout(GRACE, core.clients.all_gone()).await.is_ok() {
        return;
    }
    let late = core.clients.list();
    tracing::warn!(clients = late.len(), "not done in time: cut off");
    late.iter().for_each(|client| client.kill());
    if tokio::time::timeout(GRACE, core.clients.all_gone()).await.is_err() {
        tracing::warn!(clients = core.clients.count(), "connections are still busy");
    }
}
