//! Waiting for an element: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

use super::ends::{lmpop_options, show, take};
use super::moves::move_one;
use super::{end, ends};
use crate::blocking::{self, Wanted};
use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, patience, typed};
use crate::resp::{Error, Reply};
use crate::store::Data;
use crate::store::object::{End, Kind};
use std::time::Duration;

/// `BLPOP key [key ...] timeout`
pub(super) fn blpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Left)
}

/// `BRPOP key [key ...] timeout`
pub(super) fn brpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Right)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Outcome {
    let timeout = patience::read(args, args.len() - 1)?;
    for key in args.keys() {
        if pop_one(&mut ctx.data, ctx.out, key, end)? {
            return Ok(());
        }
    }
    if ctx.session.executing {
        ctx.out.null_array();
        return Ok(());
    }
    let attempt =
        Box::new(move |data: &mut Data<'_>, out: &mut Reply, key: Key<'_>| pop_one(data, out, key, end));
    let wanted = Wanted { kind: Kind::List, target: None, attempt };
    blocking::wait(ctx.core, (ctx.session, &mut ctx.data), args.keys(), wanted, timeout);
    Ok(())
}

/// Pops one element, and answers key and element. Whether there was one.
fn pop_one(data: &mut Data<'_>, out: &mut Reply, key: Key<'_>, end: End) -> Result<bool, Error> {
    let Some(list) = typed::list(data.peek(key))? else { return Ok(false) };
    let index = if end == End::Left { 0 } else { list.len().saturating_sub(1) };
    out.array(2);
    out.bulk(key.bytes);
    out.bulk(list.get(index).unwrap_or_default());
    take(data, key, end, 1);
    Ok(true)
}

/// `BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout`
pub(super) fn blmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (end(args, 3)?, end(args, 4)?);
    let timeout = patience::read(args, 5)?;
    moved(ctx, args, from, to, timeout)
}

/// `BRPOPLPUSH source destination timeout`
pub(super) fn brpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let timeout = patience::read(args, 3)?;
    moved(ctx, args, End::Right, End::Left, timeout)
}

fn moved(ctx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End, timeout: Option<Duration>) -> Outcome {
    let (source, target) = (args.key(0), args.key(1));
    if move_one(&mut ctx.data, ctx.out, (source, from), (target, to))? {
        return Ok(());
    }
    if ctx.session.executing {
        ctx.out.null();
        return Ok(());
    }
    let (slot, hash, bytes): (_, _, Box<[u8]>) = (target.slot, target.hash, target.bytes.into());
    let attempt = Box::new(move |data: &mut Data<'_>, out: &mut Reply, key: Key<'_>| {
        move_one(data, out, (key, from), (Key { bytes: &bytes, slot, hash }, to))
    });
    let wanted = Wanted { kind: Kind::List, target: Some(slot), attempt };
    blocking::wait(ctx.core, (ctx.session, &mut ctx.data), [source].into_iter(), wanted, timeout);
    Ok(())
}

/// `BLMPOP timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]`
pub(super) fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let timeout = patience::read(args, 1)?;
    let (end, count) = lmpop_options(args, 2)?;
    if ends::pop_first(ctx, args, end, count)? {
        return Ok(());
    }
    if ctx.session.executing {
        ctx.out.null_array();
        return Ok(());
    }
    let attempt = Box::new(move |data: &mut Data<'_>, out: &mut Reply, key: Key<'_>| {
        let Some(list) = typed::list(data.peek(key))? else { return Ok(false) };
        out.array(2);
        out.bulk(key.bytes);
        let count = show(out, list, end, count);
        take(data, key, end, count);
        Ok(true)
    });
    let wanted = Wanted { kind: Kind::List, target: None, attempt };
    blocking::wait(ctx.core, (ctx.session, &mut ctx.data), args.keys(), wanted, timeout);
    Ok(())
}
