//! Some of the fields: HRANDFIELD, HSCAN.

use crate::commands::{Args, Ctx, Outcome, iterate, sample, typed};
use crate::resp::{Error, Resp};
use crate::store::object::Places;

/// `HRANDFIELD key [count [WITHVALUES]]`
pub(super) fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let random = &*ctx.core.env.random;
    if args.len() == 2 {
        let hash = typed::hash(ctx.data.read(args.key(0)))?;
        let chosen = hash.and_then(|hash| hash.at_place(sample::place(hash, random)));
        ctx.out.bulk_or_null(chosen.map(|(field, _)| field));
        return Ok(());
    }
    let number = args.int_between(2, -i64::MAX, i64::MAX)?;
    let with_values = args.len() == 4;
    if args.len() > 4 || (with_values && !args.is(3, "WITHVALUES")) {
        return Err(Error::Syntax);
    }
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&number) {
        return Err(Error::err("value is out of range"));
    }
    let count = sample::Count::of(number)?;
    let Some(hash) = typed::hash(ctx.data.read(args.key(0)))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let chosen = sample::places(hash, count, random);
    let nested = ctx.out.resp() == Resp::Three;
    ctx.out.array(if with_values && !nested { 2 * chosen.len() } else { chosen.len() });
    for (field, value) in chosen.into_iter().filter_map(|place| hash.at_place(place)) {
        if with_values && nested {
            ctx.out.array(2);
        }
        ctx.out.bulk(field);
        if with_values {
            ctx.out.bulk(value);
        }
    }
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let cursor = iterate::cursor(args)?;
    let Some(hash) = typed::hash(ctx.data.read(args.key(0)))? else {
        iterate::nothing(ctx.out);
        return Ok(());
    };
    let options = iterate::Options::read(args, cursor)?;
    iterate::portion(
        ctx.out,
        hash,
        &options,
        |pair, name| name(pair.0),
        |(field, value), out| {
            out.bulk(field);
            out.bulk(value);
            2
        },
    );
    Ok(())
}
