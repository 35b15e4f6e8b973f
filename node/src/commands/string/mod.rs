//! Strings. Each command reads through [`crate::store::Data`], and changes data only by effects that state their
//! result: INCR applies the new value, not "one more".

mod counter;
pub mod lcs;
mod longest;
mod options;
mod range;
mod read;
mod rows;
mod write;

pub use rows::ROWS;
