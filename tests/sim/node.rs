//! A data node of the simulation: the shipped core, its control path, its log and its peer port.

use crate::clients;
use crate::stage::Stage;
use capstan_node::cluster::control::{self, ControlConfig};
use capstan_node::config::load;
use capstan_node::core::NodeCore;
use capstan_node::log::batcher;
use capstan_node::replication::peer_port;
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The port of the first node; the others follow.
pub(crate) const FIRST_PORT: u16 = 7_001;

/// The secret of the simulated cluster.
pub(crate) fn secret() -> Secret {
    Secret::from_text("simulated").unwrap_or_default()
}

/// The client port of a node. Nobody listens on it; the peer port is counted from it.
pub(crate) fn port(node: usize) -> u16 {
    FIRST_PORT + node as u16
}

/// A core with the settings of a node, on a machine that its peers can reach.
fn core(env: &Env, machine: &str, node: usize, metas: &str) -> Result<Arc<NodeCore>, String> {
    let flags = [
        ("port", port(node).to_string()),
        ("dir", format!("/node-{node}")),
        ("meta", metas.to_owned()),
        // The simulated net has one address a machine, whatever it is asked for.
        ("bind", "127.0.0.1".to_owned()),
        ("cluster-announce-ip", turmoil::lookup(machine).to_string()),
    ];
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value));
    let config = load::load(None, |_| None, flags).map_err(|error| error.to_string())?;
    let core = NodeCore::new(env.clone(), config);
    // Nobody was before: the core is a new one.
    let _ = core.port.set(port(node));
    core.replication.prepare(secret());
    Ok(core)
}

/// One process: runs until its control path ends or it is killed. Says why it ended.
pub(crate) async fn live(
    stage: &Stage,
    machine: &str,
    node: usize,
    metas: &str,
    env: Env,
    life: u64,
) -> String {
    let ended = match start(machine, node, metas, &env).await {
        Ok((core, mut tasks)) => {
            stage.started(machine, node, &format!("{machine}#{life}"), &core);
            let config = ControlConfig { secret: secret(), ..ControlConfig::default() };
            tokio::select! {
                biased;
                result = control::run(Arc::clone(&core), config) => {
                    result.map_or_else(|error| error.to_string(), |()| "it was stopped".to_owned())
                }
                _ = tasks.join_next() => "its log or its peer port ended".to_owned(),
                () = clients::run(stage, machine, node, &core) => "its clients ended".to_owned(),
            }
        }
        Err(error) => error,
    };
    stage.ended_by_itself(machine, &ended);
    ended
}

async fn start(
    machine: &str,
    node: usize,
    metas: &str,
    env: &Env,
) -> Result<(Arc<NodeCore>, JoinSet<()>), String> {
    let core = core(env, machine, node, metas)?;
    let mut tasks = JoinSet::new();
    let listeners = peer_port::bind(&core, &secret()).await.map_err(|error| error.to_string())?;
    for listener in listeners {
        tasks.spawn(peer_port::run(Arc::clone(&core), listener, secret()));
    }
    // As the server starts it.
    tasks.spawn(tokio::task::unconstrained(batcher::run(Arc::clone(&core))));
    Ok((core, tasks))
}
