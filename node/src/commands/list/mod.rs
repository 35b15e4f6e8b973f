//! Lists. Effects say what happened at which end, or at which index; when the last element goes, so does the key.

mod blocking;
mod blocking_rows;
mod ends;
mod middle;
mod moves;
mod positions;
mod read;
mod rows;

pub use blocking_rows::ROWS as BLOCKING_ROWS;
pub(super) use ends::mpop_count;
pub(super) use read::between;
pub use rows::ROWS;

use super::Args;
use crate::resp::Error;
use crate::store::object::End;

/// An argument that names an end.
fn end(args: Args<'_>, i: usize) -> Result<End, Error> {
    if args.is(i, "LEFT") {
        Ok(End::Left)
    } else if args.is(i, "RIGHT") {
        Ok(End::Right)
    } else {
        Err(Error::Syntax)
    }
}
