//! Two nodes of a shard, their next lives, leaders that fail over, and planned hand-overs.
//!
//! The product's own files decide: the planner whom to promote and when to end an attempt, the lease tables who may be
//! serving, `apply` what is committed, the nodes' leases who executes, their roles and `handover/course.rs` when a primary holds
//! its clients, gives up its lease and lets them go. Modelled are time, deaths, elections, and proposals that commit late or are
//! lost.

mod committed;
mod deeds;
mod runs;
mod step;
mod world;
