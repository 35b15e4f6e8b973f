//! The log of a process: one line an event on stderr, quiet unless something is worth knowing; and what a panic does.

use crate::args::{Cli, LogFormat, Verb};
use capstan_proto::panics;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// openraft names every unreachable peer at ERROR on every try; the servers say the same once, in their own words.
const SERVER_FILTER: &str = "info,openraft=off,sled=warn,h2=warn,hyper=warn,tonic=warn,tower=warn";
const ADMIN_FILTER: &str = "warn,openraft=off";

/// Starts logging and makes every panic that is not contained end the process.
pub(crate) fn start(cli: &Cli) {
    let serves = match &cli.verb {
        Verb::Node(_) | Verb::Dev(_) => true,
        Verb::Meta(meta) => meta.verb.is_none(),
        Verb::Status(_)
        | Verb::Nodes(_)
        | Verb::Shards(_)
        | Verb::Slots(_)
        | Verb::History(_)
        | Verb::Settings(_)
        | Verb::Join(_)
        | Verb::AddSlots(_)
        | Verb::Failover(_)
        | Verb::Drain(_)
        | Verb::Outcome(_) => false,
    };
    let default = if serves { SERVER_FILTER } else { ADMIN_FILTER };
    let filter = match cli.log.as_deref().map(|text| EnvFilter::try_new(format!("{default},{text}"))) {
        None => EnvFilter::new(default),
        Some(Ok(filter)) => filter,
        Some(Err(why)) => {
            crate::output::error(&format!("--log: {why}; logging as usual"));
            EnvFilter::new(default)
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first logger.
    let _ = match cli.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if serves {
        std::panic::set_hook(Box::new(on_panic));
    }
}

/// A server that panicked is in a state that nobody foresaw: it says where, and ends (I12).
fn on_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no text");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if panics::is_contained() {
        tracing::warn!(place, "foreign code stopped at what it read: {text}");
        return;
    }
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let trace = std::backtrace::Backtrace::force_capture();
    tracing::error!(place, thread, "panic, the process ends: {text}\n{trace}");
    std::process::abort();
}
