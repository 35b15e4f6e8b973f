//! Keys of any type: whether they are there, when they expire, what they are called, and whole databases.

pub mod active;
pub(super) mod cursor;
mod expire;
mod expiry_rows;
mod object;
mod place;
mod rows;
mod scan;
#[cfg(test)]
mod scan_tests;
mod single;
mod sort;
mod sort_rows;
mod whole;

pub use expiry_rows::ROWS as EXPIRY_ROWS;
pub use rows::ROWS;
pub use sort_rows::ROWS as SORT_ROWS;
