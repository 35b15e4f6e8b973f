//! Freeing what is large, away from the I/O workers: one thread of low priority, which yields between steps.
//!
//! Handing something over costs a push; nothing here is on a command's path. The queue is bounded by the memory that
//! the queued things themselves occupied, and `pending` says how much of it has not been given back yet.

use super::raw::Entry;
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Something to free.
#[derive(Debug)]
pub enum Garbage {
    /// One large entry.
    Entry(Entry),
    /// Many entries, and what they occupy.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Their sum.
        bytes: usize,
    },
    /// The tables of a lane, and what they and their entries occupy.
    Tables {
        /// The tables.
        tables: Vec<HashTable<Entry>>,
        /// Their sum.
        bytes: usize,
    },
}

impl Garbage {
    /// An entry of this size or more is worth the trip: freeing it may return pages to the system (tens of us).
    pub const WORTH_BYTES: usize = 256 * 1024;

    fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.allocated(),
            Self::Entries { bytes, .. } | Self::Tables { bytes, .. } => *bytes,
        }
    }
}

/// Frees at most this many entries before letting others run.
const STEP: usize = 1024;

/// The way to the freeing thread, which ends when the last reclaimer is dropped.
#[derive(Debug)]
pub struct Reclaimer {
    queue: Sender<Garbage>,
    pending: Arc<AtomicUsize>,
}

impl Reclaimer {
    /// Starts the thread. If the system refuses one, everything is freed on the spot instead.
    #[must_use]
    pub fn start() -> Self {
        let (queue, garbage) = channel();
        let pending = Arc::new(AtomicUsize::new(0));
        let left = pending.clone();
        let thread = std::thread::Builder::new().name("reclaim".into()).spawn(move || run(&garbage, &left));
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for freeing memory in the background");
        }
        Self { queue, pending }
    }

    /// Frees something soon.
    pub fn free(&self, garbage: Garbage) {
        let bytes = garbage.bytes();
        self.pending.fetch_add(bytes, Ordering::Relaxed);
        if let Err(refused) = self.queue.send(garbage) {
            drop(refused);
            self.pending.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// What has been handed over and is not free yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }
}

fn run(garbage: &Receiver<Garbage>, pending: &AtomicUsize) {
    // On Linux a nice value belongs to a thread. Failing to lower it only makes us a less polite neighbour.
    let _ = rustix::process::setpriority_process(None, 10);
    while let Ok(garbage) = garbage.recv() {
        let bytes = garbage.bytes();
        match garbage {
            Garbage::Entry(entry) => drop(entry),
            Garbage::Entries { mut entries, .. } => {
                while !entries.is_empty() {
                    entries.truncate(entries.len().saturating_sub(STEP));
                    std::thread::yield_now();
                }
            }
            Garbage::Tables { tables, .. } => tables.into_iter().for_each(free_table),
        }
        pending.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn free_table(mut table: HashTable<Entry>) {
    let mut freed = 0;
    for entry in table.drain() {
        drop(entry);
        freed += 1;
        if freed % STEP == 0 {
            std::thread::yield_now();
        }
    }
    std::thread::yield_now();
}
