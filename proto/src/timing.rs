//! Every duration that two parts must agree on, and the relations between them, proved at compile time.
//!
//! Milliseconds unless the name says otherwise. DESIGN 5 says why each relation must hold.

use std::time::Duration;

/// The Raft leader's heartbeat.
pub const RAFT_HEARTBEAT_MS: u64 = 100;
/// The start of the earliest election window.
pub const ELECTION_BASE_MS: u64 = 400;
/// Meta servers get disjoint windows, this far apart (CRATES 1.3.1).
pub const ELECTION_STEP_MS: u64 = 60;
/// How wide one window is.
pub const ELECTION_WIDTH_MS: u64 = 50;
/// How many disjoint windows there are; server ids share them by `id % ELECTION_WINDOWS`. More would push the
/// longest failover past half of [`LEASE_TTL_FLOOR_MS`].
pub const ELECTION_WINDOWS: u64 = 3;
/// The latest end of an election window.
pub const ELECTION_MAX_MS: u64 =
    ELECTION_BASE_MS + ELECTION_STEP_MS * (ELECTION_WINDOWS - 1) + ELECTION_WIDTH_MS;
/// openraft fails over after the old leader's lease and an election timeout of its own (CRATES 1.3.2).
pub const META_FAILOVER_MAX_MS: u64 = 2 * ELECTION_MAX_MS;

/// The shortest lease that an operator can set as `cluster-node-timeout`.
pub const LEASE_TTL_FLOOR_MS: u64 = 3000;
/// The lease of a new cluster.
pub const LEASE_TTL_DEFAULT_MS: u64 = 5000;
/// The longest lease: an hour. Beyond it an unreachable primary could not be replaced in any useful time.
pub const LEASE_TTL_CEILING_MS: u64 = 3_600_000;
/// The longest pause between two heartbeats of a node.
pub const HEARTBEAT_MAX_MS: u64 = 500;
/// A node beats this often within a lease.
pub const HEARTBEATS_PER_TTL: u64 = 10;
/// The least pause between two quorum-confirmed rounds of the meta leader's grants.
pub const GRANT_ROUND_MIN_MS: u64 = 5;
/// How much faster the meta leader's clock may run than a node's: the leader counts a lease this many percent longer (►4).
pub const CLOCK_RATE_PERCENT: u64 = 1;

/// The election window `(min, max)` of a meta server.
#[must_use]
pub const fn election_window_ms(meta_id: u64) -> (u64, u64) {
    let min = ELECTION_BASE_MS + ELECTION_STEP_MS * (meta_id % ELECTION_WINDOWS);
    (min, min + ELECTION_WIDTH_MS)
}

/// How often a node beats when its lease is `ttl_ms` long.
#[must_use]
pub const fn heartbeat_every_ms(ttl_ms: u64) -> u64 {
    let tenth = ttl_ms / HEARTBEATS_PER_TTL;
    if tenth < HEARTBEAT_MAX_MS { tenth } else { HEARTBEAT_MAX_MS }
}

/// How long the meta leader counts a lease of `ttl`: rounded up, so never shorter than the rule says (►4).
#[must_use]
pub const fn counted_by_leader(ttl: Duration) -> Duration {
    let nanos = ttl.as_nanos();
    Duration::from_nanos((nanos + nanos.div_ceil(100) * CLOCK_RATE_PERCENT as u128) as u64)
}

// A meta server may lose an election once and two heartbeats may get lost before a primary's lease ends.
const _: () =
    assert!(LEASE_TTL_FLOOR_MS >= 2 * META_FAILOVER_MAX_MS + 2 * heartbeat_every_ms(LEASE_TTL_FLOOR_MS));
const _: () =
    assert!(LEASE_TTL_FLOOR_MS <= LEASE_TTL_DEFAULT_MS && LEASE_TTL_DEFAULT_MS <= LEASE_TTL_CEILING_MS);
// The window must be wider than a few heartbeats, or a late heartbeat costs an election.
const _: () = assert!(ELECTION_BASE_MS >= 4 * RAFT_HEARTBEAT_MS);
const _: () = assert!(ELECTION_STEP_MS > ELECTION_WIDTH_MS, "election windows must not touch");
const _: () = assert!(GRANT_ROUND_MIN_MS < heartbeat_every_ms(LEASE_TTL_FLOOR_MS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_counts_one_percent_more_than_the_node() {
        assert_eq!(counted_by_leader(Duration::from_secs(5)), Duration::from_millis(5050));
        assert!(counted_by_leader(Duration::from_nanos(1)) > Duration::from_nanos(1));
    }

    #[test]
    fn a_node_beats_ten_times_a_lease_but_never_slower_than_twice_a_second() {
        assert_eq!(heartbeat_every_ms(3000), 300);
        assert_eq!(heartbeat_every_ms(60_000), 500);
    }
}
