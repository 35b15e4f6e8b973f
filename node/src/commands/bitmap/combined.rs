//! BITOP: strings combined bit by bit into another one.

use super::bits::{Combine, combine};
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::Change;

/// `BITOP AND | OR | XOR | NOT destkey key [key ...]`
pub(super) fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let how = if args.is(1, "AND") {
        Combine::And
    } else if args.is(1, "OR") {
        Combine::Or
    } else if args.is(1, "XOR") {
        Combine::Xor
    } else if args.is(1, "NOT") {
        Combine::Not
    } else {
        return Err(Error::Syntax);
    };
    if how == Combine::Not && args.len() != 4 {
        return Err(Error::err("BITOP NOT must be called with a single source key."));
    }
    let mut sources = Vec::with_capacity(args.key_count());
    for key in args.keys().skip(1) {
        sources.push(typed::text(ctx.data.read(key))?.unwrap_or_default().to_vec());
    }
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let result = combine(how, &sources);
    let target = args.key(0);
    if !result.is_empty() {
        ctx.data.apply(target, Change::Set { value: &result, expires: None });
    } else if ctx.data.peek(target).is_some() {
        ctx.data.apply(target, Change::Delete);
    }
    ctx.out.count(result.len());
    Ok(())
}
