//! I6: two logs of a shard that hold a batch with the same position agree on it, and by induction on all before it.

use capstan_node::core::NodeCore;
use capstan_proto::ids::{Position, ShardId};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// Every frame that any log of a shard has held.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    frames: BTreeMap<(ShardId, Position), u64>,
}

impl Logs {
    /// Looks at what a log has got since it was last looked at; says what another log has in its place.
    pub(crate) fn look(
        &mut self,
        shard: ShardId,
        name: &str,
        core: &NodeCore,
        seen: &mut Position,
    ) -> Option<String> {
        let last = core.log.last();
        if last == *seen {
            return None;
        }
        let from = std::mem::replace(seen, last);
        // A log that began anew, or that was copied: what it had before it was looked at is left out.
        let fresh = core.log.read_after(from, usize::MAX).ok()?;
        fresh.iter().find_map(|frame| self.frame(shard, name, frame.position(), frame.bytes()))
    }

    fn frame(&mut self, shard: ShardId, name: &str, position: Position, bytes: &[u8]) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let digest = hasher.finish();
        let known = *self.frames.entry((shard, position)).or_insert(digest);
        (known != digest).then(|| format!("I6: {name} has another batch at {position} of shard {shard}"))
    }
}

#[test]
fn two_frames_under_one_position_are_noticed() {
    let mut logs = Logs::default();
    let shard = ShardId([1; 20]);
    let at = |batch| Position {
        epoch: capstan_proto::ids::ShardEpoch(1),
        batch: capstan_proto::ids::BatchNumber(batch),
    };
    assert_eq!(logs.frame(shard, "a", at(1), b"one"), None);
    assert_eq!(logs.frame(shard, "b", at(1), b"one"), None);
    assert_eq!(logs.frame(shard, "b", at(2), b"two"), None);
    assert!(logs.frame(shard, "a", at(2), b"three").is_some());
}
