//! Taking the lowest or the highest: ZPOPMIN, ZPOPMAX, ZMPOP.

use super::remove::remove_ranks;
use crate::commands::args::Key;
use crate::commands::list::mpop_count;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::{Error, Reply, Resp};
use crate::store::Data;
use crate::store::object::Zset;

/// An end of a sorted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The lowest scores.
    Min,
    /// The highest.
    Max,
}

impl Side {
    /// The ranks of so many elements at this end.
    pub(super) fn ranks(self, zset: &Zset, count: usize) -> (usize, usize) {
        let count = count.min(zset.len());
        match self {
            Self::Min => (0, count),
            Self::Max => (zset.len() - count, zset.len()),
        }
    }
}

/// `ZPOPMIN key [count]`
pub(super) fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Min)
}

/// `ZPOPMAX key [count]`
pub(super) fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Max)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, side: Side) -> Outcome {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let count = if args.len() == 3 { Some(args.count(2)?) } else { None };
    let key = args.key(0);
    let Some(zset) = typed::zset(ctx.data.peek(key))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let (begin, end) = side.ranks(zset, count.unwrap_or(1));
    // One element is two values; a counted answer is pairs where the protocol has them in ZRANGE too.
    let nested = count.is_some() && ctx.out.resp() == Resp::Three;
    ctx.out.array(if nested { end - begin } else { 2 * (end - begin) });
    show(ctx.out, zset, side, (begin, end), nested);
    if begin < end {
        remove_ranks(&mut ctx.data, key, |_| (begin, end))?;
    }
    Ok(())
}

/// Writes the elements of some ranks in the order in which they are popped.
fn show(out: &mut Reply, zset: &Zset, side: Side, (begin, end): (usize, usize), nested: bool) {
    let mut each = |(member, score): (&[u8], crate::store::object::Score)| {
        if nested {
            out.array(2);
        }
        out.bulk(member);
        out.double(score.value());
    };
    let range = zset.range(begin, end);
    match side {
        Side::Min => range.for_each(&mut each),
        Side::Max => range.rev().for_each(&mut each),
    }
}

/// `ZMPOP numkeys key [key ...] MIN | MAX [COUNT count]`
pub(super) fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (side, count) = zmpop_options(args, 1)?;
    if !pop_first(&mut ctx.data, ctx.out, args.keys(), side, count)? {
        ctx.out.null_array();
    }
    Ok(())
}

/// The side and the count of ZMPOP and BZMPOP, whose number of keys is the `at`th argument.
pub(super) fn zmpop_options(args: Args<'_>, at: usize) -> Result<(Side, usize), Error> {
    let keys = args.int_from(at, 1, "numkeys should be greater than 0")?;
    let at = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(at + 1));
    let at = at.filter(|at| *at < args.len()).ok_or(Error::Syntax)?;
    let side = if args.is(at, "MIN") {
        Side::Min
    } else if args.is(at, "MAX") {
        Side::Max
    } else {
        return Err(Error::Syntax);
    };
    Ok((side, mpop_count(args, at + 1)?))
}

/// Pops from the first key that has a sorted set, and answers key and elements. Whether there was one.
pub(super) fn pop_first<'k>(
    data: &mut Data<'_>,
    out: &mut Reply,
    keys: impl Iterator<Item = Key<'k>>,
    side: Side,
    count: usize,
) -> Result<bool, Error> {
    for key in keys {
        let Some(zset) = typed::zset(data.peek(key))? else { continue };
        let ranks = side.ranks(zset, count);
        out.array(2);
        out.bulk(key.bytes);
        out.array(ranks.1 - ranks.0);
        show(out, zset, side, ranks, true);
        remove_ranks(data, key, |_| ranks)?;
        return Ok(true);
    }
    Ok(false)
}
