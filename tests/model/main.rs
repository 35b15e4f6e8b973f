//! Models that explore every schedule within stated bounds, over the product's own pure files.
//!
//! Each prints its bounds and how many distinct states it saw; each rule that it covers is switched off once, and the
//! schedule that then breaks an invariant is printed. A model holds no decision of its own: what decides is imported.

// What a model prints is its result: bounds, counts and traces.
#![allow(clippy::print_stdout)]

mod epochs;
mod explore;
mod failover;
mod leases;
