//! The node's side of the cluster: who it is, what it knows, and until when it may serve.
//!
//! Pure files decide ([`lease`], [`watch::follow`], [`view`]); the others talk to the meta group and carry
//! the decisions out. Start reading at [`control`].

pub mod addresses;
pub mod admin;
pub mod client;
pub mod control;
pub mod handover;
pub mod heartbeat;
pub mod identity;
pub mod install;
pub mod lease;
pub mod leaving;
pub mod life;
pub mod propose;
pub mod register;
pub mod render;
pub mod report;
pub mod role;
pub mod stall;
pub mod view;
pub mod watch;
