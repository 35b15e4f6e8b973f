//! Waiting for a member: BZPOPMIN, BZPOPMAX, BZMPOP.

use super::pop::{Side, pop_first, zmpop_options};
use super::remove::remove_ranks;
use crate::blocking::{self, Wanted};
use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, patience, typed};
use crate::resp::{Error, Reply};
use crate::store::Data;
use crate::store::object::Kind;

/// `BZPOPMIN key [key ...] timeout`
pub(super) fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Min)
}

/// `BZPOPMAX key [key ...] timeout`
pub(super) fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Max)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, side: Side) -> Outcome {
    let timeout = patience::read(args, args.len() - 1)?;
    for key in args.keys() {
        if pop_one(&mut ctx.data, ctx.out, key, side)? {
            return Ok(());
        }
    }
    if ctx.session.executing {
        ctx.out.null_array();
        return Ok(());
    }
    let attempt =
        Box::new(move |data: &mut Data<'_>, out: &mut Reply, key: Key<'_>| pop_one(data, out, key, side));
    let wanted = Wanted { kind: Kind::Zset, target: None, attempt };
    blocking::wait(ctx.core, (ctx.session, &mut ctx.data), args.keys(), wanted, timeout);
    Ok(())
}

/// Pops one element, and answers key, member and score. Whether there was one.
fn pop_one(data: &mut Data<'_>, out: &mut Reply, key: Key<'_>, side: Side) -> Result<bool, Error> {
    let Some(zset) = typed::zset(data.peek(key))? else { return Ok(false) };
    let ranks = side.ranks(zset, 1);
    let Some((member, score)) = zset.range(ranks.0, ranks.1).next() else { return Ok(false) };
    out.array(3);
    out.bulk(key.bytes);
    out.bulk(member);
    out.double(score.value());
    remove_ranks(data, key, |_| ranks)?;
    Ok(true)
}

/// `BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count]`
pub(super) fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let timeout = patience::read(args, 1)?;
    let (side, count) = zmpop_options(args, 2)?;
    if pop_first(&mut ctx.data, ctx.out, args.keys(), side, count)? {
        return Ok(());
    }
    if ctx.session.executing {
        ctx.out.null_array();
        return Ok(());
    }
    let attempt = Box::new(move |data: &mut Data<'_>, out: &mut Reply, key: Key<'_>| {
        pop_first(data, out, [key].into_iter(), side, count)
    });
    let wanted = Wanted { kind: Kind::Zset, target: None, attempt };
    blocking::wait(ctx.core, (ctx.session, &mut ctx.data), args.keys(), wanted, timeout);
    Ok(())
}
