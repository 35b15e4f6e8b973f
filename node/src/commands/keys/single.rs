//! Commands about one key after the other: DEL, UNLINK, EXISTS, TOUCH, TYPE.

use crate::commands::{Args, Ctx, Outcome};
use crate::store::Change;

/// `DEL key [key ...]`
pub(super) fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let mut deleted = 0;
    for key in args.keys() {
        if ctx.data.peek(key).is_some() {
            ctx.data.apply(key, Change::Delete);
            deleted += 1;
        }
    }
    ctx.out.int(deleted);
    Ok(())
}

/// `UNLINK key [key ...]`: what would take long is freed in the background for DEL as well.
pub(super) fn unlink(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    del(ctx, args)
}

/// `EXISTS key [key ...]`
pub(super) fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let mut there = 0;
    for key in args.keys() {
        there += usize::from(ctx.data.read(key).is_some());
    }
    ctx.out.count(there);
    Ok(())
}

/// `TOUCH key [key ...]`
pub(super) fn touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    exists(ctx, args)
}

/// `TYPE key`
pub(super) fn kind(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    ctx.out.simple(ctx.data.peek(args.key(0)).map_or("none", |entry| entry.kind().name()));
    Ok(())
}
