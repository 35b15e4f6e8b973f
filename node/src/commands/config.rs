//! CONFIG: the settings, read and changed by clients.
//!
//! A setting of the whole cluster becomes a proposal to the meta group and is acknowledged when it is committed; in
//! an emulated node it is the node's own. SET and REWRITE may wait for the group or the disk, so they run off the I/O
//! workers.

use super::table::ArgKind;
use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec, help};
use crate::cluster::admin::AdminError;
use crate::config::{Change, Scope, file};
use crate::core::Mode;
use crate::resp::Error;
use crate::store::lane::LaneStats;

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

/// What every row of this family has in common.
const BASE: Spec = Spec {
    container: "config",
    arity: 2,
    flags: FLAGS,
    group: Group::Server,
    since: "2.0.0",
    ..Spec::DEFAULT
};

/// The family.
pub static ROWS: &[Spec] = &[Spec {
    name: "config",
    container: "",
    arity: -2,
    flags: Flags::NONE,
    complexity: "Depends on subcommand.",
    summary: "A container for server configuration commands.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        arity: -3,
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Returns the effective values of configuration parameters.",
        args: &[Arg::new("parameter", ArgKind::Pattern).multiple()],
        history: &[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")],
        run: get,
        ..BASE
    },
    Spec {
        name: "help",
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        run: show_help,
        ..BASE
    },
    Spec {
        name: "resetstat",
        flags: FLAGS.and(Flags::WHOLE_NODE),
        summary: "Resets the server's statistics.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: resetstat,
        ..BASE
    },
    Spec {
        name: "rewrite",
        flags: FLAGS.and(Flags::LONG),
        since: "2.8.0",
        summary: "Persists the effective configuration to file.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: rewrite,
        ..BASE
    },
    Spec {
        name: "set",
        arity: -4,
        flags: FLAGS.and(Flags::LONG),
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Sets configuration parameters in-flight.",
        args: &[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        history: &[("7.0.0", "Added the ability to set multiple parameters in one call.")],
        run: set,
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).collect();
    let found = ctx.core.config.matching(patterns.into_iter());
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..args.len()).step_by(2).map(|at| (args.at(at), args.at(at + 1))).collect();
    let changes = ctx.core.config.plan(&pairs).map_err(|error| Error::Custom(error.to_string().into()))?;
    match changes.as_slice() {
        [one] if ctx.core.mode == Mode::Cluster && one.key.row().scope == Scope::Cluster => {
            propose(ctx, one)?
        }
        _ => ctx.core.config.apply(changes),
    }
    ctx.out.ok();
    Ok(())
}

/// Has the meta group set a setting of the cluster. This node's own copy follows with the cluster state.
fn propose(ctx: &Ctx<'_>, change: &Change) -> Result<(), Error> {
    let row = change.key.row();
    let refused = |why: &dyn std::fmt::Display| {
        Error::err(format!("CONFIG SET failed (possibly related to argument '{}') - {why}", row.name))
    };
    let admin = ctx.core.admin.get().ok_or_else(|| refused(&"the node has not joined its cluster yet"))?;
    if let Some(asked) = &change.raised_from {
        tracing::warn!(setting = row.name, asked, "below its floor: raised");
    }
    let value = row.kind.show(&change.value);
    let runtime = tokio::runtime::Handle::try_current().map_err(|error| refused(&error))?;
    match runtime.block_on(admin.set_setting(row.name, &value)) {
        Ok(()) => Ok(()),
        Err(error @ (AdminError::Rejected(_) | AdminError::Unreachable(_) | AdminError::Unknown(_))) => {
            Err(refused(&error))
        }
    }
}

fn rewrite(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let config = &ctx.core.config;
    let unsaved = config.unsaved();
    let Some(path) = config.file() else {
        // What only the cluster decides is kept by the meta group: nothing is lost without a file.
        if ctx.core.mode == Mode::Cluster && unsaved.is_empty() {
            ctx.out.ok();
            return Ok(());
        }
        return Err(Error::err("The server is running without a config file"));
    };
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(file = %path.display(), %error, "CONFIG REWRITE failed");
        Error::err(format!("Rewriting config file: {error}"))
    };
    let disk = &ctx.core.env.disk;
    let old = disk.read(&path).map_err(|error| failed(&error))?.unwrap_or_default();
    let old = String::from_utf8(old).map_err(|error| failed(&error))?;
    let pairs = unsaved.iter().map(|(row, value)| (row.name, value.as_str()));
    let new = file::rewritten(&old, pairs).map_err(|error| failed(&error))?;
    if new != old {
        disk.replace(&path, new.as_bytes()).map_err(|error| failed(&error))?;
    }
    config.saved(&unsaved);
    tracing::info!(file = %path.display(), settings = unsaved.len(), "settings written");
    ctx.out.ok();
    Ok(())
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.core.stats.reset();
    ctx.core.gauges.reset(ctx.core.lanes.memory() as u64);
    ctx.data.each_lane(|lane| lane.stats = LaneStats::default());
    ctx.out.ok();
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    help::write(ctx.out, "CONFIG", HELP);
    Ok(())
}
