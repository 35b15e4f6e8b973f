//! Three nodes of a shard and their logs, through several primaries (►12, I6).
//!
//! Imports `node/src/log/ring.rs`, which says what is a prefix, what may follow, and with which batch an epoch is opened, and
//! `meta/src/planner/candidates.rs`, which says who takes over. Modelled are writes that reach some replicas and not others,
//! primaries that are cut off with a tail that nobody has, promotions among those that are there, and replicas that come back
//! and are continued or copied whole. What is looked for: that the highest position is always that of the latest history, so
//! that nothing which a primary has served is undone while a candidate that holds all of it is there; and that logs which hold a
//! batch with the same position agree up to it.

mod runs;
mod step;
mod world;
