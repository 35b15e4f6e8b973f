//! The node's side of the cluster: who it is, what it knows, and until when it may serve.
//!
//! Pure files decide ([`lease`]); the others talk to the meta group and carry the decisions out.

pub mod admin;
pub mod lease;
