//! Clients that a planned change holds: their commands wait, bounded, and nothing executes (DESIGN 6, ►14).
//!
//! A command that finds its slot [`Held`](crate::store::Access::Held) under its lane's lock is given back to its
//! connection, which waits here and then runs it anew: it finds the slot as it is then. At the hold limit waiting ends
//! with TRYAGAIN; the hold itself does not: only the committed end of the attempt ends that. Decides nothing: the role
//! of the node begins and ends it (`cluster/install.rs`, `cluster/handover.rs`).

use capstan_proto::env::{Boot, Clock};
use std::time::Duration;
use tokio::sync::watch;

/// A hold that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct On {
    since: Boot,
    /// Commands wait until then at most.
    until: Boot,
}

/// Whether commands on this node's slots are held.
#[derive(Debug)]
pub struct Hold {
    on: watch::Sender<Option<On>>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { on: watch::Sender::new(None) }
    }
}

/// What a command on a held slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Wait for the end of the hold, then look again.
    Wait,
    /// The limit has passed: TRYAGAIN.
    Over,
    /// Nothing is held.
    NoHold,
}

impl Hold {
    /// Commands are held from now on; one that is on already goes on under the new limit.
    pub fn begin(&self, now: Boot, limit: Duration) {
        self.on.send_modify(|on| {
            let since = on.map_or(now, |on| on.since);
            *on = Some(On { since, until: now.after(limit) });
        });
    }

    /// The attempt is over: whoever waits looks again. Says since when it was on.
    pub fn end(&self) -> Option<Boot> {
        self.on.send_replace(None).map(|on| on.since)
    }

    /// What a command does now.
    #[must_use]
    pub fn patience(&self, now: Boot) -> Patience {
        match *self.on.borrow() {
            None => Patience::NoHold,
            Some(on) if now < on.until => Patience::Wait,
            Some(_) => Patience::Over,
        }
    }

    /// Returns when the hold has ended, or its limit has passed.
    pub async fn passed(&self, clock: &dyn Clock) {
        let mut on = self.on.subscribe();
        loop {
            let Some(held) = *on.borrow_and_update() else { return };
            let left = held.until.since(clock.boot());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                biased;
                changed = on.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::env::UnixMs;
    use std::sync::Arc;

    struct At(Boot);

    impl Clock for At {
        fn boot(&self) -> Boot {
            self.0
        }

        fn wall(&self) -> UnixMs {
            UnixMs(0)
        }
    }

    #[test]
    fn a_command_waits_up_to_the_limit_and_is_sent_away_after_it_for_as_long_as_the_hold_is_on() {
        let hold = Hold::default();
        assert_eq!(hold.patience(Boot(0)), Patience::NoHold);
        hold.begin(Boot(10), Duration::from_nanos(5));
        assert_eq!((hold.patience(Boot(14)), hold.patience(Boot(15))), (Patience::Wait, Patience::Over));
        assert_eq!(hold.patience(Boot(u64::MAX)), Patience::Over, "no timer ends it (14)");
        // Another attempt follows at once: the clients have waited since the first.
        hold.begin(Boot(20), Duration::from_nanos(5));
        assert_eq!(hold.patience(Boot(24)), Patience::Wait);
        assert_eq!((hold.end(), hold.patience(Boot(24))), (Some(Boot(10)), Patience::NoHold));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_hold_ends_or_its_limit_has_passed() {
        let hold = Arc::new(Hold::default());
        hold.passed(&At(Boot(0))).await;
        hold.begin(Boot(0), Duration::from_secs(3600));
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.passed(&At(Boot(0))).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        hold.end();
        waiting.await.expect("told");
        hold.begin(Boot(0), Duration::from_secs(1));
        hold.passed(&At(Boot(2_000_000_000))).await;
    }
}
