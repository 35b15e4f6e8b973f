//! The middle of a list: LSET, LINSERT, LREM, LTRIM.

use super::ends::{room, take};
use super::read::{between, place};
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::End;
use crate::store::{Change, effect::Indices};

/// `LSET key index element`
pub(super) fn lset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let len = typed::list(ctx.data.peek(key))?.ok_or(Error::NoSuchKey)?.len();
    let index = place(len, args.int(2)?).ok_or_else(|| Error::err("index out of range"))?;
    ctx.data.apply(key, Change::ListSet { index: index as u32, value: args.at(3) });
    ctx.out.ok();
    Ok(())
}

/// `LINSERT key BEFORE | AFTER pivot element`
pub(super) fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let behind = if args.is(2, "BEFORE") {
        0
    } else if args.is(2, "AFTER") {
        1
    } else {
        return Err(Error::Syntax);
    };
    let (key, pivot) = (args.key(0), args.at(3));
    let Some(list) = typed::list(ctx.data.peek(key))? else {
        ctx.out.int(0);
        return Ok(());
    };
    let new = room(list.len(), 1)?;
    match list.iter_from(0).position(|element| element == pivot) {
        Some(at) => {
            let index = (at + behind) as u32;
            ctx.data.apply(key, Change::ListInsert { index, value: args.at(4) });
            ctx.out.count(new);
        }
        None => ctx.out.int(-1),
    }
    Ok(())
}

/// `LREM key count element`
pub(super) fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, count, element) = (args.key(0), args.int(2)?, args.at(3));
    let Some(list) = typed::list(ctx.data.peek(key))? else {
        ctx.out.int(0);
        return Ok(());
    };
    let most =
        if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let matching = |(at, there): (usize, &[u8])| (there == element).then_some(at as u32);
    let found: Vec<u32> = if count < 0 {
        let last = list.len().saturating_sub(1);
        let from_end = list.iter_from(0).rev().enumerate().map(|(i, there)| (last - i, there));
        let mut found: Vec<u32> = from_end.filter_map(matching).take(most).collect();
        found.reverse();
        found
    } else {
        list.iter_from(0).enumerate().filter_map(matching).take(most).collect()
    };
    if !found.is_empty() {
        let bytes: Vec<u8> = found.iter().flat_map(|at| at.to_le_bytes()).collect();
        let indices = Indices::new(&bytes).ok_or(Error::Syntax)?;
        ctx.data.apply(key, Change::ListRemove { indices });
        ctx.data.delete_if_empty(key);
    }
    ctx.out.count(found.len());
    Ok(())
}

/// `LTRIM key start stop`: what is outside of the range is popped from both ends.
pub(super) fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, start, stop) = (args.key(0), args.int(2)?, args.int(3)?);
    if let Some(list) = typed::list(ctx.data.peek(key))? {
        let len = list.len();
        let (begin, end) = between(len, start, stop);
        take(&mut ctx.data, key, End::Right, len - end);
        take(&mut ctx.data, key, End::Left, begin);
    }
    ctx.out.ok();
    Ok(())
}
