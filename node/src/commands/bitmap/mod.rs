//! Strings as rows of bits. A write's effect is the bytes that hold the changed bits, so that one bit of a long
//! string is not logged as the whole string.

pub mod bits;
mod combined;
mod field;
mod rows;
mod single;

pub use rows::ROWS;

use crate::commands::args::parse_int;
use crate::commands::limits::value_bytes_max;
use crate::commands::{Args, Ctx};
use crate::resp::Error;

/// An argument as the offset of a bit: no negative one, and none behind the longest value.
fn bit_offset(ctx: &Ctx<'_>, text: &[u8]) -> Result<u64, Error> {
    offset(ctx, parse_int(text), 1)
}

/// An offset in units of so many bits.
fn offset(ctx: &Ctx<'_>, number: Option<i64>, unit: i64) -> Result<u64, Error> {
    let bits = number.and_then(|number| number.checked_mul(unit)).and_then(|bits| u64::try_from(bits).ok());
    match bits {
        Some(bits) if bits >> 3 < value_bytes_max(ctx.core) => Ok(bits),
        Some(_) | None => Err(Error::err("bit offset is not an integer or out of range")),
    }
}

/// Whether a range counts in bits: the word at `i`, if it is there.
fn counts_bits(args: Args<'_>, i: usize) -> Result<bool, Error> {
    match args.get(i) {
        None => Ok(false),
        Some(_) if args.is(i, "BYTE") => Ok(false),
        Some(_) if args.is(i, "BIT") => Ok(true),
        Some(_) => Err(Error::Syntax),
    }
}
