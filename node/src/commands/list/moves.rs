//! From one list to another: LMOVE, RPOPLPUSH.

use super::end;
use super::ends::{room, take};
use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::{Error, Reply};
use crate::store::object::End;
use crate::store::{Change, Data};

/// `LMOVE source destination LEFT | RIGHT LEFT | RIGHT`
pub(super) fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (end(args, 3)?, end(args, 4)?);
    moved(ctx, args, from, to)
}

/// `RPOPLPUSH source destination`
pub(super) fn rpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    moved(ctx, args, End::Right, End::Left)
}

fn moved(ctx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End) -> Outcome {
    if !move_one(&mut ctx.data, ctx.out, (args.key(0), from), (args.key(1), to))? {
        ctx.out.null();
    }
    Ok(())
}

/// Moves one element and answers it. Whether there was one.
pub(super) fn move_one(
    data: &mut Data<'_>,
    out: &mut Reply,
    (source, from): (Key<'_>, End),
    (target, to): (Key<'_>, End),
) -> Result<bool, Error> {
    let Some(list) = typed::list(data.peek(source))? else { return Ok(false) };
    let index = if from == End::Left { 0 } else { list.len().saturating_sub(1) };
    let element = list.get(index).unwrap_or_default().to_vec();
    let len = typed::list(data.peek(target))?.map_or(0, |list| list.len());
    room(len, 1)?;
    out.bulk(&element);
    if source.bytes == target.bytes {
        // Never empty in between: the key keeps its expiry.
        data.apply(source, Change::ListPop { end: from, count: 1 });
        data.apply(source, Change::ListPush { end: to, value: &element });
    } else {
        data.apply(target, Change::ListPush { end: to, value: &element });
        take(data, source, from, 1);
    }
    Ok(true)
}
