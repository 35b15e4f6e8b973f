//! Two nodes of a shard, their next lives, leaders that fail over, and planned hand-overs.
//!
//! The product's own files decide: the planner whom to promote and when to end an attempt, the lease tables who may be
//! serving, `apply` what is committed, the nodes' leases who executes. Modelled are time, deaths, elections, proposals
//! that commit late or are lost, and a primary that holds its clients and hands over.

mod committed;
mod deeds;
mod runs;
mod step;
mod world;
