//! The meta group: the one place that decides who owns a slot, who is primary, which epoch it is.
#![forbid(unsafe_code)]

pub mod controller;
pub mod lease;
pub mod planner;
#[allow(dead_code, unused_imports)] // until server.rs stands on it
pub mod raft;
pub mod services;
pub mod state;
