//! COMMAND: the table of commands, told to clients.

use super::table::Keys;
use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec, describe, help, lookup};
use crate::glob::{self, Case};
use crate::resp::Error;

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);
const NAMES: &[Arg] = &[Arg::string("command-name").optional().multiple()];
const COMMAND_LINE: &[Arg] = &[Arg::string("command"), Arg::string("arg").optional().multiple()];
const TIPS: &[&str] = &["nondeterministic_output_order"];

/// What every row of this family has in common.
const BASE: Spec = Spec {
    container: "command",
    arity: 2,
    flags: FLAGS,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the number of commands to look up",
    ..Spec::DEFAULT
};

/// The family.
pub static ROWS: &[Spec] = &[Spec {
    name: "command",
    container: "",
    arity: -1,
    complexity: "O(N) where N is the total number of commands",
    summary: "Returns detailed information about all commands.",
    tips: TIPS,
    subcommands: SUBCOMMANDS,
    run: command,
    ..BASE
}];

static SUBCOMMANDS: &[Spec] = &[
    Spec { name: "count", complexity: "O(1)", summary: "Returns a count of commands.", run: count, ..BASE },
    Spec {
        name: "docs",
        arity: -2,
        since: "7.0.0",
        summary: "Returns documentary information about one, multiple or all commands.",
        args: NAMES,
        tips: TIPS,
        run: docs,
        ..BASE
    },
    Spec {
        name: "getkeys",
        arity: -3,
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names from an arbitrary command.",
        args: COMMAND_LINE,
        run: getkeys,
        ..BASE
    },
    Spec {
        name: "getkeysandflags",
        arity: -3,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names and access flags for an arbitrary command.",
        args: COMMAND_LINE,
        run: getkeysandflags,
        ..BASE
    },
    Spec {
        name: "help",
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        run: show_help,
        ..BASE
    },
    Spec {
        name: "info",
        arity: -2,
        summary: "Returns information about one, multiple or all commands.",
        args: NAMES,
        history: &[("7.0.0", "Allowed to be called with no argument to get info on all commands.")],
        tips: TIPS,
        run: info,
        ..BASE
    },
    Spec {
        name: "list",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of commands",
        summary: "Returns a list of command names.",
        args: &[Arg::one_of(
            "filterby",
            &[
                Arg::string("module-name").with_token("MODULE"),
                Arg::string("category").with_token("ACLCAT"),
                Arg::new("pattern", super::table::ArgKind::Pattern).with_token("PATTERN"),
            ],
        )
        .with_token("FILTERBY")
        .optional()],
        tips: TIPS,
        run: list,
        ..BASE
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full command.",
];

/// The rows that are no subcommands.
fn top_level() -> impl Iterator<Item = &'static Spec> + Clone {
    lookup::all().iter().map(|command| command.spec).filter(|spec| spec.container.is_empty())
}

/// The row of `get` or of `client|kill`.
fn named(name: &[u8]) -> Option<&'static Spec> {
    let mut parts = name.splitn(2, |&b| b == b'|');
    let command = lookup::command(parts.next()?)?;
    match parts.next() {
        None => Some(command.spec),
        Some(sub) => lookup::subcommand(command, sub).map(|command| command.spec),
    }
}

fn command(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    all_entries(ctx);
    Ok(())
}

fn all_entries(ctx: &mut Ctx<'_>) {
    ctx.out.array(top_level().count());
    top_level().for_each(|spec| describe::entry(ctx.out, spec));
}

fn count(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.out.count(top_level().count());
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        all_entries(ctx);
        return Ok(());
    }
    ctx.out.array(args.len() - 2);
    for name in args.from(2) {
        match named(name) {
            Some(spec) => describe::entry(ctx.out, spec),
            None => ctx.out.null_array(),
        }
    }
    Ok(())
}

fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let wanted: Vec<&Spec> = match args.len() {
        2 => top_level().collect(),
        _ => args.from(2).filter_map(named).collect(),
    };
    ctx.out.map(wanted.len());
    wanted.iter().for_each(|spec| describe::docs(ctx.out, spec));
    Ok(())
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let all = lookup::all().iter().map(|command| command.spec);
    let matching: Vec<&Spec> = match args.len() {
        2 => all.collect(),
        5 if args.is(2, "filterby") && args.is(3, "module") => Vec::new(),
        5 if args.is(2, "filterby") && args.is(3, "aclcat") => {
            let wanted = |name: &&str| name.as_bytes()[1..].eq_ignore_ascii_case(args.at(4));
            all.filter(|spec| describe::categories(spec).iter().any(wanted)).collect()
        }
        5 if args.is(2, "filterby") && args.is(3, "pattern") => {
            let wanted = |name: String| glob::matches(args.at(4), name.as_bytes(), Case::Ignored);
            all.filter(|spec| wanted(spec.full_name())).collect()
        }
        _ => return Err(Error::Syntax),
    };
    ctx.out.set(matching.len());
    matching.iter().for_each(|spec| ctx.out.bulk(spec.full_name().as_bytes()));
    Ok(())
}

/// The row of the command line that begins at argument 2, and which of its arguments are keys.
fn keys_of(args: Args<'_>) -> Result<(&'static Spec, Vec<u32>), Error> {
    let line = args.tail(2);
    let command = lookup::command(line.at(0)).ok_or_else(|| Error::err("Invalid command specified"))?;
    let command = match command.spec.subcommands {
        [] => command,
        _ => lookup::subcommand(command, line.at(1)).unwrap_or(command),
    };
    let spec = command.spec;
    if matches!(spec.keys, Keys::None) {
        return Err(Error::err("The command has no key arguments"));
    }
    if !spec.fits(line.len()) {
        return Err(Error::err("Invalid number of arguments specified for command"));
    }
    let found = describe::key_places(spec.keys, line);
    let found = found.map_err(|_| Error::err("Invalid arguments specified for command"))?;
    if found.is_empty() {
        return Err(Error::err("Invalid arguments specified for command"));
    }
    Ok((spec, found))
}

fn getkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (_, keys) = keys_of(args)?;
    ctx.out.array(keys.len());
    keys.iter().for_each(|&at| ctx.out.bulk(args.at(at as usize + 2)));
    Ok(())
}

fn getkeysandflags(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (spec, keys) = keys_of(args)?;
    let flags = describe::key_flags(spec);
    ctx.out.array(keys.len());
    for at in keys {
        ctx.out.array(2);
        ctx.out.bulk(args.at(at as usize + 2));
        ctx.out.set(flags.len());
        flags.iter().for_each(|flag| ctx.out.simple(flag));
    }
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    help::write(ctx.out, "COMMAND", HELP);
    Ok(())
}
