//! Reading scores and ranks: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT.

use super::bounds::{ByLex, ByScore};
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;

/// `ZCARD key`
pub(super) fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.count(typed::zset(ctx.data.read(args.key(0)))?.map_or(0, |zset| zset.len()));
    Ok(())
}

/// `ZSCORE key member`
pub(super) fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let zset = typed::zset(ctx.data.read(args.key(0)))?;
    match zset.and_then(|zset| zset.score(args.at(2))) {
        Some(score) => ctx.out.double(score.value()),
        None => ctx.out.null(),
    }
    Ok(())
}

/// `ZMSCORE key member [member ...]`
pub(super) fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let zset = typed::zset(ctx.data.read(args.key(0)))?;
    ctx.out.array(args.len() - 2);
    for member in args.from(2) {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => ctx.out.double(score.value()),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
pub(super) fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    rank(ctx, args, "zrank", |rank, _| rank)
}

/// `ZREVRANK key member [WITHSCORE]`
pub(super) fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    rank(ctx, args, "zrevrank", |rank, len| len - 1 - rank)
}

fn rank(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    command: &str,
    counted: impl FnOnce(usize, usize) -> usize,
) -> Outcome {
    if args.len() > 4 {
        return Err(Error::WrongArity(command.into()));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(Error::Syntax);
    }
    let zset = typed::zset(ctx.data.read(args.key(0)))?;
    let found = zset.and_then(|zset| Some((zset.len(), zset.rank(args.at(2))?, zset.score(args.at(2))?)));
    match found {
        Some((len, rank, score)) => {
            if with_score {
                ctx.out.array(2);
            }
            ctx.out.count(counted(rank, len));
            if with_score {
                ctx.out.double(score.value());
            }
        }
        None if with_score => ctx.out.null_array(),
        None => ctx.out.null(),
    }
    Ok(())
}

/// `ZCOUNT key min max`
pub(super) fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let range = ByScore::read(args.at(2), args.at(3))?;
    let ranks = typed::zset(ctx.data.read(args.key(0)))?.map_or((0, 0), |zset| range.ranks(zset));
    ctx.out.count(ranks.1 - ranks.0);
    Ok(())
}

/// `ZLEXCOUNT key min max`
pub(super) fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let range = ByLex::read(args.at(2), args.at(3))?;
    let ranks = typed::zset(ctx.data.read(args.key(0)))?.map_or((0, 0), |zset| range.ranks(zset));
    ctx.out.count(ranks.1 - ranks.0);
    Ok(())
}
