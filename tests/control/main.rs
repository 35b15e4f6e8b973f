//! Leases between real meta servers and the control path of real nodes, in one process, over loopback.
//!
//! Default settings but the TTL, which is at its floor; whole servers with their folders and ports, stopped and started
//! by the tests. What clients see of a lease is tested through the client port.

mod failovers;
mod harness;
mod leases;
mod lives;
mod replies;
