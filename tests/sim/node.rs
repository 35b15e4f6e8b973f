//! A data node of the simulation: the shipped core and control path, and clients that execute commands in its process.
//!
//! There are no client sockets: commands go straight to `dispatch`, which is what connections do with them.

use crate::checks::Served;
use crate::stage::Stage;
use capstan_node::cluster::control::{self, ControlConfig};
use capstan_node::config::load;
use capstan_node::core::NodeCore;
use capstan_node::dispatch::{self, Ran, Scratch};
use capstan_node::input::Input;
use capstan_node::log::batcher;
use capstan_node::resp::{Reply, Resp};
use capstan_node::session::Session;
use capstan_node::store::Access;
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use capstan_proto::slot::Slot;
use std::sync::Arc;
use std::time::Duration;

/// Between two commands of a node's clients.
const COMMAND_EVERY: std::ops::Range<u64> = 5..40;
/// Keys that clients use.
const KEYS: u64 = 5_000;

/// The secret of the simulated cluster.
pub(crate) fn secret() -> Secret {
    Secret::from_text("simulated").unwrap_or_default()
}

/// A core with the settings of node number `node`.
fn core(env: &Env, node: usize, metas: &str) -> Result<Arc<NodeCore>, String> {
    let flags = [
        ("port", (7001 + node).to_string()),
        ("dir", format!("/node-{node}")),
        ("meta", metas.to_owned()),
        ("cluster-announce-ip", format!("10.0.0.{}", node + 1)),
    ];
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value));
    let config = load::load(None, |_| None, flags).map_err(|error| error.to_string())?;
    Ok(NodeCore::new(env.clone(), config))
}

/// One process: runs until its control path ends or the machine dies. Says why it ended.
pub(crate) async fn live(
    stage: &Stage,
    machine: &str,
    node: usize,
    metas: &str,
    env: Env,
    life: u64,
) -> String {
    let core = match core(&env, node, metas) {
        Ok(core) => core,
        Err(error) => return error,
    };
    let name = format!("{machine}#{life}");
    stage.started(machine, &name, &core);
    let ended = tokio::select! {
        biased;
        result = control::run(Arc::clone(&core), ControlConfig { secret: secret(), ..ControlConfig::default() }) => {
            result.map_or_else(|error| error.to_string(), |()| "it was stopped".to_owned())
        }
        () = batcher::run(Arc::clone(&core)) => "its batcher ended".to_owned(),
        () = clients(stage, &name, &core) => "its clients ended".to_owned(),
    };
    stage.ended(machine, &ended);
    ended
}

/// Executes commands for ever.
async fn clients(stage: &Stage, name: &str, core: &NodeCore) {
    let mut session = Session { authenticated: true, ..Session::default() };
    loop {
        let chance = core.env.random.u64();
        let pause = COMMAND_EVERY.start + chance % (COMMAND_EVERY.end - COMMAND_EVERY.start);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let key = format!("key:{}", (chance >> 8) % KEYS);
        let command = match (chance >> 40) % 3 {
            0 => format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()),
            1 => format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\n1\r\n", key.len()),
            _ => format!("*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n", key.len()),
        };
        let slot = Slot::of_key(key.as_bytes());
        if execute(core, &mut session, command.as_bytes()) {
            let topology = core.topology.load();
            let epoch =
                topology.owner(slot).and_then(|shard| topology.shards.get(&shard)).map(|shard| shard.epoch);
            let served =
                Served { by: name.to_owned(), epoch: epoch.unwrap_or_default(), at: stage.now.nanos() };
            stage.executed(slot, served);
        }
    }
}

/// Sends one command through the hot path; whether it was executed.
fn execute(core: &NodeCore, session: &mut Session, command: &[u8]) -> bool {
    let mut input = Input::default();
    input.room()[..command.len()].copy_from_slice(command);
    input.filled(command.len());
    let mut out = Reply::over(Vec::new(), Resp::default());
    let mut ran = Ran::default();
    let _drained =
        Scratch::with(|scratch| dispatch::run(core, session, &mut input, &mut out, scratch, &mut ran));
    out.bytes().first().is_some_and(|&kind| kind != b'-')
}

/// Whether a process could execute a command of a slot at this instant.
pub(crate) fn is_able(core: &NodeCore, slot: Slot) -> bool {
    let mine = core.lanes.lock(core.lanes.of(slot)).slot(slot).access() == Access::Mine;
    mine && core.serving.covers(core.env.clock.boot())
}
