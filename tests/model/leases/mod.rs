//! Leases: two nodes, two meta leaders, late and repeated heartbeats and answers, clocks that differ by 1 %.
//!
//! Imports `meta/src/lease.rs` and `node/src/cluster/lease.rs`. The property is I4: at no instant may two processes
//! execute commands for the one slot that is looked at. Two stories share the world: in *promote* the shard moves from
//! node A to node B or to A's next life, by expiry or by a proof of death (►4, ►5, ►6); in *take* the slot alone is
//! taken from A's shard and given to B's, in two commits (►7, ►8), as moving slots will do it (►11).

mod runs;
mod step;
mod world;
