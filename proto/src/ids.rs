//! Identities and counters as types, so that an epoch can never be passed where a version is meant.
//!
//! All of them are plain values: nothing here reads a clock or draws a random number.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that should have been an identity and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {what}: {want}")]
pub struct BadId {
    /// What was read.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// The form that is accepted.
    pub want: &'static str,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal, $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId { text: text.to_owned(), what: $what, want: $want };
                if text.len() != 2 * $bytes || !text.is_ascii() {
                    return Err(bad());
                }
                let mut out = [0u8; $bytes];
                for (i, byte) in out.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
                }
                Ok(Self(out))
            }
        }

        impl $name {
            /// Reads the raw bytes of a message field; the length is checked.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, BadId> {
                bytes.try_into().map(Self).map_err(|_| BadId {
                    text: format!("{} bytes", bytes.len()),
                    what: $what,
                    want: $want,
                })
            }
        }
    };
}

hex_id!(
    /// A data node, for ever: the 40 hex digits that Redis clients know it by.
    NodeId, 20, "node id", "40 hex digits"
);
hex_id!(
    /// A shard: 40 hex digits, as `CLUSTER MYSHARDID` shows it.
    ShardId, 20, "shard id", "40 hex digits"
);
hex_id!(
    /// A meta group, drawn once when it is founded. A data node obeys one group only (►20).
    GroupId, 16, "group id", "32 hex digits"
);
hex_id!(
    /// One request of an admin or a node, drawn by its sender: sent again, it is answered again, not done again.
    RequestId, 16, "request id", "32 hex digits"
);
hex_id!(
    /// Drawn for one life of a node's process by whoever starts it (DESIGN 6, proof of death).
    SpawnToken, 16, "spawn token", "32 hex digits"
);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one. Saturates: a counter that ran through 2^64 steps stays at the end.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

counter!(
    /// Grows by one at every change of a shard's primary, and when a primary is promoted again after a restart (I3).
    /// Leases and positions know only this epoch, never the config epoch (►1).
    ShardEpoch
);
counter!(
    /// What clients see as `configEpoch`. Decides nothing (►1).
    ConfigEpoch
);
counter!(
    /// A try of a planned failover or of a migration's hand-over; ended only by a committed command (►14).
    AttemptId
);
counter!(
    /// The number of a batch in a shard's log.
    BatchNumber
);
counter!(
    /// A member of the meta group, as openraft numbers it.
    MetaId
);

/// The version of the cluster state: (generation, Raft log index) of its last change. A restore raises the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Version {
    /// Raised by one by a restore from an export (►20).
    pub generation: u64,
    /// The Raft log index of the last change.
    pub index: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.index)
    }
}

/// One life of a node's process: the counter is given by `Register`, the token by whoever spawned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// 1 for the first registration, then one more each time.
    pub counter: u64,
    /// Names this very process, also before it is registered.
    pub token: SpawnToken,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.counter, self.token)
    }
}

/// Where a log stands: totally ordered within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The epoch that made the newest batch.
    pub epoch: ShardEpoch,
    /// The newest batch's number.
    pub batch: BatchNumber,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.batch)
    }
}

/// Who led the meta group when a decision was taken: openraft's (term, node). `apply` rejects a decision taken under
/// another leader id than that of the entry it stands in (►2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LeaderId {
    /// The Raft term.
    pub term: u64,
    /// The leader's meta id.
    pub node: MetaId,
}

impl fmt::Display for LeaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-N{}", self.term, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_reads_back_from_the_40_digits_it_prints() {
        let id = NodeId([0xab; 20]);
        assert_eq!(id.to_string().len(), 40);
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
    }

    #[test]
    fn a_wrong_length_or_a_digit_that_is_none_is_refused_with_the_form_that_is_wanted() {
        for text in ["", "ab", &"g".repeat(40), &"é".repeat(20)] {
            let error = text.parse::<NodeId>().expect_err("must be refused");
            assert!(error.to_string().contains("40 hex digits"), "{error}");
        }
    }

    #[test]
    fn positions_are_ordered_by_epoch_before_batch() {
        let at = |e, b| Position { epoch: ShardEpoch(e), batch: BatchNumber(b) };
        assert!(at(2, 0) > at(1, 9));
        assert!(at(1, 2) > at(1, 1));
    }
}
