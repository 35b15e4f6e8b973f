//! Starts what serves: the folder's settings, the secret, a runtime, the signals that stop it. What a server does is
//! decided in its own crate.

use crate::args::{MetaServer, NodeArgs, Settings};
use crate::output::Ended;
use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};

/// A session of its own, and no life after the process `parent`: asked for by `capstan dev` of each of its children.
pub(crate) fn die_with(parent: u32) -> Result<(), Ended> {
    let failed = |why: rustix::io::Errno| Ended::refused(format!("--die-with: {why}"));
    setsid().map_err(failed)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // The parent may have ended before the line above.
    let alive = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if alive { Ok(()) } else { Err(Ended::refused("--die-with: that process is not the parent")) }
}

pub(crate) fn node(_args: NodeArgs, _settings: Settings) -> Ended {
    Ended::refused("the data node's server is not part of this build yet")
}

pub(crate) fn meta(_args: MetaServer) -> Ended {
    Ended::refused("the meta server is not part of this build yet")
}
