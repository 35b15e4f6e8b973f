//! The data node: speaks RESP, keeps the data, serves under a lease.
#![deny(unsafe_code)]

pub mod clients;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod core;
pub mod glob;
pub mod numbers;
pub mod resp;
pub mod route;
pub mod serving;
pub mod session;
pub mod stats;
pub mod stopping;
pub mod store;
