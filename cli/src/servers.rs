//! Starts what serves: the settings, the secret, a runtime, the signals that stop it. What a server does is decided in
//! its own crate.

use crate::args::{self, MetaServer, NodeArgs, Settings};
use crate::output::Ended;
use crate::secret;
use crate::supervisor::{Announce, Respawn, Supervisor};
use capstan_meta::server::{MetaConfig, MetaError};
use capstan_node::config::load::{self, LoadError};
use capstan_node::config::{Config, Key};
use capstan_node::core::NodeCore;
use capstan_node::departure;
use capstan_node::server::{NodeConfig, Server};
use capstan_node::supervised::Supervised;
use capstan_node::trace::ServingTrace;
use capstan_proto::env::Env;
use rustix::process::{getppid, set_parent_process_death_signal, setsid};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Threads of a meta server: Raft, its RPCs; the disk has threads of its own.
const META_THREADS: usize = 2;

/// A session of its own, and no life after the process `parent`: asked for by `capstan dev` of each of its children.
pub(crate) fn die_with(parent: u32) -> Result<(), Ended> {
    let failed = |why: rustix::io::Errno| Ended::refused(format!("--die-with: {why}"));
    setsid().map_err(failed)?;
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(failed)?;
    // The parent may have ended before the line above.
    let alive = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if alive { Ok(()) } else { Err(Ended::refused("--die-with: that process is not the parent")) }
}

/// Runs a data node until it is told to stop. In a cluster this process is its supervisor, and another one serves.
pub(crate) fn node(args: NodeArgs, flags: Settings, announce: Announce) -> Ended {
    let started =
        settings(&args, flags).and_then(|config| Ok((config, secret::read(args.secret_file.as_deref())?)));
    let (config, secret) = match started {
        Ok(started) => started,
        Err(ended) => return ended,
    };
    if config.in_cluster() && !args.supervised {
        let meta = config.text(Key::Meta).as_ref().clone();
        let respawn = if args.no_respawn { Respawn::Never } else { Respawn::Yes };
        let (env, args) = (Env::real(), args::for_worker());
        return Supervisor { env, secret, meta, args, respawn, announce }.run();
    }
    let supervisor = match args.supervised.then(|| Supervised::take(io::stdin())).transpose() {
        Ok(supervisor) => supervisor,
        Err(why) => return Ended::usage(format!("--supervised is for the child of a supervisor: {why}")),
    };
    let trace = match args.trace_serving.as_deref().map(|path| (path, ServingTrace::open(path))) {
        None => None,
        Some((_, Ok(trace))) => Some(trace),
        Some((path, Err(why))) => return Ended::usage(format!("--trace-serving {}: {why}", path.display())),
    };
    run("capstan-worker", workers(&config), |env, signals| async move {
        let config = NodeConfig { settings: config, secret, supervisor, trace };
        let server = Server::bind(env, config).await.map_err(Ended::refused)?;
        let stop = told_to_stop(signals, Arc::clone(server.core()));
        server.serve(stop).await.map_err(Ended::refused)
    })
}

/// SIGTERM: a primary hands over first. SIGINT, or a second signal: returns, and the node stops at once.
async fn told_to_stop(mut signals: Signals, core: Arc<NodeCore>) {
    match signals.next().await {
        Told::Interrupt => {}
        Told::Terminate => {
            core.stopping.hand_over_first();
            signals.next().await;
        }
    }
}

/// The settings of a node: its file, then the environment, then the flags.
fn settings(args: &NodeArgs, flags: Settings) -> Result<Config, Ended> {
    let variable = |name: &str| std::env::var(name).ok();
    let flag = flags.iter().rev().find(|(name, _)| name == "dir").map(|(_, value)| value.clone());
    let dir = flag.or_else(|| variable(&Key::Dir.row().variable())).filter(|dir| !dir.is_empty());
    let file = load::file_of(args.config.as_deref(), dir.as_deref().map(Path::new));
    let text = match file.as_deref().map(|file| (file, std::fs::read_to_string(file))) {
        None => None,
        Some((_, Ok(text))) => Some(text),
        // A file that was not named need not be there.
        Some((_, Err(why))) if why.kind() == io::ErrorKind::NotFound && args.config.is_none() => None,
        Some((file, Err(why))) => return Err(Ended::usage(format!("{}: {why}", file.display()))),
    };
    let config = load::load(text.as_deref(), variable, flags).map_err(|why: LoadError| Ended::usage(why))?;
    if let Some(file) = file {
        config.set_file(&file);
    }
    Ok(config)
}

/// `worker-threads`, or one less than there are cores: the control path and the kernel need a little of one.
fn workers(config: &Config) -> usize {
    match usize::try_from(config.number(Key::WorkerThreads)) {
        Ok(0) | Err(_) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            cores.saturating_sub(1).max(1)
        }
        Ok(count) => count,
    }
}

/// Runs a meta server until it is told to stop.
pub(crate) fn meta(args: MetaServer) -> Ended {
    let secret = match secret::read(args.secret_file.as_deref()) {
        Ok(secret) => secret,
        Err(ended) => return ended,
    };
    let peers: Result<Vec<_>, Ended> =
        args.peers.iter().map(|text| text.parse().map_err(Ended::usage)).collect();
    let peers = match peers {
        Ok(peers) => peers,
        Err(ended) => return ended,
    };
    let bind = if args.bind.contains(':') { format!("[{}]", args.bind) } else { args.bind };
    let config = MetaConfig {
        id: args.id,
        listen: format!("{bind}:{}", args.port),
        announce: args.announce,
        dir: args.dir,
        peers,
        joins: args.join,
        secret,
    };
    run("capstan-meta", META_THREADS, |env, mut signals| async move {
        let stop = async move {
            signals.next().await;
        };
        capstan_meta::server::run(env, config, stop).await.map_err(|why| match why {
            MetaError::Config(_) | MetaError::Open(_) => Ended::usage(why),
            MetaError::InUse(_)
            | MetaError::Folder { .. }
            | MetaError::Listen { .. }
            | MetaError::Stopped(_)
            | MetaError::Removed => Ended::refused(why),
        })
    })
}

/// Runs a server on a runtime of its own.
fn run<F>(name: &str, threads: usize, serve: impl FnOnce(Env, Signals) -> F) -> Ended
where
    F: Future<Output = Result<(), Ended>>,
{
    let runtime = match runtime(name, threads) {
        Ok(runtime) => runtime,
        Err(why) => return Ended::refused(format!("no runtime: {why}")),
    };
    let ended = runtime.block_on(async {
        let signals = Signals::new().map_err(|why| Ended::refused(format!("no signals: {why}")))?;
        serve(Env::real(), signals).await
    });
    // What still waits for a disk does not hold the process up.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ended::Well,
        Err(ended) => ended,
    }
}

fn runtime(name: &str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .on_thread_start(departure::gather_on_this_thread)
        .on_thread_park(departure::depart)
        .build()
}

/// The signals that stop a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Interrupt,
    Terminate,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {
                tracing::info!("told to stop (SIGINT)");
                Told::Interrupt
            }
            _ = self.terminate.recv() => {
                tracing::info!("told to stop (SIGTERM)");
                Told::Terminate
            }
        }
    }
}
