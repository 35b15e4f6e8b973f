//! Clients at the client ports: one writer a node, each counting up a key of its own, who notes when it was answered,
//! when it was refused and with which words.

use capstan_proto::env::{Boot, Clock, RealClock};
use capstan_tests::wire::{Wire, number};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause between two writes: what is looked for is silence, not speed.
const PAUSE: Duration = Duration::from_millis(1);

/// What one writer saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// When its writes were acknowledged.
    pub(crate) acknowledged: Vec<Boot>,
    /// When writes were refused, and the error.
    pub(crate) refused: Vec<(Boot, String)>,
    /// Connections that ended under a write: it may have been executed (►9).
    pub(crate) unknown: u64,
    /// The last count that was acknowledged.
    pub(crate) count: i64,
}

impl Seen {
    /// The longest time without an acknowledged write from an instant to the last one.
    pub(crate) fn longest_silence(&self, from: Boot) -> Duration {
        let later = self.acknowledged.iter().filter(|at| **at > from);
        let (mut last, mut longest) = (from, Duration::ZERO);
        for at in later {
            longest = longest.max(at.since(last));
            last = *at;
        }
        longest
    }

    /// The first acknowledgement after an instant.
    pub(crate) fn acknowledged_after(&self, from: Boot) -> Option<Boot> {
        self.acknowledged.iter().copied().find(|at| *at > from)
    }

    /// The first refusal after an instant.
    pub(crate) fn refused_after(&self, from: Boot) -> Option<&(Boot, String)> {
        self.refused.iter().find(|(at, _)| *at > from)
    }
}

/// One writer at each node.
pub(crate) struct Writers {
    end: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts them; each node owns some slots.
    pub(crate) fn start(nodes: &[SocketAddr]) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen: Vec<Arc<Mutex<Seen>>> = nodes.iter().map(|_| Arc::default()).collect();
        let write = |(node, seen): (&SocketAddr, &Arc<Mutex<Seen>>)| {
            let (node, seen, end) = (*node, Arc::clone(seen), Arc::clone(&end));
            let key = key_of(node);
            std::thread::spawn(move || write(node, &key, &seen, &end))
        };
        let threads = nodes.iter().zip(&seen).map(write).collect();
        Self { end, seen, threads }
    }

    /// What each has seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.iter().map(|seen| seen.lock().expect("no panic").clone()).collect()
    }

    /// Ends them.
    pub(crate) fn end(self) -> Vec<Seen> {
        self.end.store(true, Ordering::Relaxed);
        let seen = self.seen;
        self.threads.into_iter().for_each(|thread| thread.join().expect("a writer does not panic"));
        seen.iter().map(|seen| seen.lock().expect("no panic").clone()).collect()
    }
}

/// A key whose slot the node says is its own.
fn key_of(node: SocketAddr) -> String {
    let mut wire = Wire::connect(node).expect("it listens");
    let key = (0..10_000)
        .map(|n| format!("counter:{n}"))
        .find(|key| wire.ask(&["EXISTS", key]).expect("it answers").starts_with(b":"));
    key.expect("it owns a slot")
}

fn write(node: SocketAddr, key: &str, seen: &Mutex<Seen>, end: &AtomicBool) {
    let mut wire = None;
    let mut unknown_since_ack = 0;
    while !end.load(Ordering::Relaxed) {
        std::thread::park_timeout(PAUSE);
        if wire.is_none() {
            wire = Wire::connect(node).ok();
        }
        let Some(open) = &mut wire else { continue };
        let reply = open.ask(&["INCR", key]);
        let at = RealClock.boot();
        let mut seen = seen.lock().expect("no panic");
        match reply {
            Err(_) => {
                seen.unknown += 1;
                unknown_since_ack += 1;
                wire = None;
            }
            Ok(reply) if reply.starts_with(b"-") => {
                seen.refused.push((at, String::from_utf8_lossy(&reply).trim_end().to_owned()));
            }
            Ok(reply) => {
                let count = number(&reply).expect("a number");
                let expected = seen.count + 1..=seen.count + 1 + unknown_since_ack;
                assert!(expected.contains(&count), "{key} at {node}: {count}, expected {expected:?}");
                unknown_since_ack = 0;
                seen.count = count;
                seen.acknowledged.push(at);
            }
        }
    }
}
