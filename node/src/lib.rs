//! Placeholder.

pub mod clients;
pub mod cluster;
pub mod config;
pub mod glob;
pub mod numbers;
