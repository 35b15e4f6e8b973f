//! Changing fields: HSET, HMSET, HSETNX, HDEL, HINCRBY, HINCRBYFLOAT. The effect of an increment is the new value.

use crate::commands::args::parse_int;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::numbers::extended::{self, Read};
use crate::resp::Error;
use crate::store::Change;

/// `HSET key field value [field value ...]`
pub(super) fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let added = set_pairs(ctx, args, "hset")?;
    ctx.out.count(added);
    Ok(())
}

/// `HMSET key field value [field value ...]`
pub(super) fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    set_pairs(ctx, args, "hmset")?;
    ctx.out.ok();
    Ok(())
}

/// Sets the pairs; how many fields are new.
fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>, command: &str) -> Result<usize, Error> {
    if args.len() % 2 == 1 {
        return Err(Error::WrongArity(command.into()));
    }
    let key = args.key(0);
    let before = typed::hash(ctx.data.peek(key))?.map_or(0, |hash| hash.len());
    for i in (2..args.len()).step_by(2) {
        ctx.data.apply(key, Change::HashSet { field: args.at(i), value: args.at(i + 1) });
    }
    let after = typed::hash(ctx.data.peek(key))?.map_or(0, |hash| hash.len());
    Ok(after - before)
}

/// `HSETNX key field value`
pub(super) fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (args.key(0), args.at(2));
    let missing = typed::hash(ctx.data.peek(key))?.is_none_or(|hash| hash.get(field).is_none());
    if missing {
        ctx.data.apply(key, Change::HashSet { field, value: args.at(3) });
    }
    ctx.out.int(i64::from(missing));
    Ok(())
}

/// `HDEL key field [field ...]`
pub(super) fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, mut deleted) = (args.key(0), 0);
    for field in args.from(2) {
        if typed::hash(ctx.data.peek(key))?.is_some_and(|hash| hash.get(field).is_some()) {
            ctx.data.apply(key, Change::HashDelete { field });
            ctx.data.delete_if_empty(key);
            deleted += 1;
        }
    }
    ctx.out.int(deleted);
    Ok(())
}

/// `HINCRBY key field increment`
pub(super) fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, field, increment) = (args.key(0), args.at(2), args.int(3)?);
    let old = match typed::hash(ctx.data.peek(key))?.and_then(|hash| hash.get(field)) {
        Some(value) => parse_int(value).ok_or_else(|| Error::err("hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(Error::Overflow)?;
    let mut digits = itoa::Buffer::new();
    ctx.data.apply(key, Change::HashSet { field, value: digits.format(new).as_bytes() });
    ctx.out.int(new);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub(super) fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (args.key(0), args.at(2));
    let increment = match extended::read(args.at(3)) {
        Read::Finite(number) => number,
        Read::Infinite => return Err(Error::err("value is NaN or Infinity")),
        Read::Invalid => return Err(Error::NotFloat),
    };
    let old = typed::hash(ctx.data.peek(key))?.and_then(|hash| hash.get(field)).unwrap_or(b"0");
    let sum = match extended::read(old) {
        Read::Finite(old) => extended::add(old, increment),
        Read::Infinite => None,
        Read::Invalid => return Err(Error::err("hash value is not a float")),
    };
    let text = sum.ok_or(Error::NanOrInfinity)?.text();
    ctx.data.apply(key, Change::HashSet { field, value: &text });
    ctx.out.bulk(&text);
    Ok(())
}
