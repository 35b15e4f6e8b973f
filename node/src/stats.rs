//! Counters of the node and of each command, cheap enough for the hot path.
//!
//! Calls are added once per run of equal commands in a batch. Time is measured for one batch in [`SAMPLE_EVERY`] and
//! shared out among its commands, because two clock reads a command would cost more than a command does.

use crate::commands::lookup;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// One batch in so many is timed.
pub const SAMPLE_EVERY: u32 = 16;

/// What is known about one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// How often it ran.
    pub calls: AtomicU64,
    /// Nanoseconds, estimated from samples.
    pub nanos: AtomicU64,
    /// Refused before it ran (arity, auth, OOM, redirect).
    pub rejected: AtomicU64,
    /// Ran and answered an error.
    pub failed: AtomicU64,
}

/// All counters.
#[derive(Debug)]
pub struct Stats {
    commands: Box<[CommandStats]>,
    /// Commands processed.
    pub processed: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused (maxclients).
    pub connections_rejected: AtomicU64,
    /// Bytes read from clients.
    pub bytes_in: AtomicU64,
    /// Bytes written to clients.
    pub bytes_out: AtomicU64,
    /// Error replies.
    pub errors: AtomicU64,
}

thread_local! {
    static BATCHES: Cell<u32> = const { Cell::new(0) };
}

impl Stats {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        let commands = lookup::all().iter().map(|_| CommandStats::default()).collect();
        Self {
            commands,
            processed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_rejected: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// The counters of a command, by its id.
    #[must_use]
    pub fn command(&self, id: usize) -> &CommandStats {
        &self.commands[id]
    }

    /// Whether this thread's next batch is to be timed.
    #[inline]
    #[must_use]
    pub fn samples_now(&self) -> bool {
        BATCHES.with(|batches| {
            let n = batches.get().wrapping_add(1);
            batches.set(n);
            n.is_multiple_of(SAMPLE_EVERY)
        })
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for command in &self.commands {
            for counter in [&command.calls, &command.nanos, &command.rejected, &command.failed] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        for counter in [
            &self.processed,
            &self.connections,
            &self.connections_rejected,
            &self.bytes_in,
            &self.bytes_out,
            &self.errors,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}
