//! Under which name, and in which database, a value is: RENAME, RENAMENX, COPY, MOVE.
//!
//! An effect changes one key, so each of these is several: those that make the value under its new name, then the end
//! of the old one. In a cluster both keys are in one slot, so both effects are in one batch, in this order.

use crate::commands::args::{Key, parse_int};
use crate::commands::{Args, Ctx, Outcome};
use crate::core::Mode;
use crate::resp::Error;
use crate::store::{Change, Effect, codec, rebuild};

/// A value on its way to another key: the effects that make it there, as bytes, and whether it is a collection.
struct Copied {
    effects: Vec<u8>,
    collection: bool,
}

impl Copied {
    fn of(ctx: &mut Ctx<'_>, key: Key<'_>) -> Option<Self> {
        let entry = ctx.data.peek(key)?;
        let mut effects = Vec::new();
        rebuild::all(entry, |change| {
            codec::encode(&Effect { slot: key.slot, db: 0, key: b"", change }, &mut effects);
        });
        Some(Self { effects, collection: entry.object().is_some() })
    }

    fn put(&self, ctx: &mut Ctx<'_>, key: Key<'_>) {
        // Whatever is there gives way to a string, but a collection would be added to one of its type.
        if self.collection && ctx.data.peek(key).is_some() {
            ctx.data.apply(key, Change::Delete);
        }
        let mut rest = &self.effects[..];
        while let Ok((effect, after)) = codec::decode(rest) {
            ctx.data.apply(key, effect.change);
            rest = after;
        }
    }
}

/// `RENAME key newkey`
pub(super) fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.key(0), args.key(1));
    if from.bytes == to.bytes {
        if ctx.data.peek(from).is_none() {
            return Err(Error::NoSuchKey);
        }
    } else {
        let copied = Copied::of(ctx, from).ok_or(Error::NoSuchKey)?;
        // An expired newkey is removed as expired before it is overwritten.
        ctx.data.peek(to);
        copied.put(ctx, to);
        ctx.data.apply(from, Change::Delete);
    }
    ctx.out.ok();
    Ok(())
}

/// `RENAMENX key newkey`
pub(super) fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.key(0), args.key(1));
    if ctx.data.peek(from).is_none() {
        return Err(Error::NoSuchKey);
    }
    let renames = from.bytes != to.bytes && ctx.data.peek(to).is_none();
    if renames && let Some(copied) = Copied::of(ctx, from) {
        copied.put(ctx, to);
        ctx.data.apply(from, Change::Delete);
    }
    ctx.out.int(i64::from(renames));
    Ok(())
}

/// `COPY source destination [DB destination-db] [REPLACE]`
pub(super) fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (home, mut there, mut replace) = (ctx.data.db(), ctx.data.db(), false);
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "REPLACE") {
            replace = true;
        } else if args.is(i, "DB") && i + 1 < args.len() {
            i += 1;
            there = database(ctx, args, i)?;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    if ctx.core.mode == Mode::Cluster && there != home {
        return Err(Error::err("Copying to another database is not allowed in cluster mode"));
    }
    let (from, to) = (args.key(0), args.key(1));
    if home == there && from.bytes == to.bytes {
        return Err(Error::SameObject);
    }
    let Some(copied) = Copied::of(ctx, from) else {
        ctx.out.int(0);
        return Ok(());
    };
    ctx.data.set_db(there);
    let writes = ctx.data.peek(to).is_none() || replace;
    if writes {
        copied.put(ctx, to);
    }
    ctx.data.set_db(home);
    ctx.out.int(i64::from(writes));
    Ok(())
}

/// `MOVE key db`
pub(super) fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if ctx.core.mode == Mode::Cluster {
        return Err(Error::err("MOVE is not allowed in cluster mode"));
    }
    let (home, there) = (ctx.data.db(), database(ctx, args, 2)?);
    if home == there {
        return Err(Error::SameObject);
    }
    let key = args.key(0);
    let Some(copied) = Copied::of(ctx, key) else {
        ctx.out.int(0);
        return Ok(());
    };
    ctx.data.set_db(there);
    let moves = ctx.data.peek(key).is_none();
    if moves {
        copied.put(ctx, key);
    }
    ctx.data.set_db(home);
    if moves {
        ctx.data.apply(key, Change::Delete);
    }
    ctx.out.int(i64::from(moves));
    Ok(())
}

/// An argument as the index of a database.
fn database(ctx: &Ctx<'_>, args: Args<'_>, i: usize) -> Result<u8, Error> {
    let index = parse_int(args.at(i)).ok_or(Error::NotInteger)?;
    // Redis reads an int here.
    let index = i32::try_from(index).map_err(|_| Error::NotInteger)?;
    match u8::try_from(index) {
        Ok(index) if usize::from(index) < ctx.core.lanes.databases() => Ok(index),
        Ok(_) | Err(_) => Err(Error::DbIndexOutOfRange),
    }
}
