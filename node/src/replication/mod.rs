//! How a shard's replicas get its data: the peer port, the sessions of a primary, the receiver of a replica (DESIGN 7).
//!
//! 1. The replica dials the primary of the newest epoch it knows (`receiver.rs`, I5) and says how far its log goes.
//! 2. The primary judges who asks (`admission.rs`), then goes on from that position or copies everything (`session.rs`,
//!    `source.rs`, ►21).
//! 3. The replica keeps and applies what comes (`intake.rs`, `apply.rs`), a copy in a shadow (`copying.rs`).
//! 4. It acknowledges at most once a millisecond, or at once when asked; the log of the primary counts (`log/follower.rs`).
//!
//! Nothing in here decides who is primary: roles come from the cluster state, and `cluster/role.rs` starts and stops the
//! receiver with them.

pub mod admission;
pub mod apply;
mod copying;
mod intake;
mod moderation;
pub mod peer_port;
pub mod receiver;
mod session;
mod source;
pub mod standing;
pub mod wire;

pub use receiver::Receiver;
pub use standing::Replication;

use std::time::Duration;

/// A link on which nothing came for so long is dead.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(5);
/// A primary sends a sign of life this often, which its replica answers.
pub const ECHO_EVERY: Duration = Duration::from_millis(500);
/// Several of them fit into the time after which a link is dead.
const _: () = assert!(LINK_TIMEOUT.as_millis() > 4 * ECHO_EVERY.as_millis());
/// Bytes of pieces of a copy that are under way: sent, and not taken in yet.
pub const WINDOW: u64 = 4 << 20;

#[cfg(test)]
mod tests;
