//! Strings.

use super::{Arg, Args, Ctx, Flags, Group, Keys, Outcome, Spec};
use crate::store::Change;

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Returns the string value of a key.",
        args: &[Arg::key("key")],
        run: get,
        ..Spec::DEFAULT
    },
    Spec {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        args: &[Arg::key("key"), Arg::string("value")],
        run: set,
        ..Spec::DEFAULT
    },
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.read(args.key(0)) {
        Some(entry) => ctx.out.bulk(entry.value()),
        None => ctx.out.null(),
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(crate::resp::Error::Syntax);
    }
    ctx.data.apply(args.key(0), Change::Set { value: args.at(2), expires: None });
    ctx.out.ok();
    Ok(())
}
