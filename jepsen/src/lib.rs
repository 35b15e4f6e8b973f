//! What the project's test tools share: a RESP client that trusts no server, a cluster client that keeps a slot map,
//! and the history of what clients asked and what they learnt.
//!
//! The program `capstan-jepsen` (`main.rs`) runs workloads under faults with it. Nothing here is linked into the product.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod connection;
pub mod history;
pub mod resp;
pub mod serving;
pub mod slots;
