//! The admin verbs: each asks the meta group, prints what it learnt and ends with a code that scripts can use.
//!
//! One file a verb, or a few small ones together; what they share is [`mod@client`] (asking), [`view`] (the answer as
//! domain types) and [`names`] (what people call nodes and shards).

pub(crate) mod change;
pub(crate) mod client;
mod drain;
mod failover;
mod history;
mod members;
pub(crate) mod names;
mod nodes;
mod settings;
mod shards;
mod slots;
mod status;
pub(crate) mod view;

use crate::args::{self, Ask, MetaVerb};
use crate::output::Ended;
use crate::{dev, secret};
use capstan_proto::env::Env;
use capstan_proto::ids::RequestId;
use client::Client;
use std::path::Path;
use std::time::Duration;

/// A verb with its arguments.
pub(crate) enum Verb {
    Status(args::StatusArgs),
    Nodes(Ask),
    Shards(Ask),
    Slots(args::SlotsArgs),
    History(args::HistoryArgs),
    Settings(args::SettingsArgs),
    Join(args::JoinArgs),
    AddSlots(args::AddSlotsArgs),
    Failover(args::FailoverArgs),
    Drain(args::DrainArgs),
    Outcome(args::OutcomeArgs),
    Members(MetaVerb),
}

/// Runs a verb to its end.
pub(crate) fn run(verb: Verb) -> Ended {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return Ended::refused(format!("no runtime: {why}")),
    };
    runtime.block_on(async {
        match verb {
            Verb::Status(args) => status::run(args).await,
            Verb::Nodes(ask) => nodes::run(ask).await,
            Verb::Shards(ask) => shards::run(ask).await,
            Verb::Slots(args) => slots::run(args).await,
            Verb::History(args) => history::run(args).await,
            Verb::Settings(args) => settings::run(args).await,
            Verb::Join(args) => change::join(args).await,
            Verb::AddSlots(args) => change::add_slots(args).await,
            Verb::Failover(args) => failover::run(args).await,
            Verb::Drain(args) => drain::run(args).await,
            Verb::Outcome(args) => change::outcome(args).await,
            Verb::Members(MetaVerb::Members(args)) => members::run(args).await,
        }
        .unwrap_or_else(|ended| ended)
    })
}

/// A client for what the flags, the environment or the dev cluster of this folder say.
pub(crate) fn client(ask: &Ask) -> Result<Client, Ended> {
    let secret = secret::read_or_dev(ask.secret_file.as_deref())?;
    let given = ask.meta.iter().filter(|address| !address.is_empty()).cloned();
    let mut addresses: Vec<String> = given.collect();
    if addresses.is_empty() {
        addresses = dev::meta_addresses(Path::new("./capstan-dev"))
            .unwrap_or_else(|| args::DEV_META.split(',').map(str::to_owned).collect());
    }
    for address in &addresses {
        host_and_port(address).map_err(Ended::usage)?;
    }
    Ok(Client::new(Env::real(), secret, addresses, Duration::from_secs(ask.patience)))
}

/// Checks an address before it is asked for or stored.
pub(crate) fn host_and_port(address: &str) -> Result<(), String> {
    let bad = || format!("'{address}' is no HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() && !host.contains([' ', '/', '@', ',']) => Ok(()),
        Ok(_) | Err(_) => Err(bad()),
    }
}

/// The id of a request: the one that was given, else a new one.
pub(crate) fn request_id(given: Option<RequestId>) -> RequestId {
    given.unwrap_or_else(|| {
        let mut bytes = [0; 16];
        Env::real().random.fill(&mut bytes);
        RequestId(bytes)
    })
}

/// Who asks, for the history: user and machine.
pub(crate) fn author() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw())))
}
