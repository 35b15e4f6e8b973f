//! The connection itself: who it is, which protocol and database it speaks to, and its end.

use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec, auth};
use crate::REDIS_VERSION;
use crate::clients::line;
use crate::config::Key;
use crate::core::Mode;
use crate::resp::{Error, Resp};
use crate::session::ReplyMode;
use std::sync::atomic::Ordering::Relaxed;

const ANYTIME: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);

/// What every row of this family has in common.
const BASE: Spec = Spec { group: Group::Connection, ..Spec::DEFAULT };

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "auth",
        arity: -2,
        flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        args: &[Arg::string("username").since("6.0.0").optional(), Arg::string("password")],
        history: &[("6.0.0", "Added ACL style (username and password).")],
        run: authenticate,
        ..BASE
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        summary: "Returns the given string.",
        args: &[Arg::string("message")],
        run: echo,
        ..BASE
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        since: "6.0.0",
        summary: "Handshakes with the Redis server.",
        args: &[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")])
                    .with_token("AUTH")
                    .optional(),
                Arg::string("clientname").with_token("SETNAME").optional(),
            ],
        )
        .optional()],
        history: &[(
            "6.2.0",
            "`protover` made optional; when called without arguments it returns the current connection's context.",
        )],
        run: hello,
        ..BASE
    },
    Spec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        summary: "Returns the server's liveliness response.",
        args: &[Arg::string("message").optional()],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..BASE
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY).and(Flags::UNQUEUED),
        summary: "Closes the connection.",
        run: quit,
        ..BASE
    },
    Spec {
        name: "reset",
        arity: 1,
        flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY).and(Flags::UNQUEUED),
        since: "6.2.0",
        summary: "Resets the connection.",
        run: reset,
        ..BASE
    },
    Spec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        summary: "Changes the selected database.",
        args: &[Arg::integer("index")],
        run: select,
        ..BASE
    },
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        1 => ctx.out.simple("PONG"),
        2 => ctx.out.bulk(args.at(1)),
        _ => return Err(Error::WrongArity("ping".into())),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.bulk(args.at(1));
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.session.closing = true;
    ctx.out.ok();
    Ok(())
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let index = args.int(1)?;
    if ctx.core.mode == Mode::Cluster && index != 0 {
        return Err(Error::err("SELECT is not allowed in cluster mode"));
    }
    let known = u64::try_from(index).is_ok_and(|index| index < ctx.core.config.databases());
    ctx.session.db = u8::try_from(index).ok().filter(|_| known).ok_or(Error::DbIndexOutOfRange)?;
    ctx.out.ok();
    Ok(())
}

/// Forgets all watched keys.
fn unwatch(ctx: &mut Ctx<'_>) {
    let (keys, flag) = ctx.session.watched.take();
    let Some(flag) = flag else { return };
    for key in keys {
        ctx.data.lane(key.slot).watchers.remove(key.db, &key.key, &flag);
    }
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.session.multi = None;
    unwatch(ctx);
    ctx.session.db = 0;
    ctx.session.readonly = false;
    ctx.session.asking = false;
    ctx.session.no_touch = false;
    ctx.session.reply = ReplyMode::On;
    ctx.session.user = "default".into();
    ctx.session.authenticated = ctx.core.config.text(Key::Requirepass).is_empty();
    ctx.set_resp(Resp::Two);
    if let Some(client) = &ctx.session.client {
        client.set_no_evict(false);
        client.set_no_touch(false);
        client.rename(|names| {
            names.name.clear();
            names.user = "default".into();
        });
    }
    ctx.out.simple("RESET");
    Ok(())
}

fn authenticate(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (user, password) = match args.len() {
        2 if ctx.core.config.text(Key::Requirepass).is_empty() => {
            return Err(Error::err(
                "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        2 => (b"default".as_slice(), args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(Error::Syntax),
    };
    log_in(ctx, user, password)?;
    ctx.out.ok();
    Ok(())
}

/// Takes a user on if the password is right. A wrong one leaves the connection as it was.
fn log_in(ctx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let wanted = ctx.core.config.text(Key::Requirepass);
    if user != b"default" || !(wanted.is_empty() || auth::same(password, wanted.as_bytes())) {
        ctx.core.gauges.logins_refused.fetch_add(1, Relaxed);
        return Err(Error::WrongPass);
    }
    ctx.session.authenticated = true;
    ctx.session.user = "default".into();
    Ok(())
}

/// What HELLO asks for.
#[derive(Debug, Default)]
struct Hello<'a> {
    resp: Option<Resp>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn read(args: Args<'a>) -> Result<Self, Error> {
        let mut hello = Self::default();
        if args.len() == 1 {
            return Ok(hello);
        }
        let version =
            args.int(1).map_err(|_| Error::err("Protocol version is not an integer or out of range"))?;
        hello.resp = Some(match version {
            2 => Resp::Two,
            3 => Resp::Three,
            _ => return Err(Error::NoProto),
        });
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            if args.is(at, "auth") && left >= 2 {
                hello.login = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if args.is(at, "setname") && left >= 1 {
                hello.name = Some(args.at(at + 1));
                at += 2;
            } else {
                let option = String::from_utf8_lossy(args.at(at));
                return Err(Error::err(format!("Syntax error in HELLO option '{option}'")));
            }
        }
        if hello.name.is_some_and(|name| !line::is_valid_name(name)) {
            return Err(Error::err("Client names cannot contain spaces, newlines or special characters."));
        }
        Ok(hello)
    }
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hello = Hello::read(args)?;
    if let Some((user, password)) = hello.login {
        log_in(ctx, user, password)?;
    }
    if !ctx.session.authenticated && !ctx.core.config.text(Key::Requirepass).is_empty() {
        return Err(Error::Custom(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time".into(),
        ));
    }
    let client = ctx.session.client.clone();
    if let (Some(name), Some(client)) = (hello.name, &client) {
        client.rename(|names| names.name = String::from_utf8_lossy(name).into());
    }
    if let Some(resp) = hello.resp {
        ctx.set_resp(resp);
    }
    let version = if ctx.session.resp == Resp::Three { 3 } else { 2 };
    ctx.out.map(7);
    let mut text = |name: &str, value: &str| {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(value.as_bytes());
    };
    text("server", "redis");
    text("version", REDIS_VERSION);
    ctx.out.bulk(b"proto");
    ctx.out.int(version);
    ctx.out.bulk(b"id");
    ctx.out.int(client.map_or(0, |client| client.id as i64));
    ctx.out.bulk(b"mode");
    ctx.out.bulk(b"cluster");
    ctx.out.bulk(b"role");
    ctx.out.bulk(ctx.core.role().text().as_bytes());
    ctx.out.bulk(b"modules");
    ctx.out.array(0);
    Ok(())
}
