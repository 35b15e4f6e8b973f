//! Faults that only the end of a lease answers: done `CAPSTAN_FAULTS` times (once, if that is not set) to the same cluster, each
//! time to whoever leads then, and how soon each was over.

use crate::cluster::{Asked, Shard, TTL_FLOOR_MS, now};
use crate::cuts::answer;
use crate::load::{Load, Outcome, REPLY_WITHIN};
use crate::pauses::address;
use capstan_tests::process::wait_until;
use capstan_tests::wire::Wire;

/// A failover by the end of a lease takes the lease, 1 % for the clock's rate, and a second (issue 4).
const FAILOVER_MS: u64 = TTL_FLOOR_MS + TTL_FLOOR_MS / 100 + 1000;
/// What clients hear may come so much later: they wait for a reply, and look for the new primary.
const CLIENTS_MS: u64 = FAILOVER_MS + REPLY_WITHIN.as_millis() as u64;

/// The numbers of the faults.
pub(crate) fn rounds() -> impl Iterator<Item = u32> {
    let wanted = std::env::var("CAPSTAN_FAULTS").ok().filter(|text| !text.is_empty());
    let count = wanted.map_or(1, |text| text.parse().expect("CAPSTAN_FAULTS is a number"));
    1..=count
}

/// A fault from its beginning to the end of its round, in nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// It was done: no heartbeat of the old primary has come later, so its lease cannot count from a later instant.
    pub(crate) done: u64,
    /// Another primary has executed a command.
    served: u64,
    /// All is well again.
    over: u64,
}

impl Fault {
    /// Waits until the only replica of a shard executes a write, which must be the first of its key.
    pub(crate) fn answered(cluster: &impl Asked, before: &Shard, done: u64, key: &str) -> (Self, Shard) {
        let [successor] = before.replicas[..] else { panic!("one replica: {before:?}") };
        let mut said = String::new();
        let serves = wait_until(crate::cluster::LIMIT, || {
            said = answer(successor, key);
            said.starts_with(':')
        });
        let served = now();
        assert!(serves, "the replica still says {said}\n{}", cluster.logs());
        assert_eq!(said, ":1\r\n");
        let after = cluster.wait_for_another_primary(before);
        assert_eq!(after.primary, successor);
        (Self { done, served, over: served }, after)
    }

    /// Waits until the old primary follows the new one, and clients are served again.
    pub(crate) fn heals(self, cluster: &impl Asked, load: &Load, after: &Shard, key: &str) -> Self {
        // It stays whole, whatever it lacks: that it has once been so is what the word says.
        let follows = || {
            let wire = Wire::connect(address(after.primary));
            let asked = wire.and_then(|mut wire| {
                wire.ask(&["INCR", key])?;
                wire.ask(&["WAIT", "1", "1000"])
            });
            asked.is_ok_and(|reply| reply == b":1\r\n")
        };
        cluster.wait("a write reaches the replica", follows);
        cluster.wait_until_whole();
        load.wait_for(1000);
        Self { over: now(), ..self }
    }
}

/// Says how long each fault took, and fails if one took longer than is promised.
pub(crate) fn judge(test: &str, outcome: &Outcome, shard: &Shard, faults: &[Fault]) {
    let mut longest = (0, 0);
    for (number, fault) in (1..).zip(faults) {
        let served = (fault.served - fault.done) / 1_000_000;
        let silence = outcome.longest_silence_within(shard, fault.done..fault.over);
        println!(
            "{test} {number}: another primary served after {served} ms, clients heard nothing for {silence} ms"
        );
        outcome.say_worst(test, silence);
        outcome.say_worst(&format!("{test}:replaced"), served);
        longest = (longest.0.max(served), longest.1.max(silence));
    }
    let (served, silence) = longest;
    println!("{test}: of {} faults the longest took {served} ms, for clients {silence} ms", faults.len());
    outcome.say_totals(test);
    assert!(served < FAILOVER_MS, "{served} ms, {FAILOVER_MS} are promised");
    assert!(silence < CLIENTS_MS, "clients heard nothing for {silence} ms");
}
