//! Hashes. Effects state one field's value each; when the last field goes, so does the key.

mod pick;
mod read;
mod rows;
mod write;

pub use rows::ROWS;
