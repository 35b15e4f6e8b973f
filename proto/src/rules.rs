//! The switches of the numbered rules ►1..►22 of the design, for tests that show what breaks without one.
//!
//! In a release build there is one value only, with every rule on: the switches do not exist there.

use std::fmt;

/// A numbered rule of the design that a test can switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rule {
    /// ►2 a decision names the leader id it was taken under, and `apply` checks it.
    DecisionsNameTheirLeader = 2,
    /// ►3 `apply` itself judges a promotion: member, life, whole, floor.
    PromotionIsJudged = 3,
    /// ►4 the node counts from sending, the leader from receiving plus 1 %.
    LeaderCountsLonger = 4,
    /// ►5 a new leader promotes by expiry only after a full grace period.
    NewLeaderWaits = 5,
    /// ►6 granting stops before a lease is counted as over, and the table is checked again.
    StopGrantingFirst = 6,
    /// ►7 a grant is used only by a node whose copy of the state has reached the grant's version.
    GrantWaitsForVersion = 7,
    /// ►8 owner, role and lease are checked under the lane lock, and a version is confirmed when every lane was locked.
    CheckUnderLaneLock = 8,
    /// ►9 the lease is checked again before replies leave.
    CheckBeforeReply = 9,
    /// ►12 a new primary opens its epoch in the log with a batch, even an empty one, before it serves.
    EpochOpensWithBatch = 12,
    /// ►13 a death is believed only of a supervisor or of the holder of the same folder on the same machine.
    DeathNeedsProof = 13,
    /// ►14 an attempt ends only by a committed command.
    AttemptEndsByCommit = 14,
    /// ►15 a replica with a tail that its primary's log does not have is not continued.
    TailIsNotContinued = 15,
    /// ►21 a marker in the log says where a slot's copy began, and each key is copied at one point.
    MarkerBeginsCopy = 21,
}

/// Which rules are in force. [`Rules::ALL`] is the only value that a release build can make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    #[cfg(debug_assertions)]
    off: u32,
}

impl Rules {
    /// Every rule is in force.
    #[cfg(debug_assertions)]
    pub const ALL: Self = Self { off: 0 };
    /// Every rule is in force.
    #[cfg(not(debug_assertions))]
    pub const ALL: Self = Self {};

    /// These rules without one of them: for tests and models only.
    #[cfg(debug_assertions)]
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self { off: self.off | (1 << rule as u32) }
    }

    /// Whether a rule is in force.
    #[must_use]
    pub const fn on(self, rule: Rule) -> bool {
        #[cfg(debug_assertions)]
        return self.off & (1 << rule as u32) == 0;
        #[cfg(not(debug_assertions))]
        return {
            let _ = rule;
            true
        };
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(debug_assertions)]
        if self.off != 0 {
            return write!(f, "Rules(without {:#b})", self.off);
        }
        f.write_str("Rules(all)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    fn one_rule_can_be_switched_off_without_touching_the_others() {
        let rules = Rules::ALL.without(Rule::NewLeaderWaits);
        assert!(!rules.on(Rule::NewLeaderWaits));
        assert!(rules.on(Rule::LeaderCountsLonger));
    }
}
