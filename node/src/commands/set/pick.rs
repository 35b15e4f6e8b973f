//! Some of the members: SPOP, SRANDMEMBER, SSCAN.

use crate::commands::{Args, Ctx, Outcome, iterate, sample, typed};
use crate::resp::Error;
use crate::store::Change;
use crate::store::object::Places;

/// `SPOP key [count]`: the effects name the members that were chosen.
pub(super) fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let count = if args.len() == 3 { Some(args.count(2)?) } else { None };
    let (key, random) = (args.key(0), &*ctx.core.env.random);
    let set = typed::set(ctx.data.peek(key))?;
    let chosen: Vec<Vec<u8>> = match (set, count) {
        (None, _) => Vec::new(),
        (Some(set), None) => {
            set.at_place(sample::place(set, random)).iter().map(|member| member.to_vec()).collect()
        }
        (Some(set), Some(count)) => sample::places(set, sample::Count::Distinct(count), random)
            .into_iter()
            .filter_map(|place| set.at_place(place).map(|member| member.to_vec()))
            .collect(),
    };
    match count {
        None => ctx.out.bulk_or_null(chosen.first().map(Vec::as_slice)),
        Some(_) => {
            ctx.out.set(chosen.len());
            chosen.iter().for_each(|member| ctx.out.bulk(member));
        }
    }
    for member in &chosen {
        ctx.data.apply(key, Change::SetRemove { member });
    }
    if !chosen.is_empty() {
        ctx.data.delete_if_empty(key);
    }
    Ok(())
}

/// `SRANDMEMBER key [count]`
pub(super) fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let random = &*ctx.core.env.random;
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    if args.len() == 2 {
        let set = typed::set(ctx.data.read(args.key(0)))?;
        let chosen = set.and_then(|set| set.at_place(sample::place(set, random)));
        ctx.out.bulk_or_null(chosen.as_deref());
        return Ok(());
    }
    let count = sample::Count::of(args.int_between(2, -i64::MAX, i64::MAX)?)?;
    let Some(set) = typed::set(ctx.data.read(args.key(0)))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let chosen = sample::places(set, count, random);
    ctx.out.array(chosen.len());
    chosen.into_iter().filter_map(|place| set.at_place(place)).for_each(|member| ctx.out.bulk(&member));
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let cursor = iterate::cursor(args)?;
    let Some(set) = typed::set(ctx.data.read(args.key(0)))? else {
        iterate::nothing(ctx.out);
        return Ok(());
    };
    let options = iterate::Options::read(args, cursor)?;
    iterate::portion(
        ctx.out,
        set,
        &options,
        |member, name| name(member),
        |member, out| {
            out.bulk(&member);
            1
        },
    );
    Ok(())
}
