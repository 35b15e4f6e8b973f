//! Clients that increment counters while things happen, and what they know afterwards: what was acknowledged, what has an
//! unknown outcome, and how long each shard answered nobody.

use crate::cluster::{Shard, now};
use capstan_jepsen::cluster::ClusterClient;
use capstan_jepsen::connection::Options;
use capstan_proto::slot::Slot;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Keys of each client: enough for every shard to have some of each.
pub(crate) const KEYS_EACH: u64 = 40;
/// A server that answers nothing is left after this long.
pub(crate) const REPLY_WITHIN: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options { connect_timeout: REPLY_WITHIN, reply_timeout: REPLY_WITHIN, ..Options::default() }
}

/// What one client learnt.
#[derive(Debug, Default)]
struct Tally {
    acked: BTreeMap<String, u64>,
    unknown: BTreeMap<String, u64>,
    /// When each acknowledgement came, and for which slot.
    acks: Vec<(u64, u16)>,
    /// Replies that are errors, and other reasons why nothing happened.
    errors: BTreeMap<String, u64>,
    /// CLUSTERDOWN and its like, which the client answered by trying again.
    refusals: u64,
}

/// Clients at work.
pub(crate) struct Load {
    runtime: Runtime,
    seeds: Vec<String>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What all of them learnt, and what the cluster says now.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) acked: u64,
    pub(crate) unknown: u64,
    /// Acknowledged increments that are not there, by key.
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// CLUSTERDOWN and its like, which clients answered by trying again.
    pub(crate) refusals: u64,
    acks: Acks,
}

/// When acknowledgements came, in order, and for which slots.
struct Acks(Vec<(u64, u16)>);

impl std::fmt::Debug for Acks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of them", self.0.len())
    }
}

impl Load {
    /// Starts clients that know these nodes, and waits until they are served.
    pub(crate) fn start(nodes: &[SocketAddr], clients: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let seeds: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |number| {
            let (seeds, stop, acked) = (seeds.clone(), Arc::clone(&stop), Arc::clone(&acked));
            runtime.spawn(work(number, seeds, stop, acked))
        };
        let clients = (0..clients).map(client).collect();
        let load = Self { runtime, seeds, stop, acked, clients };
        load.wait_for(1000);
        load
    }

    /// Waits until so many more increments were acknowledged.
    pub(crate) fn wait_for(&self, more: u64) {
        let wanted = self.acked.load(Ordering::Relaxed) + more;
        let reached = || self.acked.load(Ordering::Relaxed) >= wanted;
        assert!(
            capstan_tests::process::wait_until(crate::cluster::LIMIT, reached),
            "nothing is acknowledged"
        );
    }

    /// Ends the clients and reads every counter.
    pub(crate) fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let Self { runtime, seeds, clients, .. } = self;
        runtime.block_on(async move {
            let mut all = Tally::default();
            for client in clients {
                let tally = client.await.expect("a client does not panic");
                all.acked.extend(tally.acked);
                all.unknown.extend(tally.unknown);
                all.acks.extend(tally.acks);
                all.refusals += tally.refusals;
                tally
                    .errors
                    .into_iter()
                    .for_each(|(why, count)| *all.errors.entry(why).or_default() += count);
            }
            all.acks.sort_unstable();
            let mut reader = ClusterClient::connect(&seeds, options()).await.expect("a node answers");
            let mut lost = BTreeMap::new();
            for (key, acked) in &all.acked {
                let reply = reader.call(key.as_bytes(), &["GET", key]).await.expect("a counter can be read");
                let value: u64 = reply.text().and_then(|text| text.parse().ok()).unwrap_or_default();
                let most = acked + all.unknown.get(key).copied().unwrap_or_default();
                assert!(value <= most, "{key} is {value}, more than {most} increments were sent");
                if value < *acked {
                    lost.insert(key.clone(), acked - value);
                }
            }
            Outcome {
                acked: all.acked.values().sum(),
                unknown: all.unknown.values().sum(),
                lost,
                errors: all.errors,
                refusals: all.refusals,
                acks: Acks(all.acks),
            }
        })
    }
}

impl Outcome {
    /// The longest time after an instant in which no client of a shard heard anything, in milliseconds.
    pub(crate) fn longest_silence(&self, shard: &Shard, after: u64) -> u64 {
        self.longest_silence_within(shard, after..u64::MAX)
    }

    /// The same within a time.
    pub(crate) fn longest_silence_within(&self, shard: &Shard, time: Range<u64>) -> u64 {
        let after = time.start;
        let ours = self.acks.0.iter().filter(|(at, slot)| time.contains(at) && shard.owns(*slot));
        let mut last = after;
        let mut longest = 0;
        for (at, _) in ours {
            longest = longest.max(at - last);
            last = *at;
        }
        assert!(last > after, "nobody was served on shard {} any more", shard.number);
        longest / 1_000_000
    }

    /// When the first increment was acknowledged.
    pub(crate) fn begun(&self) -> u64 {
        self.acks.0.first().map(|(at, _)| *at).unwrap_or_default()
    }

    /// How many acknowledged increments are gone.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Says all of it, under the name of the test.
    pub(crate) fn say(&self, test: &str, silence_ms: u64) {
        self.say_worst(test, silence_ms);
        self.say_totals(test);
    }

    /// Says a time of one fault, for `tests/repeat`.
    pub(crate) fn say_worst(&self, what: &str, ms: u64) {
        println!("worst {what} {ms}");
    }

    /// Says how many were acknowledged, unknown and lost, and which errors there were.
    pub(crate) fn say_totals(&self, test: &str) {
        println!(
            "{test}: {} acknowledged, {} unknown, {} lost, {} refusals, errors {:?}, client timeouts {REPLY_WITHIN:?}",
            self.acked,
            self.unknown,
            self.lost(),
            self.refusals,
            self.errors
        );
    }
}

/// A key of a client.
pub(crate) fn counter(client: u64, key: u64) -> String {
    format!("counter-{client}-{key}")
}

async fn work(number: u64, seeds: Vec<String>, stop: Arc<AtomicBool>, acked: Arc<AtomicU64>) -> Tally {
    let mut tally = Tally::default();
    let mut client = None;
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if client.is_none() {
            client = ClusterClient::connect(&seeds, options()).await.ok();
        }
        let Some(connected) = client.as_mut() else { continue };
        let refusals = connected.refusals();
        let key = counter(number, turn % KEYS_EACH);
        let outcome = connected.call(key.as_bytes(), &["INCR", &key]).await;
        tally.refusals += connected.refusals() - refusals;
        match outcome {
            Ok(reply) => match reply.error() {
                None => {
                    tally.acks.push((now(), Slot::of_key(key.as_bytes()).number()));
                    *tally.acked.entry(key).or_default() += 1;
                    acked.fetch_add(1, Ordering::Relaxed);
                }
                Some(error) => *tally.errors.entry(error).or_default() += 1,
            },
            Err(error) if error.may_have_happened() => *tally.unknown.entry(key).or_default() += 1,
            Err(error) => *tally.errors.entry(error.to_string()).or_default() += 1,
        }
    }
    tally
}
