//! Numbers in strings: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. The effect is the new value; the expiry stays.

use crate::commands::args::{Key, parse_int};
use crate::commands::{Args, Ctx, Outcome};
use crate::numbers::extended::{self, Extended, Read};
use crate::resp::Error;
use crate::store::Change;

/// `INCR key`
pub(super) fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args.key(0), 1)
}

/// `DECR key`
pub(super) fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args.key(0), -1)
}

/// `INCRBY key increment`
pub(super) fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args.key(0), args.int(2)?)
}

/// `DECRBY key decrement`
pub(super) fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match args.int(2)?.checked_neg() {
        Some(increment) => add(ctx, args.key(0), increment),
        None => Err(Error::err("decrement would overflow")),
    }
}

fn add(ctx: &mut Ctx<'_>, key: Key<'_>, increment: i64) -> Outcome {
    let (old, expires) = match ctx.data.peek(key) {
        Some(entry) => {
            let value = entry.text().ok_or(Error::WrongType)?;
            (parse_int(value).ok_or(Error::NotInteger)?, entry.expires())
        }
        None => (0, None),
    };
    let new = old.checked_add(increment).ok_or(Error::Overflow)?;
    let mut digits = itoa::Buffer::new();
    ctx.data.apply(key, Change::Set { value: digits.format(new).as_bytes(), expires });
    ctx.out.int(new);
    Ok(())
}

/// `INCRBYFLOAT key increment`
pub(super) fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let (old, expires) = match ctx.data.peek(key) {
        Some(entry) => (extended::read(entry.text().ok_or(Error::WrongType)?), entry.expires()),
        None => (extended::read(b"0"), None),
    };
    let (old, increment) = (number(old)?, number(extended::read(args.at(2)))?);
    let sum = match (old, increment) {
        (Some(old), Some(increment)) => extended::add(old, increment),
        // Redis accepts the words, and refuses what comes of them.
        (None, _) | (_, None) => None,
    };
    let text = sum.ok_or(Error::NanOrInfinity)?.text();
    ctx.data.apply(key, Change::Set { value: &text, expires });
    ctx.out.bulk(&text);
    Ok(())
}

/// A finite number, `None` for an infinity.
fn number(read: Read) -> Result<Option<Extended>, Error> {
    match read {
        Read::Finite(number) => Ok(Some(number)),
        Read::Infinite => Ok(None),
        Read::Invalid => Err(Error::NotFloat),
    }
}
