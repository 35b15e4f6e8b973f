//! Members: SADD, SREM, SCARD, SISMEMBER, SMISMEMBER, SMEMBERS, SMOVE.

use crate::commands::{Args, Ctx, Outcome, typed};
use crate::store::Change;

/// `SADD key member [member ...]`
pub(super) fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, mut added) = (args.key(0), 0);
    for member in args.from(2) {
        if typed::set(ctx.data.peek(key))?.is_none_or(|set| !set.contains(member)) {
            ctx.data.apply(key, Change::SetAdd { member });
            added += 1;
        }
    }
    ctx.out.int(added);
    Ok(())
}

/// `SREM key member [member ...]`
pub(super) fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, mut removed) = (args.key(0), 0);
    for member in args.from(2) {
        if typed::set(ctx.data.peek(key))?.is_some_and(|set| set.contains(member)) {
            ctx.data.apply(key, Change::SetRemove { member });
            ctx.data.delete_if_empty(key);
            removed += 1;
        }
    }
    ctx.out.int(removed);
    Ok(())
}

/// `SCARD key`
pub(super) fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.count(typed::set(ctx.data.read(args.key(0)))?.map_or(0, |set| set.len()));
    Ok(())
}

/// `SISMEMBER key member`
pub(super) fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let set = typed::set(ctx.data.read(args.key(0)))?;
    ctx.out.int(i64::from(set.is_some_and(|set| set.contains(args.at(2)))));
    Ok(())
}

/// `SMISMEMBER key member [member ...]`
pub(super) fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let set = typed::set(ctx.data.read(args.key(0)))?;
    ctx.out.array(args.len() - 2);
    for member in args.from(2) {
        ctx.out.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

/// `SMEMBERS key`
pub(super) fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let set = typed::set(ctx.data.read(args.key(0)))?;
    ctx.out.set(set.map_or(0, |set| set.len()));
    set.into_iter().flat_map(|set| set.iter()).for_each(|member| ctx.out.bulk(&member));
    Ok(())
}

/// `SMOVE source destination member`
pub(super) fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (source, target, member) = (args.key(0), args.key(1), args.at(3));
    let there = match typed::set(ctx.data.peek(source))? {
        Some(set) => set.contains(member),
        None => {
            ctx.out.int(0);
            return Ok(());
        }
    };
    let in_target = typed::set(ctx.data.peek(target))?.is_some_and(|set| set.contains(member));
    if there && source.bytes != target.bytes {
        ctx.data.apply(source, Change::SetRemove { member });
        ctx.data.delete_if_empty(source);
        if !in_target {
            ctx.data.apply(target, Change::SetAdd { member });
        }
    }
    ctx.out.int(i64::from(there));
    Ok(())
}
