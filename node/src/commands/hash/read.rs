//! Reading fields: HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN.

use crate::commands::{Args, Ctx, Outcome, typed};

/// `HGET key field`
pub(super) fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.bulk_or_null(hash.and_then(|hash| hash.get(args.at(2))));
    Ok(())
}

/// `HMGET key field [field ...]`
pub(super) fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.array(args.len() - 2);
    for field in args.from(2) {
        ctx.out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

/// `HGETALL key`
pub(super) fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.map(hash.map_or(0, |hash| hash.len()));
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        ctx.out.bulk(field);
        ctx.out.bulk(value);
    }
    Ok(())
}

/// `HKEYS key`
pub(super) fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.array(hash.map_or(0, |hash| hash.len()));
    hash.into_iter().flat_map(|hash| hash.iter()).for_each(|(field, _)| ctx.out.bulk(field));
    Ok(())
}

/// `HVALS key`
pub(super) fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.array(hash.map_or(0, |hash| hash.len()));
    hash.into_iter().flat_map(|hash| hash.iter()).for_each(|(_, value)| ctx.out.bulk(value));
    Ok(())
}

/// `HLEN key`
pub(super) fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.count(typed::hash(ctx.data.read(args.key(0)))?.map_or(0, |hash| hash.len()));
    Ok(())
}

/// `HEXISTS key field`
pub(super) fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.int(i64::from(hash.is_some_and(|hash| hash.get(args.at(2)).is_some())));
    Ok(())
}

/// `HSTRLEN key field`
pub(super) fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let hash = typed::hash(ctx.data.read(args.key(0)))?;
    ctx.out.count(hash.and_then(|hash| hash.get(args.at(2))).map_or(0, <[u8]>::len));
    Ok(())
}
