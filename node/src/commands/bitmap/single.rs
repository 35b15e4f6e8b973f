//! SETBIT, GETBIT, BITCOUNT, BITPOS.

use super::{bit_offset, bits, counts_bits};
use crate::commands::{Args, Ctx, Outcome, typed};
use crate::resp::Error;
use crate::store::Change;

/// `SETBIT key offset value`
pub(super) fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let key = args.key(0);
    let offset = bit_offset(ctx, args.at(2))?;
    let on = match args.at(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(Error::err("bit is not an integer or out of range")),
    };
    let value = typed::text(ctx.data.peek(key))?;
    let was = value.is_some_and(|value| bits::get(value, offset));
    let at = (offset / 8) as usize;
    let there = value.and_then(|value| value.get(at)).copied();
    let mask = 0x80 >> (offset % 8);
    let byte = if on { there.unwrap_or(0) | mask } else { there.unwrap_or(0) & !mask };
    // A bit that is what it should be changes nothing, unless the string has to grow.
    if there != Some(byte) {
        ctx.data.apply(key, Change::Write { offset: at as u32, bytes: &[byte] });
    }
    ctx.out.int(i64::from(was));
    Ok(())
}

/// `GETBIT key offset`
pub(super) fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(ctx, args.at(2))?;
    let bit = typed::text(ctx.data.read(args.key(0)))?.is_some_and(|value| bits::get(value, offset));
    ctx.out.int(i64::from(bit));
    Ok(())
}

/// `BITCOUNT key [start end [BYTE | BIT]]`
pub(super) fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let Some(value) = typed::text(ctx.data.read(args.key(0)))? else {
        // As in Redis 7: without the key the arguments are not looked at.
        ctx.out.int(0);
        return Ok(());
    };
    let count = match args.len() {
        2 => bits::count(value),
        4 | 5 => {
            let (start, end) = (args.int(2)?, args.int(3)?);
            if start < 0 && end < 0 && start > end {
                // Nothing, however short the value is; Redis does not look at the unit then.
                0
            } else {
                let range = Range::of(value.len(), start, end, counts_bits(args, 4)?);
                range.map_or(0, |range| bits::count_between(value, range.first, range.last))
            }
        }
        _ => return Err(Error::Syntax),
    };
    ctx.out.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub(super) fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let wanted = match args.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::err("The bit argument must be 1 or 0.")),
    };
    let Some(value) = typed::text(ctx.data.read(args.key(0)))? else {
        // A missing key is an endless row of zeros.
        ctx.out.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    if args.len() > 6 {
        return Err(Error::Syntax);
    }
    let in_bits = counts_bits(args, 5)?;
    let start = if args.len() > 3 { args.int(3)? } else { 0 };
    let end = if args.len() > 4 { Some(args.int(4)?) } else { None };
    let range = Range::of(value.len(), start, end.unwrap_or(-1), in_bits);
    let found = range.map(|range| bits::position(value, wanted, range.first, range.last));
    ctx.out.int(match found {
        None => -1,
        Some(Some(at)) => i64::try_from(at).unwrap_or(i64::MAX),
        // Nothing but ones, and no end was given: the first zero is behind them.
        Some(None) if !wanted && end.is_none() => value.len() as i64 * 8,
        Some(None) => -1,
    });
    Ok(())
}

/// Bits of a value, from the first to the last, both inside.
struct Range {
    first: u64,
    last: u64,
}

impl Range {
    /// From `start` to `end`, counted in bytes or bits, negative ones from the end; `None` if nothing is in between.
    fn of(len: usize, start: i64, end: i64, in_bits: bool) -> Option<Self> {
        let total = len as i64 * if in_bits { 8 } else { 1 };
        let from_end = |i: i64| if i < 0 { total.saturating_add(i).max(0) } else { i };
        let (start, end) = (from_end(start), from_end(end).min(total - 1));
        if start > end {
            return None;
        }
        let (start, end) = (start as u64, end as u64);
        Some(if in_bits {
            Self { first: start, last: end }
        } else {
            Self { first: start * 8, last: end * 8 + 7 }
        })
    }
}
