//! Whole databases: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB.

use crate::commands::{Args, Ctx, Outcome};
use crate::core::Mode;
use crate::resp::Error;
use crate::store::NodeWide;

/// `DBSIZE`
pub(super) fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let db = usize::from(ctx.data.db());
    let mut keys = 0;
    ctx.data.each_lane(|lane| keys += lane.databases().get(db).map_or(0, |database| database.keys));
    ctx.out.int(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]`
pub(super) fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    flush(ctx, args, NodeWide::FlushAll)
}

/// `FLUSHDB [ASYNC | SYNC]`
pub(super) fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let db = ctx.data.db();
    flush(ctx, args, NodeWide::FlushDb(db))
}

/// Both words say when memory comes back. It always does in the background, and the keys are gone at once.
fn flush(ctx: &mut Ctx<'_>, args: Args<'_>, record: NodeWide) -> Outcome {
    match args.len() {
        1 => {}
        2 if args.is(1, "ASYNC") || args.is(1, "SYNC") => {}
        _ => return Err(Error::Syntax),
    }
    ctx.data.apply_node_wide(record);
    ctx.out.ok();
    Ok(())
}

/// `SWAPDB index1 index2`
pub(super) fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if ctx.core.mode == Mode::Cluster {
        return Err(Error::err("SWAPDB is not allowed in cluster mode"));
    }
    let index = |i, error: &str| {
        let index = args.int(i).ok().and_then(|index| i32::try_from(index).ok());
        index.ok_or_else(|| Error::err(error))
    };
    let first = index(1, "invalid first DB index")?;
    let second = index(2, "invalid second DB index")?;
    let database = |index: i32| match u8::try_from(index) {
        Ok(index) if usize::from(index) < ctx.core.lanes.databases() => Ok(index),
        Ok(_) | Err(_) => Err(Error::DbIndexOutOfRange),
    };
    let (first, second) = (database(first)?, database(second)?);
    if first != second {
        ctx.data.expire_watched([first, second]);
        ctx.data.apply_node_wide(NodeWide::SwapDb(first, second));
    }
    ctx.out.ok();
    Ok(())
}
