//! What a refusal is called by scripts, and what Redis says in the same case.
//!
//! The codes are for ever. It decides nothing.

use super::outcome::Rejection;

impl Rejection {
    /// A stable name of the reason, for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ForeignLeader { .. } => "FOREIGNLEADER",
            Self::LeaderUnnamed { .. } => "LEADERUNNAMED",
            Self::RequestIdReused => "REQUESTIDREUSED",
            Self::BadBatch { .. } => "BADBATCH",
            Self::NotFounded => "NOTFOUNDED",
            Self::AlreadyFounded { .. } => "ALREADYFOUNDED",
            Self::TooLong { .. } => "TOOLONG",
            Self::BadField { .. } => "BADFIELD",
            Self::Full { .. } => "FULL",
            Self::UnknownNode { .. } => "UNKNOWNNODE",
            Self::UnknownShard { .. } => "UNKNOWNSHARD",
            Self::StaleIncarnation { .. } => "STALEINCARNATION",
            Self::MustWait { .. } => "MUSTWAIT",
            Self::NeverRegistered { .. } => "NEVERREGISTERED",
            Self::NodeDead { .. } => "NODEDEAD",
            Self::AlreadyMember { .. } => "ALREADYMEMBER",
            Self::NotMember { .. } => "NOTMEMBER",
            Self::ShardExists { .. } => "SHARDEXISTS",
            Self::StaleEpoch { .. } => "STALEEPOCH",
            Self::SlotBusy { .. } => "SLOTBUSY",
            Self::SlotTwice { .. } => "SLOTTWICE",
            Self::BadSlots { .. } => "BADSLOTS",
            Self::NoSlots => "NOSLOTS",
            Self::IsPrimary { .. } => "ISPRIMARY",
            Self::AlreadyPrimary { .. } => "ALREADYPRIMARY",
            Self::NotWhole { .. } => "NOTWHOLE",
            Self::BelowFloor { .. } => "BELOWFLOOR",
            Self::CopyLeft { .. } => "COPYLEFT",
            Self::NotFenced { .. } => "NOTFENCED",
            Self::AttemptUnderWay { .. } => "ATTEMPTUNDERWAY",
            Self::AttemptOver { .. } => "ATTEMPTOVER",
            Self::UnknownSetting { .. } => "UNKNOWNSETTING",
            Self::BadSetting { .. } => "BADSETTING",
            Self::NodeDrained { .. } => "NODEDRAINED",
            Self::NoCandidate { .. } => "NOCANDIDATE",
            Self::PrimaryAway { .. } => "PRIMARYAWAY",
        }
    }

    /// What Redis says in this case, word for word, if it has a case like it (without `ERR `).
    #[must_use]
    pub fn redis_text(&self) -> Option<String> {
        match self {
            Self::SlotBusy { slot, .. } => Some(format!("Slot {slot} is already busy")),
            Self::SlotTwice { slot } => Some(format!("Slot {slot} specified multiple times")),
            Self::BadSlots { .. } => Some("Invalid or out of range slot".to_owned()),
            Self::UnknownNode { node } => Some(format!("Unknown node {node}")),
            Self::IsPrimary { .. } => {
                Some("To set a master the node must be empty and without assigned slots.".to_owned())
            }
            Self::ForeignLeader { .. }
            | Self::LeaderUnnamed { .. }
            | Self::RequestIdReused
            | Self::BadBatch { .. }
            | Self::NotFounded
            | Self::AlreadyFounded { .. }
            | Self::TooLong { .. }
            | Self::BadField { .. }
            | Self::Full { .. }
            | Self::UnknownShard { .. }
            | Self::StaleIncarnation { .. }
            | Self::MustWait { .. }
            | Self::NeverRegistered { .. }
            | Self::NodeDead { .. }
            | Self::AlreadyMember { .. }
            | Self::NotMember { .. }
            | Self::ShardExists { .. }
            | Self::StaleEpoch { .. }
            | Self::NoSlots
            | Self::AlreadyPrimary { .. }
            | Self::NotWhole { .. }
            | Self::BelowFloor { .. }
            | Self::CopyLeft { .. }
            | Self::NotFenced { .. }
            | Self::AttemptUnderWay { .. }
            | Self::AttemptOver { .. }
            | Self::UnknownSetting { .. }
            | Self::BadSetting { .. }
            | Self::NodeDrained { .. }
            | Self::NoCandidate { .. }
            | Self::PrimaryAway { .. } => None,
        }
    }
}
