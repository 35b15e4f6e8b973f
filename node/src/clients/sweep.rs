//! Looks over all clients once a second and says whom to cut off: the idle, and those that let replies pile up.
//!
//! Pure: [`judge`] decides on one client; the shell walks the list. A connection that grows beyond a *hard* limit
//! notices that itself at once.

use super::Client;
use crate::config::{OutputLimits, Verdict};
use capstan_proto::env::Boot;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often the shell walks the list.
pub const EVERY: Duration = Duration::from_secs(1);

/// Why a client is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `timeout`.
    Idle,
    /// `client-output-buffer-limit`.
    Output,
}

/// Whether a client is to be cut off now. `idle_max`: zero for no limit.
#[must_use]
pub fn judge(client: &Client, limits: &OutputLimits, idle_max: Duration, now: Boot) -> Option<Reason> {
    let waiting = client.waiting() as u64;
    let since = Some(Boot(client.above_since.load(Relaxed))).filter(|since| since.0 != u64::MAX);
    match limits.normal.judge(waiting, since, now) {
        Verdict::Over => return Some(Reason::Output),
        Verdict::Above(since) => client.above_since.store(since.0, Relaxed),
        Verdict::Fine => client.above_since.store(u64::MAX, Relaxed),
    }
    let idle = !idle_max.is_zero() && waiting == 0 && now.since(client.last_used()) > idle_max;
    idle.then_some(Reason::Idle)
}

#[cfg(test)]
mod tests {
    use super::super::Clients;
    use super::super::tests::enter;
    use super::*;
    use std::sync::Arc;

    fn at(seconds: u64) -> Boot {
        Boot(seconds * 1_000_000_000)
    }

    #[test]
    fn an_idle_client_is_cut_off_after_the_timeout_and_without_one_never() {
        let clients = Arc::new(Clients::default());
        let place = enter(&clients, 9, at(0)).expect("room");
        let limits = OutputLimits::default();
        let ask = |idle, now| judge(place.client(), &limits, Duration::from_secs(idle), at(now));
        assert_eq!(ask(0, 1_000_000), None);
        assert_eq!(ask(5, 5), None);
        assert_eq!(ask(5, 6), Some(Reason::Idle));
    }

    #[test]
    fn a_client_that_stays_above_the_soft_limit_is_cut_off_and_one_that_drains_is_not() {
        let clients = Arc::new(Clients::default());
        let place = enter(&clients, 9, at(0)).expect("room");
        let limits = OutputLimits::default().changed("normal 0 10 5").expect("valid");
        let ask = |now| judge(place.client(), &limits, Duration::ZERO, at(now));
        place.client().note_waiting(11);
        assert_eq!((ask(1), ask(6)), (None, None));
        place.client().note_waiting(0);
        assert_eq!(ask(7), None);
        place.client().note_waiting(11);
        assert_eq!((ask(8), ask(13)), (None, None));
        assert_eq!(ask(14), Some(Reason::Output));
    }
}
