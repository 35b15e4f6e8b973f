//! How large what a command makes may become (I12).

use crate::config::Key;
use crate::core::NodeCore;
use crate::store::raw::LENGTH_MAX;

/// The longest string that a command may make: `proto-max-bulk-len`, and never more than an entry can hold.
#[must_use]
pub fn value_bytes_max(core: &NodeCore) -> u64 {
    core.config.size(Key::ProtoMaxBulkLen).min(LENGTH_MAX as u64)
}
