//! The connection itself.

use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec};
use crate::resp::Error;

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        group: Group::Connection,
        summary: "Returns the server's liveliness response.",
        args: &[Arg::string("message").optional()],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..Spec::DEFAULT
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: Flags::FAST,
        group: Group::Connection,
        summary: "Returns the given string.",
        args: &[Arg::string("message")],
        run: echo,
        ..Spec::DEFAULT
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
