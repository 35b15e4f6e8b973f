//! The data node: speaks RESP, keeps the data, serves under a lease.
#![deny(unsafe_code)]
/// The Redis that is right where versions differ, as INFO and HELLO announce it (DESIGN 13).
pub const REDIS_VERSION: &str = "7.2.4";
/// Our own version.
pub const CAPSTAN_VERSION: &str = env!("CARGO_PKG_VERSION");

pub mod accept;
pub mod blocking;
pub mod clients;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod connection;
pub mod core;
pub mod departure;
pub mod dispatch;
pub mod gauges;
pub mod glob;
pub mod hold;
pub mod info;
pub mod input;
pub mod log;
pub mod numbers;
pub mod output;
pub mod release;
pub mod replication;
pub mod resp;
pub mod route;
pub mod server;
pub mod serving;
pub mod session;
pub mod stats;
pub mod stopping;
pub mod store;
pub mod supervised;
pub mod trace;
