//! `--trace-serving FILE`: when this node executed client commands, of which lanes, under which epoch, so that a checker can
//! tell whether two nodes ever served the same slots at the same instant (I4; `jepsen/src/serving.rs` reads it).
//!
//! A line for each lane that a chunk of commands touched: `SHARD EPOCH LANE FROM TO served|late`, the instants in nanoseconds of
//! `CLOCK_BOOTTIME`; before the first one of a life, `node ID lanes COUNT`. `FROM` is what the lease was judged by, `TO` is read
//! after the last command. `late` says that the lease had ended by then: the replies do not leave (►9), so only the beginning was
//! serving. Each line is in the kernel's hands before the replies are, however the process ends. That costs a system call a
//! chunk; without the flag it costs one load.

use crate::commands::args::KeyAt;
use crate::core::NodeCore;
use crate::store::Lanes;
use crate::store::lanes::LANES_MAX;
use capstan_proto::env::Boot;
use capstan_proto::ids::{ShardEpoch, ShardId};
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The file, and whether this life has said who it is.
#[derive(Debug)]
pub struct ServingTrace {
    file: Mutex<(File, bool)>,
}

impl ServingTrace {
    /// Appends to a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new((file, false)) })
    }

    fn write(&self, core: &NodeCore, lines: &str) {
        let mut file = self.file.lock();
        let (file, introduced) = &mut *file;
        let head = match (*introduced, core.id.get()) {
            (false, Some(node)) => format!("node {node} lanes {}\n", core.lanes.count()),
            (true, _) | (false, None) => String::new(),
        };
        // In one call, so that a killed process leaves whole lines.
        match file.write_all((head + lines).as_bytes()) {
            Ok(()) => *introduced = true,
            Err(error) => tracing::error!(%error, "the trace is not complete"),
        }
    }
}

/// What a chunk of commands has touched so far.
pub(crate) struct Touched<'c> {
    core: &'c NodeCore,
    trace: &'c ServingTrace,
    lead: (ShardId, ShardEpoch),
    from: Boot,
    lanes: [bool; LANES_MAX],
    every: bool,
}

impl<'c> Touched<'c> {
    /// Begins, if there is a trace and this node leads a shard.
    #[inline]
    pub(crate) fn begin(core: &'c NodeCore, from: Boot) -> Option<Self> {
        core.trace.get().and_then(|trace| Self::on(core, trace, from))
    }

    #[cold]
    fn on(core: &'c NodeCore, trace: &'c ServingTrace, from: Boot) -> Option<Self> {
        let topology = core.topology.load();
        let shard = topology.led_by(*core.id.get()?)?;
        let lead = (shard.id, shard.epoch);
        Some(Self { core, trace, lead, from, lanes: [false; LANES_MAX], every: false })
    }

    /// A command on these keys was executed under the lease; without keys it may have touched anything.
    pub(crate) fn add(&mut self, lanes: &Lanes, keys: &[KeyAt]) {
        self.every |= keys.is_empty();
        keys.iter().for_each(|key| self.lanes[lanes.of(key.slot)] = true);
    }

    /// Writes it down.
    pub(crate) fn end(self) {
        let to = self.core.env.clock.boot();
        let kind = if self.core.serving.covers(to) { "served" } else { "late" };
        let ((shard, epoch), from) = (self.lead, self.from.0);
        let mut lines = String::new();
        let mut line = |lane: &dyn std::fmt::Display| {
            // Writing to a text does not fail.
            let _ = writeln!(lines, "{shard} {epoch} {lane} {from} {} {kind}", to.0);
        };
        if self.every {
            line(&'*');
        } else {
            let touched = self.lanes.iter().enumerate().filter(|(_, touched)| **touched);
            touched.for_each(|(lane, _)| line(&lane));
        }
        if !lines.is_empty() {
            self.trace.write(self.core, &lines);
        }
    }
}
