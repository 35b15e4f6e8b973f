//! Placeholder.

pub mod glob;
pub mod numbers;
