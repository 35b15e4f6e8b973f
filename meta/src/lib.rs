//! The meta group: the one place that decides who owns a slot, who is primary, which epoch it is.
#![forbid(unsafe_code)]

pub mod controller;
pub mod founding;
mod host;
pub mod lease;
mod members;
pub mod planner;
pub mod raft;
pub mod server;
pub mod services;
pub mod state;
