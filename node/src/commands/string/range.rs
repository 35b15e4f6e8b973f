//! Writing into values: APPEND and SETRANGE. The effect is the bytes that were written and where, so that a long
//! value is not logged again for every byte that is added to it.

use crate::commands::limits::value_bytes_max;
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::Change;

/// `APPEND key value`
pub(super) fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, bytes) = (args.key(0), args.at(2));
    let len = typed::text(ctx.data.peek(key))?.map(<[u8]>::len);
    let offset = len.unwrap_or(0);
    let total = bounded(ctx, offset as u64, bytes.len())?;
    if len.is_none() {
        ctx.data.apply(key, Change::Set { value: bytes, expires: None });
    } else {
        // An empty piece changes no byte, but it counts as a change to whoever watches the key.
        ctx.data.apply(key, Change::Write { offset: offset as u32, bytes });
    }
    ctx.out.int(total as i64);
    Ok(())
}

/// `SETRANGE key offset value`
pub(super) fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (key, bytes) = (args.key(0), args.at(3));
    let offset = u64::try_from(args.int(2)?).map_err(|_| Error::OffsetOutOfRange)?;
    let len = typed::text(ctx.data.peek(key))?.map_or(0, <[u8]>::len);
    if bytes.is_empty() {
        ctx.out.count(len);
        return Ok(());
    }
    let end = bounded(ctx, offset, bytes.len())?;
    ctx.data.apply(key, Change::Write { offset: offset as u32, bytes });
    ctx.out.int(end.max(len as u64) as i64);
    Ok(())
}

/// Where a write ends, if no value is too long then (I12).
fn bounded(ctx: &Ctx<'_>, offset: u64, len: usize) -> Result<u64, Error> {
    let end = offset.saturating_add(len as u64);
    if end > value_bytes_max(ctx.core) { Err(Error::StringTooLong) } else { Ok(end) }
}
