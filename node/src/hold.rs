//! Clients that a change of roles holds: their commands wait, bounded, and nothing executes (DESIGN 6, ►14).
//!
//! A command that finds its slot [`Held`](crate::store::Access::Held) under its lane's lock is given back to its
//! connection, which waits here and then runs it anew: it finds the slot as it is then. At its limit waiting ends with an
//! error; the hold itself does not: what it waits for ends that. Decides nothing: the role of the node begins and ends it
//! (`cluster/install.rs`, `cluster/handover.rs`, `cluster/life.rs`).

use capstan_proto::env::{Boot, Clock};
use std::time::Duration;
use tokio::sync::watch;

/// What the end of a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A planned failover is over, and clients know where to go.
    HandedOver,
    /// A primary that has just become one gets its first lease: a client that was sent here would be sent away by
    /// CLUSTERDOWN, for a heartbeat that is under way.
    FirstLease,
}

/// A hold that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct On {
    since: Boot,
    /// Commands wait until then at most.
    limit: Boot,
    until: Until,
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
    /// The limit has passed.
    Over(Until),
    /// Nothing is held.
    NoHold,
}

impl Hold {
    /// Commands are held from now on; a hold that is on already goes on for the new reason under the new limit.
    pub fn begin(&self, now: Boot, limit: Duration, until: Until) {
        self.on.send_modify(|on| {
            let since = on.map_or(now, |on| on.since);
            *on = Some(On { since, limit: now.after(limit), until });
        });
    }

    /// This has come: whoever waits for it looks again. Says since when clients were held, if it was for this.
    pub fn end(&self, reached: Until) -> Option<Boot> {
        let mut since = None;
        self.on.send_if_modified(|on| {
            since = on.filter(|on| on.until == reached).map(|on| on.since);
            if since.is_some() {
                *on = None;
            }
            since.is_some()
        });
        since
    }

    /// What a command does now.
    #[must_use]
    pub fn patience(&self, now: Boot) -> Patience {
        match *self.on.borrow() {
            None => Patience::NoHold,
            Some(on) if now < on.limit => Patience::Wait,
            Some(on) => Patience::Over(on.until),
        }
    }

    /// Returns when the hold has ended, or its limit has passed.
    pub async fn passed(&self, clock: &dyn Clock) {
        let mut on = self.on.subscribe();
        loop {
            let Some(held) = *on.borrow_and_update() else { return };
            let left = held.limit.since(clock.boot());
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
    use super::Until::{FirstLease, HandedOver};
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
        hold.begin(Boot(10), Duration::from_nanos(5), HandedOver);
        assert_eq!(
            (hold.patience(Boot(14)), hold.patience(Boot(15))),
            (Patience::Wait, Patience::Over(HandedOver))
        );
        assert_eq!(hold.patience(Boot(u64::MAX)), Patience::Over(HandedOver), "no timer ends it (14)");
        // Another attempt follows at once: the clients have waited since the first.
        hold.begin(Boot(20), Duration::from_nanos(5), HandedOver);
        assert_eq!(hold.patience(Boot(24)), Patience::Wait);
        assert_eq!((hold.end(HandedOver), hold.patience(Boot(24))), (Some(Boot(10)), Patience::NoHold));
    }

    #[test]
    fn a_hold_ends_by_what_it_waits_for_and_by_nothing_else() {
        let hold = Hold::default();
        hold.begin(Boot(10), Duration::from_nanos(5), FirstLease);
        assert_eq!((hold.end(HandedOver), hold.patience(Boot(14))), (None, Patience::Wait));
        assert_eq!(hold.patience(Boot(15)), Patience::Over(FirstLease));
        assert_eq!((hold.end(FirstLease), hold.patience(Boot(14))), (Some(Boot(10)), Patience::NoHold));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_hold_ends_or_its_limit_has_passed() {
        let hold = Arc::new(Hold::default());
        hold.passed(&At(Boot(0))).await;
        hold.begin(Boot(0), Duration::from_secs(3600), HandedOver);
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.passed(&At(Boot(0))).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        hold.end(HandedOver);
        waiting.await.expect("told");
        hold.begin(Boot(0), Duration::from_secs(1), FirstLease);
        hold.passed(&At(Boot(2_000_000_000))).await;
    }
}
