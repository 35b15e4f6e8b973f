//! CLIENT: connections, as seen and managed from one of them.

use super::client_filter::Filter;
use super::table::ArgKind;
use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec, help, lookup};
use crate::blocking::Unblock;
use crate::clients::{Client, line};
use crate::resp::Error;
use crate::session::ReplyMode;
use std::sync::Arc;

const COMMON: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = COMMON.and(Flags::ADMIN);
const ON_OFF: &[Arg] = &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])];
const TYPES: &[Arg] = &[
    Arg::word("normal", "NORMAL"),
    Arg::word("master", "MASTER"),
    Arg::word("replica", "REPLICA"),
    Arg::word("pubsub", "PUBSUB"),
];

/// What every row of this family has in common.
const BASE: Spec = Spec {
    container: "client",
    arity: 2,
    flags: COMMON,
    group: Group::Connection,
    since: "2.4.0",
    ..Spec::DEFAULT
};

/// The family.
pub static ROWS: &[Spec] = &[Spec {
    name: "client",
    container: "",
    arity: -2,
    flags: Flags::NONE,
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "getname",
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        run: getname,
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
        name: "id",
        since: "5.0.0",
        summary: "Returns the unique client ID of the connection.",
        run: id,
        ..BASE
    },
    Spec {
        name: "info",
        since: "6.2.0",
        summary: "Returns information about the connection.",
        tips: &["nondeterministic_output"],
        run: info,
        ..BASE
    },
    Spec {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of client connections",
        summary: "Terminates open connections.",
        args: &[Arg::one_of(
            "filter",
            &[
                Arg::string("ip:port"),
                Arg::one_of(
                    "new-format",
                    &[
                        Arg::integer("client-id").with_token("ID").optional(),
                        Arg::one_of("client-type", TYPES).with_token("TYPE").optional(),
                        Arg::string("username").with_token("USER").optional(),
                        Arg::string("ip:port").with_token("ADDR").optional(),
                        Arg::string("ip:port").with_token("LADDR").optional(),
                        Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])
                            .with_token("SKIPME")
                            .optional(),
                    ],
                )
                .multiple(),
            ],
        )],
        history: &[("2.8.12", "Added new filter format."), ("6.2.0", "`LADDR` option.")],
        run: kill,
        ..BASE
    },
    Spec {
        name: "list",
        arity: -2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of client connections",
        summary: "Lists open connections.",
        args: &[
            Arg::one_of("client-type", TYPES).with_token("TYPE").optional(),
            Arg::integer("client-id").with_token("ID").optional().multiple(),
        ],
        tips: &["nondeterministic_output"],
        run: list,
        ..BASE
    },
    Spec {
        name: "no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Sets the client eviction mode of the connection.",
        args: ON_OFF,
        run: no_evict,
        ..BASE
    },
    Spec {
        name: "no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        args: ON_OFF,
        run: no_touch,
        ..BASE
    },
    Spec {
        name: "reply",
        arity: 3,
        since: "3.2.0",
        summary: "Instructs the server whether to reply to commands.",
        args: &[Arg::one_of(
            "action",
            &[Arg::word("on", "ON"), Arg::word("off", "OFF"), Arg::word("skip", "SKIP")],
        )],
        run: reply,
        ..BASE
    },
    Spec {
        name: "setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Sets information specific to the client or connection.",
        args: &[Arg::one_of(
            "attr",
            &[
                Arg::new("libname", ArgKind::String).with_token("LIB-NAME"),
                Arg::new("libver", ArgKind::String).with_token("LIB-VER"),
            ],
        )],
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: setinfo,
        ..BASE
    },
    Spec {
        name: "setname",
        arity: 3,
        since: "2.6.9",
        summary: "Sets the connection name.",
        args: &[Arg::string("connection-name")],
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: setname,
        ..BASE
    },
    Spec {
        name: "unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(log N) where N is the number of client connections",
        summary: "Unblocks a client blocked by a blocking command from a different connection.",
        args: &[
            Arg::integer("client-id"),
            Arg::one_of("unblock-type", &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")])
                .optional(),
        ],
        run: unblock,
        ..BASE
    },
];

const HELP: &[&str] = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
];

/// The connection's own record. Every connection has one; only a session made by a test has not.
fn own(ctx: &Ctx<'_>) -> Result<Arc<Client>, Error> {
    ctx.session.client.clone().ok_or_else(|| Error::err("this session has no connection"))
}

fn shown(ctx: &Ctx<'_>, client: &Client) -> String {
    let name = |id: usize| lookup::all().get(id).map(|command| command.spec.full_name());
    line::of(client, ctx.core.env.clock.boot(), name)
}

fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let client = own(ctx)?;
    ctx.out.int(client.id as i64);
    Ok(())
}

fn getname(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    match own(ctx)?.names().name {
        name if name.is_empty() => ctx.out.null(),
        name => ctx.out.bulk(name.as_bytes()),
    }
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let client = own(ctx)?;
    note_own(ctx, &client);
    let text = shown(ctx, &client) + "\n";
    ctx.out.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

/// The record is written after a batch; the one who asks must be seen as it is now.
fn note_own(ctx: &Ctx<'_>, client: &Client) {
    let name = lookup::command(b"client");
    let command = name.and_then(|container| lookup::subcommand(container, b"list"));
    client.note_session(ctx.session, ctx.core.env.clock.boot(), command.map(|command| command.id));
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let filter = match args.len() {
        2 => Filter::default(),
        _ if args.is(2, "type") && args.len() == 4 => Filter::of_type(args.at(3))?,
        _ if args.is(2, "id") && args.len() > 3 => {
            let ids = args.from(3).map(|id| super::args::parse_int(id).filter(|id| *id > 0));
            let ids: Option<Vec<u64>> = ids.map(|id| id.map(i64::unsigned_abs)).collect();
            Filter::of_ids(ids.ok_or_else(|| Error::err("Invalid client ID"))?)
        }
        _ => return Err(Error::Syntax),
    };
    if let Some(client) = ctx.session.client.clone() {
        note_own(ctx, &client);
    }
    let mut text = String::new();
    let here = ctx.core.clients.list();
    // One that was cut off a moment ago is gone for whoever asks, though its connection may still be ending.
    for client in here.iter().filter(|client| !client.is_killed() && filter.takes(client)) {
        text.push_str(&shown(ctx, client));
        text.push('\n');
    }
    ctx.out.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

fn kill(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let me = ctx.session.client.as_ref().map(|client| client.id);
    let old_form = args.len() == 3;
    let filter = if old_form { Filter::from_address(args.at(2)) } else { Filter::read(args)? };
    let mut killed = 0;
    let here = ctx.core.clients.list();
    // One that was cut off a moment ago is gone for whoever asks, though its connection may still be ending.
    for client in here.iter().filter(|client| !client.is_killed() && filter.takes(client)) {
        if Some(client.id) == me {
            if filter.spares_caller() {
                continue;
            }
            // The answer leaves first.
            ctx.session.closing = true;
        } else {
            client.kill();
        }
        tracing::info!(client = client.id, from = %client.from, by = me, "client killed");
        killed += 1;
    }
    match (old_form, killed) {
        (true, 0) => return Err(Error::err("No such client")),
        (true, _) => ctx.out.ok(),
        (false, _) => ctx.out.int(killed),
    }
    Ok(())
}

fn unblock(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let how = match args.len() {
        3 => Unblock::Timeout,
        4 if args.is(3, "TIMEOUT") => Unblock::Timeout,
        4 if args.is(3, "ERROR") => Unblock::Error,
        4 => return Err(Error::err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(Error::Syntax),
    };
    let id = args.int(2)?;
    let waited = u64::try_from(id).is_ok_and(|id| ctx.core.blocking.unblock(id, how));
    ctx.out.int(i64::from(waited));
    Ok(())
}

fn setname(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if !line::is_valid_name(args.at(2)) {
        return Err(Error::err("Client names cannot contain spaces, newlines or special characters."));
    }
    let name = String::from_utf8_lossy(args.at(2)).into_owned();
    own(ctx)?.rename(|names| names.name = name);
    ctx.out.ok();
    Ok(())
}

fn setinfo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let value = String::from_utf8_lossy(args.at(3)).into_owned();
    let (version, attribute) = match (args.is(2, "lib-name"), args.is(2, "lib-ver")) {
        (true, _) => (false, "lib-name"),
        (_, true) => (true, "lib-ver"),
        (false, false) => {
            let option = String::from_utf8_lossy(args.at(2));
            return Err(Error::err(format!("Unrecognized option '{option}'")));
        }
    };
    if !line::is_valid_name(args.at(3)) {
        return Err(Error::err(format!(
            "{attribute} cannot contain spaces, newlines or special characters."
        )));
    }
    own(ctx)?.rename(|names| if version { names.library_version = value } else { names.library = value });
    ctx.out.ok();
    Ok(())
}

fn on_or_off(args: Args<'_>) -> Result<bool, Error> {
    match (args.is(2, "on"), args.is(2, "off")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        (false, false) => Err(Error::Syntax),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let on = on_or_off(args)?;
    own(ctx)?.set_no_evict(on);
    ctx.out.ok();
    Ok(())
}

fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let on = on_or_off(args)?;
    own(ctx)?.set_no_touch(on);
    ctx.session.no_touch = on;
    ctx.out.ok();
    Ok(())
}

fn reply(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.is(2, "on") {
        ctx.session.reply = ReplyMode::On;
        ctx.out.ok();
    } else if args.is(2, "off") {
        ctx.session.reply = ReplyMode::Off;
    } else if args.is(2, "skip") {
        // While replies are off, skipping one changes nothing.
        if ctx.session.reply != ReplyMode::Off {
            ctx.session.reply = ReplyMode::SkipNext;
        }
    } else {
        return Err(Error::Syntax);
    }
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    help::write(ctx.out, "CLIENT", HELP);
    Ok(())
}
