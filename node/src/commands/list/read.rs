//! Reading lists: LLEN, LINDEX, LRANGE.

use crate::commands::{Args, Ctx, Outcome, typed};

/// `LLEN key`
pub(super) fn llen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.count(typed::list(ctx.data.read(args.key(0)))?.map_or(0, |list| list.len()));
    Ok(())
}

/// `LINDEX key index`
pub(super) fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let Some(list) = typed::list(ctx.data.read(args.key(0)))? else {
        ctx.out.null();
        return Ok(());
    };
    let index = place(list.len(), args.int(2)?);
    ctx.out.bulk_or_null(index.and_then(|index| list.get(index)));
    Ok(())
}

/// Where an index is that may count from the end.
pub(super) fn place(len: usize, index: i64) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(len).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// `LRANGE key start stop`
pub(super) fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let list = typed::list(ctx.data.read(args.key(0)))?;
    let (begin, end) = list.map_or((0, 0), |list| between(list.len(), start, stop));
    ctx.out.array(end - begin);
    let shown = list.into_iter().flat_map(|list| list.iter_between(begin, end));
    shown.for_each(|element| ctx.out.bulk(element));
    Ok(())
}

/// From `start` to `stop`, both included and negative ones counted from the end, as begin and exclusive end.
pub(in crate::commands) fn between(len: usize, start: i64, stop: i64) -> (usize, usize) {
    let total = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i.saturating_add(total) } else { i };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(total - 1));
    if start > stop { (0, 0) } else { (start as usize, stop as usize + 1) }
}

#[test]
fn ranges_of_elements_count_from_both_ends() {
    for (start, stop, expected) in
        [(0, -1, (0, 5)), (1, 2, (1, 3)), (-2, 9, (3, 5)), (3, 1, (0, 0)), (9, 12, (0, 0)), (-9, 0, (0, 1))]
    {
        assert_eq!(between(5, start, stop), expected, "{start} {stop}");
    }
    assert_eq!(between(0, 0, -1), (0, 0));
}
