//! Removing members: ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.

use super::bounds::{ByLex, ByScore};
use crate::commands::args::Key;
use crate::commands::list::between;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::Zset;
use crate::store::{Change, Data};

/// `ZREM key member [member ...]`
pub(super) fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, mut removed) = (args.key(0), 0);
    for member in args.from(2) {
        if typed::zset(ctx.data.peek(key))?.is_some_and(|zset| zset.score(member).is_some()) {
            ctx.data.apply(key, Change::ZsetRemove { member });
            ctx.data.delete_if_empty(key);
            removed += 1;
        }
    }
    ctx.out.int(removed);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
pub(super) fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    remove(ctx, args.key(0), |zset| between(zset.len(), start, stop))
}

/// `ZREMRANGEBYSCORE key min max`
pub(super) fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let range = ByScore::read(args.at(2), args.at(3))?;
    remove(ctx, args.key(0), |zset| range.ranks(zset))
}

/// `ZREMRANGEBYLEX key min max`
pub(super) fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let range = ByLex::read(args.at(2), args.at(3))?;
    remove(ctx, args.key(0), |zset| range.ranks(zset))
}

fn remove(ctx: &mut Ctx<'_>, key: Key<'_>, ranks: impl FnOnce(&Zset) -> (usize, usize)) -> Outcome {
    let removed = remove_ranks(&mut ctx.data, key, ranks)?;
    ctx.out.count(removed);
    Ok(())
}

/// Removes the members of some ranks; how many there were.
pub(super) fn remove_ranks(
    data: &mut Data<'_>,
    key: Key<'_>,
    ranks: impl FnOnce(&Zset) -> (usize, usize),
) -> Result<usize, Error> {
    let Some(zset) = typed::zset(data.peek(key))? else { return Ok(0) };
    let (begin, end) = ranks(zset);
    if end - begin == zset.len() {
        // All of them: the key goes with its members.
        let len = zset.len();
        data.apply(key, Change::Delete);
        return Ok(len);
    }
    let members: Vec<Box<[u8]>> = zset.range(begin, end).map(|(member, _)| member.into()).collect();
    for member in &members {
        data.apply(key, Change::ZsetRemove { member });
    }
    Ok(members.len())
}
