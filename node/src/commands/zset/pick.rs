//! Some of the members: ZRANDMEMBER, ZSCAN.

use super::{Shown, begin, element};
use crate::commands::{Args, Ctx, Outcome, iterate, sample, typed};
use crate::numbers::double;
use crate::resp::Error;
use crate::store::object::Places;

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub(super) fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let random = &*ctx.core.env.random;
    if args.len() == 2 {
        let zset = typed::zset(ctx.data.read(args.key(0)))?;
        let chosen = zset.and_then(|zset| zset.at_place(sample::place(zset, random)));
        ctx.out.bulk_or_null(chosen.map(|(member, _)| member));
        return Ok(());
    }
    let number = args.int_between(2, -i64::MAX, i64::MAX)?;
    let shown = if args.len() == 4 { Shown::Scores } else { Shown::Members };
    if args.len() > 4 || (shown == Shown::Scores && !args.is(3, "WITHSCORES")) {
        return Err(Error::Syntax);
    }
    if shown == Shown::Scores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&number) {
        return Err(Error::err("value is out of range"));
    }
    let count = sample::Count::of(number)?;
    let Some(zset) = typed::zset(ctx.data.read(args.key(0)))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let chosen = sample::places(zset, count, random);
    begin(ctx.out, chosen.len(), shown);
    let elements = chosen.into_iter().filter_map(|place| zset.at_place(place));
    elements.for_each(|one| element(ctx.out, one, shown));
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let cursor = iterate::cursor(args)?;
    let Some(zset) = typed::zset(ctx.data.read(args.key(0)))? else {
        iterate::nothing(ctx.out);
        return Ok(());
    };
    let options = iterate::Options::read(args, cursor)?;
    iterate::portion(
        ctx.out,
        zset,
        &options,
        |one, name| name(one.0),
        |(member, score), out| {
            out.bulk(member);
            out.bulk(&double::text(score.value()));
            2
        },
    );
    Ok(())
}
