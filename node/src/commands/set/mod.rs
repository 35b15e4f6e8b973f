//! Sets. A random command states in its effects what it chose; when the last member goes, so does the key.

mod algebra;
mod members;
mod pick;
mod rows;

pub use rows::ROWS;
