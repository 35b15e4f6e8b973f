//! When a key expires, as commands state it: seconds or milliseconds, from now or since 1970. Pure.
//!
//! Refuses what Redis refuses, in the same order: no integer, not positive where a value is written with it, or
//! outside of what 63 bits of milliseconds can hold.

use crate::resp::Error;
use capstan_proto::env::UnixMs;

/// What an expiry counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// What an expiry counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The time of the command.
    Now,
    /// 1970.
    Epoch,
}

/// How a command states an expiry, and its name for the error.
#[derive(Debug, Clone, Copy)]
pub struct Stated {
    /// What it counts in.
    pub unit: Unit,
    /// What it counts from.
    pub from: From,
    /// The command.
    pub command: &'static str,
}

impl Stated {
    /// The moment, for a command that writes a value with it (SET EX, GETEX, SETEX): it must be positive.
    pub fn positive(self, value: i64, now: UnixMs) -> Result<UnixMs, Error> {
        if value <= 0 {
            return Err(Error::InvalidExpire(self.command));
        }
        let at = self.moment(value, now)?;
        u64::try_from(at).map(UnixMs).map_err(|_| Error::InvalidExpire(self.command))
    }

    /// The moment in milliseconds, for EXPIRE and its kin: it may lie in the past, even before 1970.
    pub fn moment(self, value: i64, now: UnixMs) -> Result<i64, Error> {
        let milliseconds = match self.unit {
            Unit::Seconds => value.checked_mul(1000),
            Unit::Milliseconds => Some(value),
        };
        let base = match self.from {
            From::Now => i64::try_from(now.0).ok(),
            From::Epoch => Some(0),
        };
        let at = milliseconds.zip(base).and_then(|(milliseconds, base)| milliseconds.checked_add(base));
        at.ok_or(Error::InvalidExpire(self.command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn stated(unit: Unit, from: From) -> Stated {
        Stated { unit, from, command: "set" }
    }

    #[test]
    fn a_moment_counts_from_now_or_from_1970() {
        assert_eq!(stated(Unit::Seconds, From::Now).positive(5, NOW), Ok(UnixMs(1_005_000)));
        assert_eq!(stated(Unit::Milliseconds, From::Now).positive(5, NOW), Ok(UnixMs(1_000_005)));
        assert_eq!(stated(Unit::Seconds, From::Epoch).positive(5, NOW), Ok(UnixMs(5000)));
        assert_eq!(stated(Unit::Milliseconds, From::Epoch).moment(-5, NOW), Ok(-5));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = Err(Error::InvalidExpire("set"));
        for value in [0, -1, i64::MIN, i64::MAX, i64::MAX / 1000, i64::MAX / 1000 + 1] {
            assert_eq!(stated(Unit::Seconds, From::Now).positive(value, NOW), refused, "{value}");
        }
        assert_eq!(
            stated(Unit::Milliseconds, From::Now).moment(i64::MAX, NOW),
            Err(Error::InvalidExpire("set"))
        );
        assert!(stated(Unit::Milliseconds, From::Epoch).positive(i64::MAX, NOW).is_ok());
    }
}
