//! Freeing what is large, and giving free memory back to the system, away from the I/O workers: one thread of low
//! priority, which yields between steps.
//!
//! Handing something over costs a push; nothing here is on a command's path. The queue is bounded by the memory that
//! the queued things themselves occupied, and `pending` says how much of it has not been given back yet.
//!
//! Left to itself the allocator gives pages back in the midst of some later allocation: a worker that grows a table
//! after FLUSHALL of 5 million keys then unmaps hundreds of MiB first, and its clients wait 100 ms and more.

use super::ahead;
use super::raw::{self, Entry};
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

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

enum Job {
    Free(Garbage),
    Tick,
    GiveBack,
}

/// Free memory is kept for so many ticks after the last garbage: who empties a table often fills it again, and pages
/// that went back have to be had from the system once more, a slow thing in the midst of commands.
const KEPT_TICKS: u32 = 6;
/// It is not kept for longer than this, however much garbage comes.
const KEPT_TICKS_MAX: u32 = 30;

/// Frees at most this many entries before letting others run.
const STEP: usize = 1024;

/// The way to the freeing thread, which ends when the last reclaimer is dropped.
#[derive(Debug)]
pub struct Reclaimer {
    queue: Sender<Job>,
    left: Arc<Left>,
}

/// What the thread has still to do.
#[derive(Debug, Default)]
struct Left {
    /// Bytes to free.
    bytes: AtomicUsize,
    /// A tick to look at.
    tick: AtomicBool,
    /// Free memory to give back now.
    give_back: AtomicBool,
}

impl Reclaimer {
    /// Free memory goes back after some ticks.
    pub const TICK: Duration = Duration::from_secs(10);

    /// Starts the thread. If the system refuses one, everything is freed on the spot instead.
    #[must_use]
    pub fn start() -> Self {
        let (queue, jobs) = channel();
        let left = Arc::new(Left::default());
        let its = left.clone();
        let thread = std::thread::Builder::new().name("reclaim".into()).spawn(move || run(&jobs, &its));
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for freeing memory in the background");
        }
        Self { queue, left }
    }

    /// Frees something soon.
    pub fn free(&self, garbage: Garbage) {
        let bytes = garbage.bytes();
        self.left.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(refused) = self.queue.send(Job::Free(garbage)) {
            drop(refused);
            self.left.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// To be called every [`Reclaimer::TICK`]: while the thread lives, memory goes back to the system in its ticks only.
    pub fn tick(&self) {
        self.once(&self.left.tick, Job::Tick);
    }

    /// Gives free memory back now: once for however many ask before the thread comes to it, and after what was handed
    /// over before. A worker that needs memory meanwhile waits for it, some ms for each 100 MiB.
    pub fn give_back(&self) {
        self.once(&self.left.give_back, Job::GiveBack);
    }

    /// Queues a job unless it waits already.
    fn once(&self, waits: &AtomicBool, job: Job) {
        if !waits.swap(true, Ordering::Relaxed) && self.queue.send(job).is_err() {
            waits.store(false, Ordering::Relaxed);
        }
    }

    /// What has been handed over and is not free yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.left.bytes.load(Ordering::Relaxed)
    }
}

/// For how long free memory has been kept.
#[derive(Debug, Default)]
struct Kept {
    since_garbage: u32,
    in_all: u32,
}

impl Kept {
    const fn freed(&mut self) {
        self.since_garbage = 0;
    }

    /// Whether it is to go back now.
    const fn tick(&mut self) -> bool {
        self.since_garbage += 1;
        self.in_all += 1;
        let now = self.since_garbage >= KEPT_TICKS || self.in_all >= KEPT_TICKS_MAX;
        if now {
            *self = Self { since_garbage: 0, in_all: 0 };
        }
        now
    }
}

fn run(jobs: &Receiver<Job>, left: &Left) {
    // On Linux a nice value belongs to a thread. Failing to lower it only makes us a less polite neighbour.
    let _ = rustix::process::setpriority_process(None, 10);
    raw::keep_free_memory();
    let mut kept = Kept::default();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Free(garbage) => {
                let bytes = garbage.bytes();
                free(garbage);
                left.bytes.fetch_sub(bytes, Ordering::Relaxed);
                kept.freed();
            }
            Job::Tick => {
                left.tick.store(false, Ordering::Relaxed);
                if kept.tick() {
                    give_back();
                }
            }
            Job::GiveBack => {
                left.give_back.store(false, Ordering::Relaxed);
                give_back();
            }
        }
    }
}

fn give_back() {
    raw::give_back_free_memory();
    ahead::forget();
}

fn free(garbage: Garbage) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_goes_back_a_minute_after_the_last_garbage_and_after_five_minutes_of_it() {
        let mut kept = Kept::default();
        assert_eq!((1..=12).filter(|_| kept.tick()).count(), 2, "twice in two quiet minutes");
        let gone_back = |tick: &u32| {
            if tick.is_multiple_of(3) {
                kept.freed();
            }
            kept.tick()
        };
        let ticks: Vec<u32> = (1..=60).filter(gone_back).collect();
        assert_eq!(ticks, [30, 60], "garbage all the time");
    }

    #[test]
    fn what_is_handed_over_is_freed_and_a_tick_comes_after_it() {
        let reclaimer = Reclaimer::start();
        let entry = Entry::new(0, b"key", &[1; 1000], None);
        reclaimer.free(Garbage::Entry(entry));
        (0..KEPT_TICKS_MAX).for_each(|_| reclaimer.tick());
        while reclaimer.pending() > 0 || reclaimer.left.tick.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    }
}
