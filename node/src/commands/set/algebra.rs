//! Several sets: SINTER, SUNION, SDIFF, their STORE forms, and SINTERCARD.
//!
//! Results are gathered as texts before anything is written, since the target may be one of the sources.

use crate::commands::args::Key;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::object::Set;
use crate::store::{Change, Data};
use std::collections::HashSet;

type Members = Vec<Box<[u8]>>;

/// What is made of several sets.
#[derive(Clone, Copy)]
enum Combine {
    Inter,
    Union,
    Diff,
}

/// `SINTER key [key ...]`
pub(super) fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Combine::Inter)
}

/// `SUNION key [key ...]`
pub(super) fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Combine::Union)
}

/// `SDIFF key [key ...]`
pub(super) fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    answer(ctx, args, Combine::Diff)
}

/// `SINTERSTORE destination key [key ...]`
pub(super) fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    store(ctx, args, Combine::Inter)
}

/// `SUNIONSTORE destination key [key ...]`
pub(super) fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    store(ctx, args, Combine::Union)
}

/// `SDIFFSTORE destination key [key ...]`
pub(super) fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    store(ctx, args, Combine::Diff)
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, combine: Combine) -> Outcome {
    let members = combined(&mut ctx.data, args.keys(), combine)?;
    ctx.out.set(members.len());
    members.iter().for_each(|member| ctx.out.bulk(member));
    Ok(())
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, combine: Combine) -> Outcome {
    let members = combined(&mut ctx.data, args.keys().skip(1), combine)?;
    let target = args.key(0);
    if ctx.data.peek(target).is_some() {
        ctx.data.apply(target, Change::Delete);
    }
    for member in &members {
        ctx.data.apply(target, Change::SetAdd { member });
    }
    ctx.out.count(members.len());
    Ok(())
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
pub(super) fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let keys = args.int_from(1, 1, "numkeys should be greater than 0")?;
    let after = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(2));
    let Some(after) = after.filter(|after| *after <= args.len()) else {
        return Err(Error::err("Number of keys can't be greater than number of args"));
    };
    let mut limit = 0;
    for i in (after..args.len()).step_by(2) {
        if i + 1 == args.len() || !args.is(i, "LIMIT") {
            return Err(Error::Syntax);
        }
        limit = args.int_from(i + 1, 0, "LIMIT can't be negative")?;
    }
    let most = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let count = inter(&mut ctx.data, args.keys(), most)?.len();
    ctx.out.count(count);
    Ok(())
}

fn combined<'k>(
    data: &mut Data<'_>,
    keys: impl Iterator<Item = Key<'k>>,
    combine: Combine,
) -> Result<Members, Error> {
    match combine {
        Combine::Inter => inter(data, keys, usize::MAX),
        Combine::Union => union(data, keys),
        Combine::Diff => diff(data, keys),
    }
}

/// At most `most` members that all sets have: those of the smallest set, sieved by one set after the other.
fn inter<'k>(
    data: &mut Data<'_>,
    keys: impl Iterator<Item = Key<'k>>,
    most: usize,
) -> Result<Members, Error> {
    let mut sized = Vec::new();
    for key in keys {
        sized.push((typed::set(data.read(key))?.map_or(0, Set::len), key));
    }
    sized.sort_by_key(|(len, _)| *len);
    let mut sized = sized.into_iter();
    let Some((1.., smallest)) = sized.next() else { return Ok(Members::new()) };
    let rest: Vec<_> = sized.map(|(_, key)| key).filter(|key| key.bytes != smallest.bytes).collect();
    // Without others to ask there is no need to look at more than are wanted.
    let first = if rest.is_empty() { most } else { usize::MAX };
    let mut members: Members = match typed::set(data.peek(smallest))? {
        Some(set) => set.iter().take(first).map(|member| (*member).into()).collect(),
        None => Members::new(),
    };
    for key in rest {
        let Some(set) = typed::set(data.peek(key))? else { return Ok(Members::new()) };
        members.retain(|member| set.contains(member));
    }
    members.truncate(most);
    Ok(members)
}

fn union<'k>(data: &mut Data<'_>, keys: impl Iterator<Item = Key<'k>>) -> Result<Members, Error> {
    let (mut seen, mut members) = (HashSet::<Box<[u8]>>::new(), Members::new());
    for key in keys {
        for member in typed::set(data.read(key))?.into_iter().flat_map(Set::iter) {
            if !seen.contains(&*member) {
                seen.insert((*member).into());
                members.push((*member).into());
            }
        }
    }
    Ok(members)
}

/// The members of the first set that no other one has.
fn diff<'k>(data: &mut Data<'_>, keys: impl Iterator<Item = Key<'k>>) -> Result<Members, Error> {
    let (mut members, mut first) = (Members::new(), true);
    for key in keys {
        let set = typed::set(data.read(key))?;
        if std::mem::take(&mut first) {
            members = set.into_iter().flat_map(Set::iter).map(|member| (*member).into()).collect();
        } else if let Some(set) = set {
            members.retain(|member| !set.contains(member));
        }
    }
    Ok(members)
}
