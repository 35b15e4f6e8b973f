//! Bugs that a test can plant to show that its nets catch them. In a release build there is one value: no bug.

/// A bug that was, or could be, in `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bug {
    /// `Promote` does not compare the shard epoch and counts on from the one in the command (breaks I3).
    StaleEpochAccepted = 1,
    /// `AddSlots` does not ask whether a slot has an owner (breaks I2).
    OwnedSlotTaken = 2,
    /// A request id is not looked up: what is sent again is done again.
    RequestForgotten = 4,
    /// Finished requests are not in snapshots: a replay from one differs from a replay of the log (breaks I1).
    RequestsNotInSnapshot = 8,
}

/// Which bugs are planted. [`Planted::NONE`] is the only value that a release build can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Planted {
    #[cfg(debug_assertions)]
    bugs: u8,
}

impl Planted {
    /// No bug.
    #[cfg(debug_assertions)]
    pub const NONE: Self = Self { bugs: 0 };
    /// No bug.
    #[cfg(not(debug_assertions))]
    pub const NONE: Self = Self {};

    /// One bug: for tests only.
    #[cfg(debug_assertions)]
    #[must_use]
    pub const fn bug(bug: Bug) -> Self {
        Self { bugs: bug as u8 }
    }

    /// Whether a bug is planted.
    #[must_use]
    pub(super) const fn has(self, bug: Bug) -> bool {
        #[cfg(debug_assertions)]
        return self.bugs & bug as u8 != 0;
        #[cfg(not(debug_assertions))]
        return {
            let _ = bug;
            false
        };
    }
}
