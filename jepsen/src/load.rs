//! The load: clients that increment random keys of every shard, and note what they were told.
//!
//! Each client has one slot map per shard that it writes to, follows redirects, and never sends an increment again whose
//! outcome it does not know. One that certainly did not happen is dropped: another one follows soon.

use crate::ledger::Ledger;
use crate::shards::Shard;
use crate::timeline::Timeline;
use capstan_jepsen::cluster::{ClusterClient, is_refusal};
use capstan_jepsen::connection::{CallError, Options};
use capstan_jepsen::resp::Value;
use capstan_jepsen::slots::Redirect;
use capstan_proto::env::{Boot, Clock, Random, RealClock, RealRandom};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What is sent, and how patient the clients are.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub(crate) struct Flags {
    /// Any nodes of the cluster: HOST:PORT,...
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    /// Clients; each has one connection to every shard
    #[arg(long, default_value_t = 20)]
    pub(crate) clients: usize,
    /// Keys, in equal numbers in every shard
    #[arg(long, default_value_t = 3000)]
    pub(crate) keys: usize,
    /// Operations a second in all; 0: as many as the cluster takes
    #[arg(long, default_value_t = 22_000)]
    pub(crate) rate: u64,
    /// Commands that a connection sends at once, at most
    #[arg(long, default_value_t = 8)]
    pub(crate) pipeline: usize,
    /// A connection that is not made within this has failed
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub(crate) connect_timeout: u64,
    /// A reply that has not come within this never will
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub(crate) reply_timeout: u64,
    /// The pause after a refusal or a failed connection
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub(crate) pause: u64,
}

impl Flags {
    pub(crate) fn options(&self) -> Options {
        Options {
            connect_timeout: Duration::from_millis(self.connect_timeout),
            reply_timeout: Duration::from_millis(self.reply_timeout),
            pause: Duration::from_millis(self.pause),
            ..Options::default()
        }
    }
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    redirected: AtomicU64,
    not_sent: AtomicU64,
    other_errors: AtomicU64,
}

/// The same, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    /// Sent, and no reply came.
    pub(crate) unknown: u64,
    /// CLUSTERDOWN, TRYAGAIN and their like.
    pub(crate) refused: u64,
    /// MOVED.
    pub(crate) redirected: u64,
    /// No connection came about.
    pub(crate) not_sent: u64,
    /// Errors that no client expects.
    pub(crate) other_errors: u64,
}

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) shards: Vec<Shard>,
    pub(crate) ledger: Ledger,
    timelines: Vec<Mutex<Timeline>>,
    tally: Tally,
    strange: Mutex<Option<String>>,
    end: AtomicBool,
    begun: Boot,
}

/// A load that is under way.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Shared {
    /// The acknowledgements of a shard.
    pub(crate) fn timeline(&self, shard: usize) -> MutexGuard<'_, Timeline> {
        // It is whole after every call, whoever panicked.
        self.timelines[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let tally = &self.tally;
        Counts {
            acknowledged: read(&tally.acknowledged),
            unknown: read(&tally.unknown),
            refused: read(&tally.refused),
            redirected: read(&tally.redirected),
            not_sent: read(&tally.not_sent),
            other_errors: read(&tally.other_errors),
        }
    }

    /// The first error that no client expects.
    pub(crate) fn strange(&self) -> Option<String> {
        self.strange.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn begun(&self) -> Boot {
        self.begun
    }

    fn note_strange(&self, error: String) {
        self.tally.other_errors.fetch_add(1, Relaxed);
        self.strange.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(flags: &Flags, shards: Vec<Shard>, ledger: Ledger) -> Self {
        let begun = RealClock.boot();
        let timelines = shards.iter().map(|_| Mutex::new(Timeline::new(begun))).collect();
        let (tally, strange, end) = (Tally::default(), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { shards, ledger, timelines, tally, strange, end, begun });
        let count = flags.clients * shared.shards.len();
        let one = |number: usize| {
            let worker = Worker {
                shared: Arc::clone(&shared),
                shard: number % shared.shards.len(),
                flags: flags.clone(),
                pace: Pace::new(flags, count, begun),
                rng: SmallRng::seed_from_u64(RealRandom.u64()),
            };
            tokio::spawn(worker.run())
        };
        let workers = (0..count).map(one).collect();
        Self { shared, workers }
    }

    /// Ends the clients and waits for them.
    pub(crate) async fn end(self) -> Arc<Shared> {
        self.shared.end.store(true, Relaxed);
        for worker in self.workers {
            if let Err(error) = worker.await {
                self.shared.note_strange(format!("a client ended: {error}"));
            }
        }
        self.shared
    }
}

/// When how many commands are due on one connection.
struct Pace {
    /// Nanoseconds from one command to the next; 0: none.
    every: u64,
    most: usize,
    next: Boot,
}

impl Pace {
    fn new(flags: &Flags, workers: usize, begun: Boot) -> Self {
        let every = match flags.rate {
            0 => 0,
            rate => 1_000_000_000 * workers as u64 / rate,
        };
        Self { every, most: flags.pipeline.max(1), next: begun.after(spread(every)) }
    }

    /// How many commands are due; nothing, and how long until one is. What a stop has kept from being sent is not made
    /// up for.
    fn due(&mut self, now: Boot) -> Result<usize, Duration> {
        if self.every == 0 {
            return Ok(self.most);
        }
        if now < self.next {
            return Err(self.next.since(now));
        }
        let behind = now.since(self.next).as_nanos() as u64 / self.every + 1;
        let due = (behind as usize).min(self.most);
        let from = if behind as usize > self.most { now } else { self.next };
        self.next = from.after(Duration::from_nanos(self.every * due as u64));
        Ok(due)
    }
}

/// Workers do not all begin at once.
fn spread(every: u64) -> Duration {
    Duration::from_nanos(if every == 0 { 0 } else { RealRandom.u64() % every })
}

/// One client's part in one shard.
struct Worker {
    shared: Arc<Shared>,
    shard: usize,
    flags: Flags,
    pace: Pace,
    rng: SmallRng,
}

/// What is to be done before the next commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// Look who serves the shard.
    Look,
    /// Wait a moment, then look.
    WaitAndLook,
}

impl Worker {
    fn ends(&self) -> bool {
        self.shared.end.load(Relaxed)
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(self.flags.pause)).await;
    }

    async fn run(mut self) {
        let mut client = None;
        while !self.ends() {
            match ClusterClient::connect(&self.flags.nodes, self.flags.options()).await {
                Ok(connected) => {
                    client = Some(connected);
                    break;
                }
                Err(_) => self.pause().await,
            }
        }
        let Some(mut client) = client else { return };
        while !self.ends() {
            match self.pace.due(RealClock.boot()) {
                Err(wait) => tokio::time::sleep(wait).await,
                Ok(due) => match self.send(&mut client, due).await {
                    Next::GoOn => {}
                    Next::Look => drop(client.refresh().await),
                    Next::WaitAndLook => {
                        self.pause().await;
                        // Whoever does not answer now is asked again in a moment.
                        let _ = client.refresh().await;
                    }
                },
            }
        }
    }

    async fn send(&mut self, client: &mut ClusterClient, count: usize) -> Next {
        let shared = Arc::clone(&self.shared);
        let of_shard = &shared.shards[self.shard].keys;
        let keys: Vec<usize> = (0..count).map(|_| of_shard[self.rng.gen_range(0..of_shard.len())]).collect();
        let Some(node) = client.owner(shared.ledger.name(keys[0]).as_bytes()).map(str::to_owned) else {
            return Next::WaitAndLook;
        };
        let commands: Vec<Vec<&str>> =
            keys.iter().map(|key| vec!["INCR", shared.ledger.name(*key)]).collect();
        let (replies, error) = client.pipeline_at(&node, &commands).await;
        self.note_acknowledged(&keys, &replies, &node);
        let mut next = Next::GoOn;
        for reply in &replies {
            next = match self.judge(client, reply, &node) {
                Next::GoOn => next,
                other => other,
            };
        }
        let Some(error) = error else { return next };
        let rest = &keys[replies.len()..];
        let tally = &shared.tally;
        match error {
            CallError::NotSent { .. } => {
                tally.not_sent.fetch_add(rest.len() as u64, Relaxed);
                Next::WaitAndLook
            }
            CallError::Unknown { .. } => {
                tally.unknown.fetch_add(rest.len() as u64, Relaxed);
                rest.iter().for_each(|key| shared.ledger.leave_unknown(*key));
                Next::Look
            }
        }
    }

    fn note_acknowledged(&self, keys: &[usize], replies: &[Value], node: &str) {
        let done = keys.iter().zip(replies).filter(|(_, reply)| matches!(reply, Value::Integer(_)));
        let count = done.inspect(|(key, _)| self.shared.ledger.acknowledge(**key)).count();
        if count > 0 {
            self.shared.tally.acknowledged.fetch_add(count as u64, Relaxed);
            // The clock is read with the lock held, so that instants are noted in their order.
            let mut timeline = self.shared.timeline(self.shard);
            timeline.note(RealClock.boot(), count as u32, node);
        }
    }

    /// What a reply says about who is to be asked next.
    fn judge(&self, client: &mut ClusterClient, reply: &Value, node: &str) -> Next {
        let Some(error) = reply.error() else {
            if !matches!(reply, Value::Integer(_)) {
                self.shared.note_strange(format!("{node} answered INCR with {reply:?}"));
            }
            return Next::GoOn;
        };
        let tally = &self.shared.tally;
        match Redirect::parse(&error, node) {
            Some(Redirect::Moved { to, .. }) => {
                tally.redirected.fetch_add(1, Relaxed);
                self.shared.shards[self.shard].slots().for_each(|slot| client.set_owner(slot, &to));
                Next::GoOn
            }
            None if is_refusal(&error) => {
                tally.refused.fetch_add(1, Relaxed);
                Next::WaitAndLook
            }
            Some(Redirect::Ask { .. }) | None => {
                self.shared.note_strange(format!("{node}: {error}"));
                Next::WaitAndLook
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(every_ms: u64, most: usize) -> Pace {
        Pace { every: every_ms * 1_000_000, most, next: Boot(0) }
    }

    #[test]
    fn commands_are_due_at_their_pace_and_a_stop_is_not_made_up_for() {
        let at = |ms: u64| Boot(ms * 1_000_000);
        let mut pace = pace(10, 4);
        assert_eq!(pace.due(at(0)), Ok(1));
        assert_eq!(pace.due(at(4)), Err(Duration::from_millis(6)));
        assert_eq!(pace.due(at(25)), Ok(2));
        assert_eq!(pace.due(at(1000)), Ok(4));
        assert!(pace.due(at(1001)).is_err(), "the rest of the stop is gone");
    }

    #[test]
    fn without_a_pace_as_many_as_fit_are_always_due() {
        assert_eq!(pace(0, 4).due(Boot(7)), Ok(4));
    }
}
