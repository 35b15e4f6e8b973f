//! How a replica gets its primary's data (DESIGN 7).
//!
//! The place of the receiver in a change of roles: `cluster/install.rs` starts it and joins it.

use crate::core::NodeCore;
use capstan_proto::ids::{NodeId, ShardEpoch, ShardId};
use std::sync::Arc;

/// A running receiver.
#[derive(Debug)]
pub struct Receiver;

impl Receiver {
    /// Follows the primary of an epoch of a shard from now on.
    #[must_use]
    pub const fn start(_core: &Arc<NodeCore>, _shard: ShardId, _primary: NodeId, _epoch: ShardEpoch) -> Self {
        Self
    }

    /// Ends it. When this returns, everything that had come is in the log and applied, and nothing more will be.
    pub async fn stop_and_join(self) {}
}
