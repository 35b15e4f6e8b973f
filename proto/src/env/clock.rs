//! The one file that reads clocks.
//!
//! Leases are counted on `CLOCK_BOOTTIME`, which goes on while a machine sleeps (DESIGN 5). Waiting is tokio's
//! business (`tokio::time::sleep`), which a simulation runs in virtual time.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An instant of `CLOCK_BOOTTIME`: nanoseconds since this machine booted. Means nothing on another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Boot(pub u64);

impl Boot {
    /// This much later; saturates.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_nanos() as u64))
    }

    /// How long it is since `earlier`: zero if that lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since 1970, as expiry times and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct UnixMs(pub u64);

/// The time, for whoever may ask: shells only, never a pure file.
pub trait Clock: Send + Sync + 'static {
    /// Now on `CLOCK_BOOTTIME`.
    fn boot(&self) -> Boot;
    /// Now on the wall.
    fn wall(&self) -> UnixMs;
    /// On the wall when the kernel looked last, a few milliseconds ago at most: a tenth of the price of [`wall`](Self::wall).
    fn wall_lately(&self) -> UnixMs {
        self.wall()
    }
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn boot(&self) -> Boot {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Boot(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
    }

    fn wall(&self) -> UnixMs {
        unix_ms(rustix::time::ClockId::Realtime)
    }

    fn wall_lately(&self) -> UnixMs {
        unix_ms(rustix::time::ClockId::RealtimeCoarse)
    }
}

fn unix_ms(clock: rustix::time::ClockId) -> UnixMs {
    let t = rustix::time::clock_gettime(clock);
    UnixMs(t.tv_sec as u64 * 1000 + t.tv_nsec as u64 / 1_000_000)
}
