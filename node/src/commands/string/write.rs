//! Whole values: SET in all its forms, GETSET, GETDEL, GETEX, MSET, MSETNX.

use super::options::{Condition, Expiry, Of, Options};
use crate::commands::deadline::{From, Stated, Unit};
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::Change;
use capstan_proto::env::UnixMs;

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub(super) fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let value = args.at(2);
    if args.len() == 3 {
        ctx.data.apply(key, Change::Set { value, expires: None });
        ctx.out.ok();
        return Ok(());
    }
    let options = Options::read(args, 3, Of::Set)?;
    let deadline = options.deadline(args, "set", ctx.now)?;
    let entry = ctx.data.peek(key);
    let (found, old_expiry) = (entry.is_some(), entry.and_then(|entry| entry.expires()));
    if options.get {
        ctx.out.bulk_or_null(typed::text(entry)?);
    }
    let writes = match options.condition {
        Condition::Always => true,
        Condition::Missing => !found,
        Condition::Present => found,
    };
    if writes {
        let expires = if options.expiry == Expiry::Keep { old_expiry } else { deadline };
        ctx.data.apply(key, Change::Set { value, expires });
    }
    match (options.get, writes) {
        (true, _) => {}
        (false, true) => ctx.out.ok(),
        (false, false) => ctx.out.null(),
    }
    Ok(())
}

/// `SETNX key value`
pub(super) fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let missing = ctx.data.peek(key).is_none();
    if missing {
        ctx.data.apply(key, Change::Set { value: args.at(2), expires: None });
    }
    ctx.out.int(i64::from(missing));
    Ok(())
}

/// `SETEX key seconds value`
pub(super) fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set_expiring(ctx, args, Stated { unit: Unit::Seconds, from: From::Now, command: "setex" })
}

/// `PSETEX key milliseconds value`
pub(super) fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set_expiring(ctx, args, Stated { unit: Unit::Milliseconds, from: From::Now, command: "psetex" })
}

fn set_expiring(ctx: &mut Ctx<'_>, args: Args<'_>, stated: Stated) -> Outcome {
    let expires = stated.positive(args.int(2)?, ctx.now)?;
    ctx.data.apply(args.key(0), Change::Set { value: args.at(3), expires: Some(expires) });
    ctx.out.ok();
    Ok(())
}

/// `GETSET key value`
pub(super) fn getset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    ctx.out.bulk_or_null(typed::text(ctx.data.read(key))?);
    ctx.data.apply(key, Change::Set { value: args.at(2), expires: None });
    Ok(())
}

/// `GETDEL key`
pub(super) fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    match typed::text(ctx.data.read(key))? {
        Some(value) => ctx.out.bulk(value),
        None => {
            ctx.out.null();
            return Ok(());
        }
    }
    ctx.data.apply(key, Change::Delete);
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
pub(super) fn getex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let options = Options::read(args, 2, Of::GetEx)?;
    let Some(entry) = ctx.data.read(key) else {
        ctx.out.null();
        return Ok(());
    };
    let (value, expires) = (typed::text(Some(entry))?.unwrap_or_default(), entry.expires());
    // The number is looked at only where there is a key, but an error must leave nothing written.
    let deadline = options.deadline(args, "getex", ctx.now)?;
    ctx.out.bulk(value);
    let change = match (options.expiry, deadline) {
        (Expiry::At(..), Some(at)) if has_passed(at, ctx.now) => Change::Delete,
        (Expiry::At(..), at) => Change::Expire { at },
        (Expiry::Persist, _) if expires.is_some() => Change::Expire { at: None },
        (Expiry::Persist | Expiry::Unsaid | Expiry::Keep, _) => return Ok(()),
    };
    ctx.data.apply(key, change);
    Ok(())
}

/// A key is gone from the millisecond on in which it expires.
fn has_passed(at: UnixMs, now: UnixMs) -> bool {
    at <= now
}

/// `MSET key value [key value ...]`
pub(super) fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set_pairs(ctx, args, "mset")?;
    ctx.out.ok();
    Ok(())
}

/// `MSETNX key value [key value ...]`
pub(super) fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    whole_pairs(args, "msetnx")?;
    let missing = args.keys().all(|key| ctx.data.peek(key).is_none());
    if missing {
        set_pairs(ctx, args, "msetnx")?;
    }
    ctx.out.int(i64::from(missing));
    Ok(())
}

fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>, command: &'static str) -> Outcome {
    whole_pairs(args, command)?;
    for (n, key) in args.keys().enumerate() {
        ctx.data.apply(key, Change::Set { value: args.at(2 + 2 * n), expires: None });
    }
    Ok(())
}

fn whole_pairs(args: Args<'_>, command: &'static str) -> Outcome {
    if args.len().is_multiple_of(2) { Err(Error::WrongArity(command.into())) } else { Ok(()) }
}
