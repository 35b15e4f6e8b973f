//! The ends of a list: LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LMPOP.

use super::end;
use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::End;
use crate::store::{Change, Data};

/// Whether a push makes a list where there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Made,
    Left,
}

/// `LPUSH key element [element ...]`
pub(super) fn lpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Left, Missing::Made)
}

/// `RPUSH key element [element ...]`
pub(super) fn rpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Right, Missing::Made)
}

/// `LPUSHX key element [element ...]`
pub(super) fn lpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Left, Missing::Left)
}

/// `RPUSHX key element [element ...]`
pub(super) fn rpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Right, Missing::Left)
}

fn push(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, missing: Missing) -> Outcome {
    let key = args.key(0);
    let len = typed::list(ctx.data.peek(key))?.map(|list| list.len());
    if len.is_none() && missing == Missing::Left {
        ctx.out.int(0);
        return Ok(());
    }
    let new = room(len.unwrap_or(0), args.len() - 2)?;
    for value in args.from(2) {
        ctx.data.apply(key, Change::ListPush { end, value });
    }
    ctx.out.count(new);
    Ok(())
}

/// How long a list is with so many elements more: effects count with 32 bits (I12).
pub(super) fn room(len: usize, more: usize) -> Result<usize, Error> {
    let new = len.saturating_add(more);
    if u32::try_from(new).is_ok() { Ok(new) } else { Err(Error::err("the list would be too long")) }
}

/// `LPOP key [count]`
pub(super) fn lpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Left, "lpop")
}

/// `RPOP key [count]`
pub(super) fn rpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Right, "rpop")
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, command: &str) -> Outcome {
    if args.len() > 3 {
        return Err(Error::WrongArity(command.into()));
    }
    let count = if args.len() == 3 { Some(args.count(2)?) } else { None };
    let key = args.key(0);
    let list = typed::list(ctx.data.peek(key))?;
    match (list, count) {
        (None, None) => ctx.out.null(),
        (None, Some(_)) => ctx.out.null_array(),
        (Some(list), None) => {
            let index = if end == End::Left { 0 } else { list.len().saturating_sub(1) };
            ctx.out.bulk_or_null(list.get(index));
            take(&mut ctx.data, key, end, 1);
        }
        (Some(list), Some(count)) => {
            let count = show(ctx.out, list, end, count);
            take(&mut ctx.data, key, end, count);
        }
    }
    Ok(())
}

/// Writes up to so many elements from an end on, in the order in which they are popped; how many there were.
pub(super) fn show(
    out: &mut crate::resp::Reply,
    list: &crate::store::object::List,
    end: End,
    count: usize,
) -> usize {
    let count = count.min(list.len());
    out.array(count);
    match end {
        End::Left => list.iter_between(0, count).for_each(|element| out.bulk(element)),
        End::Right => list.iter_from(list.len() - count).rev().for_each(|element| out.bulk(element)),
    }
    count
}

/// Removes elements at an end, and the key with the last one.
pub(super) fn take(data: &mut Data<'_>, key: Key<'_>, end: End, count: usize) {
    if count > 0 {
        data.apply(key, Change::ListPop { end, count: u32::try_from(count).unwrap_or(u32::MAX) });
        data.delete_if_empty(key);
    }
}

/// `LMPOP numkeys key [key ...] LEFT | RIGHT [COUNT count]`
pub(super) fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (end, count) = lmpop_options(args, 1)?;
    if !pop_first(ctx, args, end, count)? {
        ctx.out.null_array();
    }
    Ok(())
}

/// The end and the count of LMPOP and BLMPOP, whose number of keys is the `at`th argument.
pub(super) fn lmpop_options(args: Args<'_>, at: usize) -> Result<(End, usize), Error> {
    let keys = args.int_from(at, 1, "numkeys should be greater than 0")?;
    let at = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(at + 1));
    let at = at.filter(|at| *at < args.len()).ok_or(Error::Syntax)?;
    let end = end(args, at)?;
    Ok((end, mpop_count(args, at + 1)?))
}

/// `[COUNT count]` from an argument on, as LMPOP and ZMPOP read it.
pub(in crate::commands) fn mpop_count(args: Args<'_>, from: usize) -> Result<usize, Error> {
    if args.len() <= from {
        return Ok(1);
    }
    if !args.is(from, "COUNT") || args.len() == from + 1 {
        return Err(Error::Syntax);
    }
    let count = args.int_from(from + 1, 1, "count should be greater than 0")?;
    if args.len() > from + 2 {
        return Err(Error::Syntax);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Pops from the first key that has a list, and answers key and elements. Whether there was one.
pub(super) fn pop_first(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, count: usize) -> Result<bool, Error> {
    for key in args.keys() {
        let Some(list) = typed::list(ctx.data.peek(key))? else { continue };
        ctx.out.array(2);
        ctx.out.bulk(key.bytes);
        let count = show(ctx.out, list, end, count);
        take(&mut ctx.data, key, end, count);
        return Ok(true);
    }
    Ok(false)
}
