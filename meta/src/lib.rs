//! The meta group: the one place that decides who owns a slot, who is primary, which epoch it is.
#![forbid(unsafe_code)]

pub mod lease;
pub mod state;
