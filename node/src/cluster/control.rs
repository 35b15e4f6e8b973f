//! The control path of a data node in a cluster, from its folder to its end.
//!
//! 1. `identity.rs` locks the folder and says who the node was.
//! 2. `register.rs` makes this life known; until then nothing is served, whatever the folder remembers.
//! 3. `watch.rs` keeps a copy of the cluster state; `install.rs` puts each version into effect (►8).
//!    `role.rs` says in which order a change of roles is safe; `handover.rs` hands a shard over (►14).
//! 4. `heartbeat.rs` asks for the lease, `lease.rs` says what an answer is worth (►4, ►7).
//!
//! It decides what ends the node: a folder or a group that cannot be used, or another life that has taken its place.
//! Losing the meta group is none of these: the lease runs out, and comes back by itself.

use super::client::{BadList, MetaGroup};
use super::identity::{Folder, FolderError, Identity};
use super::install;
use super::life::{Life, Offload};
use super::propose::Proposer;
use super::register::{Applicant, RegisterError};
use super::view::Standing;
use super::{handover, heartbeat, leaving, watch};
use crate::config::Key;
use crate::core::NodeCore;
use crate::supervised::{Supervised, Word};
use capstan_proto::auth::Secret;
use capstan_proto::ids::{Incarnation, NodeId, SpawnToken};
use capstan_proto::topology::{ProcessPlace, Topology};
use std::io;
use std::sync::Arc;

/// What the control path needs beside the node's settings.
#[derive(Debug, Clone, Default)]
pub struct ControlConfig {
    /// The cluster secret.
    pub secret: Secret,
    /// The supervisor that started this process, if one did: it has drawn the token of this life.
    pub supervisor: Option<Arc<Supervised>>,
}

/// Why the control path has ended, and with it the node.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The list of meta servers.
    #[error(transparent)]
    Meta(#[from] BadList),
    /// The registration.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Another process took over this node id.
    #[error(
        "node {node} is registered in life {theirs} now, this process was life {ours}: it stops serving and ends"
    )]
    Replaced {
        /// The node.
        node: NodeId,
        /// This life.
        ours: Incarnation,
        /// The present one.
        theirs: Incarnation,
    },
    /// A part of it stopped, which none may.
    #[error("the control path lost its {0}")]
    Lost(&'static str),
    /// Its thread or runtime could not be made.
    #[error("the control path cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Runs the control path on a thread of its own, so that no command, script or disk delays a heartbeat. The future
/// ends when the node stops, or with the reason why it must.
pub async fn run_on_own_thread(core: Arc<NodeCore>, config: ControlConfig) -> Result<(), ControlError> {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("capstan-control".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => {
                let result = runtime.block_on(run(core, config));
                // An install may still wait for a lane: the process does not wait for it.
                runtime.shutdown_background();
                result
            }
            Err(error) => Err(ControlError::Start(error)),
        };
        // Whoever waited for the end may be gone.
        let _ = ended.send(result);
    })?;
    end.await.unwrap_or(Err(ControlError::Lost("thread")))
}

/// The control path itself, in the runtime of the caller. Ends when the node stops.
pub async fn run(core: Arc<NodeCore>, config: ControlConfig) -> Result<(), ControlError> {
    let list = core.config.text(Key::Meta);
    let group = |list: &str| MetaGroup::new(&core.env, &config.secret, list);
    let (leader, any, admin) = (group(&list)?, group(&list)?, group(&list)?);
    let (folder, mut identity, known, place) = open(&core).await?;
    // Set once: a second control path on one core would be a second node in one process.
    let node = *core.id.get_or_init(|| identity.node);
    if node != identity.node {
        return Err(ControlError::Lost("identity"));
    }
    tracing::info!(%node, group = ?identity.group, last = ?identity.last, "this node");

    let supervisor = config.supervisor.as_deref();
    let token = supervisor.map_or_else(|| draw(&core), Supervised::token);
    let tell = |word| supervisor.into_iter().for_each(|supervisor| supervisor.say(word));
    // Before the first request: what ends from here on may be registered, or become so.
    tell(Word::Node(node));
    let offload = Offload::of(&core.env);
    let applicant = Applicant { core: &core, group: &leader, folder: &folder, place, token, offload };
    let incarnation = match applicant.register(&mut identity).await {
        Err(RegisterError::Stopped) => return Ok(()),
        registered => registered?,
    };
    let Some(obeyed) = identity.group else { return Err(ControlError::Lost("group")) };
    tracing::info!(%node, %incarnation, group = %obeyed, "registered");
    tell(Word::Registered);

    let groups = (Arc::new(leader), Arc::new(any));
    let life = Life::new(Arc::clone(&core), (node, incarnation), groups, folder);
    let life = Arc::new(life);
    // A node that runs twice in one process keeps its first way to the group; both lead to the same one.
    let _ = core.admin.set(Arc::new(Proposer::new(&life, admin)));
    let (states, installed) = tokio::sync::watch::channel(Arc::new(Topology::default()));
    let seen = states.subscribe();
    let mut tasks = Tasks::default();
    tasks.start("watch", watch::run(Arc::clone(&life), obeyed, known, states));
    tasks.start("install", install::run(Arc::clone(&life), installed));
    tasks.start("hand-overs", handover::run(Arc::clone(&life)));
    tasks.start("heartbeats", heartbeat::run(Arc::clone(&life)));
    let result = tokio::select! {
        biased;
        () = core.stopping.begun() => Ok(()),
        () = leaving::when_wanted(&life) => {
            core.stopping.begin();
            Ok(())
        }
        theirs = replaced(&life, seen) => Err(ControlError::Replaced { node, ours: incarnation, theirs }),
        lost = tasks.first_end() => Err(ControlError::Lost(lost)),
    };
    tasks.stop();
    if result.is_err() || core.stopping.is_orphaned() {
        // Nothing more is served under this life. A node that stops by itself keeps what it has until it is gone.
        life.with_lease(|lease, _| lease.give_up());
    }
    result
}

/// The folder, who the node was, the last state it saw, and where it runs now. That state is shown to clients that
/// ask about the cluster; there is no lease, so nothing is served on the strength of it.
async fn open(core: &Arc<NodeCore>) -> Result<(Folder, Identity, Topology, ProcessPlace), ControlError> {
    let (of_disk, dir) = (Arc::clone(core), core.config.text(Key::Dir));
    let opened = Offload::of(&core.env).run(move || {
        let folder = Folder::open(&of_disk.env, &dir)?;
        let identity = folder.identity()?;
        let known = folder.cluster_state()?.filter(|known| known.group == identity.group).unwrap_or_default();
        let place = folder.place();
        install::show(&of_disk, Arc::new(known.clone()), (identity.node, None), Standing::Saved);
        Ok::<_, FolderError>((folder, identity, known, place))
    });
    Ok(opened.await.ok_or(ControlError::Lost("disk"))??)
}

fn draw(core: &NodeCore) -> SpawnToken {
    let mut token = [0; 16];
    core.env.random.fill(&mut token);
    SpawnToken(token)
}

/// Returns when the cluster state names a later life of this node.
async fn replaced(life: &Life, mut states: tokio::sync::watch::Receiver<Arc<Topology>>) -> Incarnation {
    loop {
        let present = states.borrow_and_update().nodes.get(&life.node).map(|row| row.incarnation);
        if let Some(theirs) = present.filter(|theirs| theirs.counter > life.incarnation.counter) {
            return theirs;
        }
        if states.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The tasks of one life; none of them may end before it.
#[derive(Default)]
struct Tasks {
    set: tokio::task::JoinSet<&'static str>,
}

impl Tasks {
    fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    async fn first_end(&mut self) -> &'static str {
        match self.set.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "task: it panicked",
            None => "tasks",
        }
    }

    fn stop(&mut self) {
        self.set.abort_all();
    }
}
