//! `capstan`: the one product binary. `node` and `meta` serve, `dev` runs a whole cluster on this machine, every
//! other verb asks or tells a meta group something and ends.
//!
//! Only reading the command line, starting a runtime and the exit code are decided here.
#![forbid(unsafe_code)]

mod admin;
mod args;
mod dev;
mod logging;
mod output;
mod secret;
mod servers;
mod supervisor;

use args::Verb;
use output::Ended;
use std::process::ExitCode;
use supervisor::Announce;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (cli, settings) = args::read();
    logging::start(&cli);
    let ended = match cli.die_with.map(servers::die_with) {
        None => run(cli.verb, settings, Announce::Nothing),
        Some(Ok(())) => run(cli.verb, settings, Announce::Workers),
        Some(Err(ended)) => ended,
    };
    match ended {
        Ended::Well => ExitCode::SUCCESS,
        Ended::Said { code } => ExitCode::from(code),
        Ended::Badly { code, message } => {
            output::error(&message);
            ExitCode::from(code as u8)
        }
    }
}

fn run(verb: Verb, settings: args::Settings, announce: Announce) -> Ended {
    match verb {
        Verb::Node(args) => servers::node(args, settings, announce),
        Verb::Meta(args) => match args.verb {
            Some(verb) => admin::run(admin::Verb::Members(verb)),
            None => servers::meta(args.server),
        },
        Verb::Dev(args) => dev::run(args),
        Verb::Status(args) => admin::run(admin::Verb::Status(args)),
        Verb::Nodes(args) => admin::run(admin::Verb::Nodes(args)),
        Verb::Shards(args) => admin::run(admin::Verb::Shards(args)),
        Verb::Slots(args) => admin::run(admin::Verb::Slots(args)),
        Verb::History(args) => admin::run(admin::Verb::History(args)),
        Verb::Settings(args) => admin::run(admin::Verb::Settings(args)),
        Verb::Join(args) => admin::run(admin::Verb::Join(args)),
        Verb::AddSlots(args) => admin::run(admin::Verb::AddSlots(args)),
        Verb::Failover(args) => admin::run(admin::Verb::Failover(args)),
        Verb::Drain(args) => admin::run(admin::Verb::Drain(args)),
        Verb::Outcome(args) => admin::run(admin::Verb::Outcome(args)),
    }
}
