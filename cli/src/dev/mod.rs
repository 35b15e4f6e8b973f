//! `capstan dev`: a whole cluster on this machine, each server a real process with a folder of its own (DESIGN 2).
//!
//! A second start on the same folder is the same cluster: what it consists of stands in `dev.json`, the rest in the
//! folders of the servers. Ctrl-C and SIGTERM stop the data nodes first, then the meta servers; a second one kills.
//! [`layout`] says what there is, [`form`] which request comes next, [`children`] keeps the processes.

mod children;
mod form;
mod layout;
mod ready;

use crate::admin::client::Client;
use crate::admin::view::View;
use crate::args::DevArgs;
use crate::output::{self, Ended};
use crate::secret;
use capstan_proto::env::{Boot, Env};
use capstan_proto::rpc::v1;
use children::{Kind, Lists, Phase, Server};
use form::Step;
use layout::{Layout, Wish};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

/// How long one question to the meta group may take while the cluster forms.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// The pause between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A cluster that has not formed by then says what it waits for, and goes on.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// How often the same request may be refused before the start fails.
const REFUSALS_MAX: u32 = 20;

/// The meta servers of the dev cluster in a folder, if one was ever started there.
pub(crate) fn meta_addresses(dir: &Path) -> Option<Vec<String>> {
    Layout::load(dir).ok().flatten().map(|layout| layout.meta_addresses())
}

/// Runs the cluster until it is told to stop.
pub(crate) fn run(args: DevArgs) -> Ended {
    let env = Env::real();
    let prepared = prepare(&env, &args);
    let (dir, layout, _lock) = match prepared {
        Ok(prepared) => prepared,
        Err(ended) => return ended,
    };
    // One thread: the kernel ties "dies with its parent" to the thread that started the child.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return Ended::refused(format!("no runtime: {why}")),
    };
    let cluster = Cluster { env, dir, layout, trace_serving: args.trace_serving };
    LocalSet::new().block_on(&runtime, cluster.run())
}

type Lock = std::sync::Arc<dyn capstan_proto::env::FolderLock>;

/// Takes the folder, makes or reads the layout, and checks that its ports are free.
fn prepare(env: &Env, args: &DevArgs) -> Result<(PathBuf, Layout, Lock), Ended> {
    let wish = Wish { port: args.port, shards: args.shards, replicas: args.replicas, meta: args.meta };
    let shown = args.dir.display();
    let failed = |why: io::Error| Ended::refused(format!("{shown}: {why}"));
    if !args.dir.exists() {
        // Refused before a folder is made.
        Layout::found(env, wish).map_err(Ended::usage)?;
    }
    std::fs::create_dir_all(args.dir.join("logs")).map_err(failed)?;
    let dir = std::fs::canonicalize(&args.dir).map_err(failed)?;
    let lock = env.disk.lock_folder(&dir).map_err(|why| match why.kind() {
        io::ErrorKind::WouldBlock => {
            Ended::refused(format!("{shown}: another `capstan dev` runs in this folder"))
        }
        _ => failed(why),
    })?;
    let layout = match Layout::load(&dir).map_err(failed)? {
        Some(layout) => layout.matches(wish).map(|()| layout).map_err(Ended::refused)?,
        None => {
            let layout = Layout::found(env, wish).map_err(Ended::usage)?;
            free_ports(&layout)?;
            layout.save(env, &dir).map_err(failed)?;
            layout
        }
    };
    free_ports(&layout)?;
    secret::make(env, &dir.join("secret")).map_err(failed)?;
    Ok((dir, layout, lock))
}

/// Says which port is taken before anything starts; a server that finds out later can only end.
fn free_ports(layout: &Layout) -> Result<(), Ended> {
    let taken = |(port, what): (u16, String)| {
        let why = std::net::TcpListener::bind(("127.0.0.1", port)).err()?;
        Some(format!("port {port} ({what}): {why}"))
    };
    let taken: Vec<String> = layout.ports().into_iter().filter_map(taken).collect();
    if taken.is_empty() {
        return Ok(());
    }
    Err(Ended::refused(format!(
        "{}\nStop what listens there, or choose another --port and --dir",
        taken.join("\n")
    )))
}

struct Cluster {
    env: Env,
    dir: PathBuf,
    layout: Layout,
    trace_serving: bool,
}

impl Cluster {
    async fn run(self) -> Ended {
        let signals =
            signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
        let (mut interrupt, mut terminate) = match signals {
            Ok(signals) => signals,
            Err(why) => return Ended::refused(format!("no signals: {why}")),
        };
        let begin = self.env.clock.boot();
        let (phase, watching) = watch::channel(Phase::Forming);
        let lists = Lists::new(&self.env, &self.dir);
        let (mut nodes, mut metas) = (JoinSet::new(), JoinSet::new());
        for server in self.servers() {
            let set = if server.kind == Kind::Node { &mut nodes } else { &mut metas };
            set.spawn_local(children::keep(self.env.clone(), server, Rc::clone(&lists), watching.clone()));
        }
        let formed = self.form(begin);
        tokio::pin!(formed);
        let mut forming = true;
        let ended = loop {
            tokio::select! {
                result = &mut formed, if forming => match result {
                    Ok(()) => {
                        forming = false;
                        phase.send_if_modified(|phase| raise(phase, Phase::Running));
                    }
                    Err(why) => break Ended::refused(why),
                },
                Some(result) = nodes.join_next() => if let Some(why) = gave_up(result) { break Ended::refused(why) },
                Some(result) = metas.join_next() => if let Some(why) = gave_up(result) { break Ended::refused(why) },
                () = either(&mut interrupt, &mut terminate) => break Ended::Well,
            }
        };
        output::line("stopping: data nodes first, then meta servers (once more kills them)");
        let killing = phase.clone();
        tokio::task::spawn_local(async move {
            either(&mut interrupt, &mut terminate).await;
            killing.send_replace(Phase::KillAll);
        });
        phase.send_if_modified(|phase| raise(phase, Phase::StopNodes));
        while nodes.join_next().await.is_some() {}
        phase.send_if_modified(|phase| raise(phase, Phase::StopAll));
        while metas.join_next().await.is_some() {}
        output::line("stopped");
        ended
    }

    fn servers(&self) -> Vec<Server> {
        let meta = self.layout.meta_addresses().join(",");
        let peers = self.layout.meta_servers().map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        let peers = peers.collect::<Vec<_>>().join(",");
        let secret = self.dir.join("secret").display().to_string();
        let server = |kind, verb: &str, name: String, port: u16, more: &[&str]| {
            let dir = self.dir.join(&name).display().to_string();
            let port_text = port.to_string();
            let fixed = [verb, "--port", &port_text, "--dir", &dir, "--secret-file", &secret];
            let args = fixed.iter().chain(more).map(|arg| (*arg).to_owned()).collect();
            Server { kind, log: self.dir.join("logs").join(format!("{name}.log")), name, port, args }
        };
        let metas = self.layout.meta_servers().map(|(id, port)| {
            let id = id.to_string();
            server(Kind::Meta, "meta", format!("meta-{id}"), port, &["--id", &id, "--peers", &peers])
        });
        let nodes = self.layout.node_ports().map(|port| {
            let name = format!("node-{port}");
            let trace = self.dir.join("logs").join(format!("{name}.serving")).display().to_string();
            let more = ["--bind", "127.0.0.1", "--meta", &meta, "--trace-serving", &trace];
            let count = if self.trace_serving { more.len() } else { 4 };
            server(Kind::Node, "node", name, port, &more[..count])
        });
        metas.chain(nodes).collect()
    }

    /// Brings the cluster to where its layout wants it, and says so.
    async fn form(&self, begin: Boot) -> Result<(), String> {
        let secret = secret::read(Some(&self.dir.join("secret"))).map_err(|ended| format!("{ended:?}"))?;
        let mut client = Client::new(self.env.clone(), secret, self.layout.meta_addresses(), ASK_LIMIT);
        output::line(format!(
            "{} shards with {} replicas each on ports {}, {} meta servers on {}, folder {}",
            self.layout.shards.len(),
            self.layout.replicas,
            ports(self.layout.node_ports()),
            self.layout.meta,
            ports(self.layout.meta_servers().map(|(_, port)| port)),
            self.dir.display(),
        ));
        let first = self.until_formed(&mut client, begin).await?;
        for port in self.layout.node_ports() {
            ready::cluster_ok(port).await;
        }
        say_losses(&mut client, first).await;
        self.say_ready(begin);
        Ok(())
    }

    /// Sends what is to be sent until the cluster is formed. The index of the state that it began with.
    async fn until_formed(&self, client: &mut Client, begin: Boot) -> Result<u64, String> {
        let mut said_slow = false;
        let mut refusals = 0;
        let mut first = None;
        loop {
            let waits_for = match View::now(client).await {
                Err(why) => why.to_string(),
                Ok(view) => match form::next(&self.layout, noted(&view, &mut first))? {
                    Step::Formed => return Ok(first.unwrap_or_default()),
                    Step::AwaitNode(port) => format!("data node {port} has not registered"),
                    Step::AwaitLease(port) => format!("the primary on port {port} has no lease"),
                    Step::AwaitCopy(port) => format!("the replica on port {port} holds no complete copy"),
                    Step::Propose { request, verb, said } => {
                        match client.propose(request, "capstan dev", verb).await {
                            Ok(reply) if reply.done => {
                                output::line(format!("  {said}"));
                                refusals = 0;
                                continue;
                            }
                            Ok(reply) => {
                                refusals += 1;
                                if refusals >= REFUSALS_MAX {
                                    return Err(format!("the cluster cannot form: {}", reply.rejected_why));
                                }
                                reply.rejected_why
                            }
                            Err(why) => why.to_string(),
                        }
                    }
                },
            };
            if !said_slow && self.env.clock.boot().since(begin) > SLOW_AFTER {
                said_slow = true;
                output::line(format!("  still waiting: {waits_for}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn say_ready(&self, begin: Boot) {
        let took = u64::try_from(self.env.clock.boot().since(begin).as_millis()).unwrap_or(u64::MAX);
        let here = std::env::current_dir().unwrap_or_default().join("capstan-dev");
        let flags = match std::fs::canonicalize(here).is_ok_and(|default| default == self.dir) {
            true => String::new(),
            false => {
                let meta = self.layout.meta_addresses().join(",");
                format!(" --meta {meta} --secret-file {}", self.dir.join("secret").display())
            }
        };
        output::line(format!("ready after {}", output::duration(took)));
        output::line(format!("  try:   redis-cli -c -p {} set hello world", self.layout.port));
        output::line(format!("  look:  capstan status{flags}"));
        output::line("  stop:  Ctrl-C");
    }
}

/// Notes where the history stood at the first look.
fn noted<'v>(view: &'v View, first: &mut Option<u64>) -> &'v View {
    first.get_or_insert(view.topology.version.index);
    view
}

/// Says which shards came back empty, because no copy of them had lived on.
async fn say_losses(client: &mut Client, after_index: u64) {
    let request = v1::HistoryRequest { after_index, linearizable: true, ..v1::HistoryRequest::default() };
    match client.history(request).await {
        Ok(history) => {
            let lost = history.events.into_iter().filter(|event| event.what.contains("data lost"));
            lost.for_each(|event| output::line(format!("  {}", event.what)));
        }
        Err(why) => tracing::warn!(%why, "what was lost cannot be said"),
    }
}

fn raise(phase: &mut Phase, to: Phase) -> bool {
    let raised = *phase < to;
    if raised {
        *phase = to;
    }
    raised
}

/// Why a server was given up, if it was.
fn gave_up(result: Result<Result<(), String>, tokio::task::JoinError>) -> Option<String> {
    match result {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(why) => Some(why.to_string()),
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// `7000-7002`, or `7000`.
fn ports(ports: impl Iterator<Item = u16>) -> String {
    let ports: Vec<u16> = ports.collect();
    match (ports.first(), ports.last()) {
        (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
        (Some(first), _) => first.to_string(),
        (None, _) => "-".to_owned(),
    }
}
