//! Everything that INFO prints, collected at one instant.

use super::process::Process;
use super::replication::ReplicationFacts;
use crate::commands::lookup;
use crate::config::Key;
use crate::core::{Mode, NodeCore};
use crate::gauges::Rates;
use crate::store::lane::{DatabaseCount, LaneStats};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// One command's counters.
#[derive(Debug, Clone, Default)]
pub struct CommandFacts {
    /// Its full name.
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Estimated time in it.
    pub time: Duration,
    /// Refused before it ran.
    pub rejected: u64,
    /// Ran and answered an error.
    pub failed: u64,
}

/// The clients together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientFacts {
    /// How many.
    pub count: u64,
    /// How many there may be.
    pub most: u64,
    /// How many wait for elements.
    pub blocked: u64,
    /// Bytes in all their buffers.
    pub buffers: u64,
    /// The largest request buffer and the largest reply buffer ever seen.
    pub largest: (u64, u64),
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryFacts {
    /// Entries and tables.
    pub data: u64,
    /// Deleted, and still to be given back.
    pub freeing: u64,
    /// Data, clients' buffers and what is still to be given back.
    pub used: u64,
    /// The most that was seen in use.
    pub peak: u64,
    /// `maxmemory`.
    pub limit: u64,
}

/// Totals since the start or since CONFIG RESETSTAT.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct TotalFacts {
    pub connections: u64,
    pub connections_rejected: u64,
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub logins_refused: u64,
    pub cut_for_query: u64,
    pub cut_for_output: u64,
}

/// Everything.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Facts {
    pub unix_micros: u64,
    pub uptime: Duration,
    pub run_id: String,
    pub port: u16,
    pub config_file: String,
    pub clustered: bool,
    pub worker_threads: u64,
    pub process: Process,
    pub clients: ClientFacts,
    pub memory: MemoryFacts,
    pub policy: String,
    pub totals: TotalFacts,
    pub rates: Rates,
    pub replication: ReplicationFacts,
    pub lanes: LaneStats,
    pub databases: Vec<DatabaseCount>,
    pub commands: Vec<CommandFacts>,
    pub errors: Vec<(String, u64)>,
}

impl Facts {
    /// Collects them. `lanes` are the sums over all lanes, which only the caller may lock.
    #[must_use]
    pub fn collect(core: &NodeCore, lanes: LaneStats, databases: Vec<DatabaseCount>) -> Self {
        let (clients, memory) = clients_and_memory(core);
        Self {
            unix_micros: core.env.clock.wall().0 * 1000,
            uptime: core.env.clock.boot().since(core.started),
            run_id: core.run_id.clone(),
            port: core.port.get().copied().unwrap_or(0),
            config_file: core.config.file().map(|path| path.display().to_string()).unwrap_or_default(),
            clustered: core.mode == Mode::Cluster,
            worker_threads: tokio::runtime::Handle::try_current()
                .map_or(1, |h| h.metrics().num_workers() as u64),
            process: Process::now(),
            clients,
            memory,
            policy: core.config.shown(Key::MaxmemoryPolicy),
            totals: totals(core),
            rates: core.gauges.rates(),
            replication: ReplicationFacts::collect(core),
            lanes,
            databases,
            commands: commands(core),
            errors: core.gauges.errors(),
        }
    }
}

fn clients_and_memory(core: &NodeCore) -> (ClientFacts, MemoryFacts) {
    let mut buffers = 0;
    let mut largest = (0, 0);
    for client in core.clients.list() {
        let (input, output) = (client.query_size() as u64, client.waiting() as u64);
        buffers += input + output;
        largest = (input.max(largest.0), output.max(largest.1));
    }
    let clients = ClientFacts {
        count: core.clients.count().into(),
        most: core.config.size(Key::Maxclients),
        blocked: core.blocking.count() as u64,
        buffers,
        largest: core.gauges.client_buffers(largest.0, largest.1),
    };
    let (data, freeing) = (core.lanes.memory() as u64, core.lanes.memory_pending() as u64);
    let used = data + freeing + buffers;
    let limit = core.config.size(Key::Maxmemory);
    (clients, MemoryFacts { data, freeing, used, peak: core.gauges.memory_peak(used), limit })
}

fn totals(core: &NodeCore) -> TotalFacts {
    let (stats, gauges) = (&core.stats, &core.gauges);
    TotalFacts {
        connections: stats.connections.load(Relaxed),
        connections_rejected: stats.connections_rejected.load(Relaxed),
        commands: stats.processed.load(Relaxed),
        bytes_in: stats.bytes_in.load(Relaxed),
        bytes_out: stats.bytes_out.load(Relaxed),
        errors: stats.errors.load(Relaxed),
        logins_refused: gauges.logins_refused.load(Relaxed),
        cut_for_query: gauges.cut_for_query.load(Relaxed),
        cut_for_output: gauges.cut_for_output.load(Relaxed),
    }
}

fn commands(core: &NodeCore) -> Vec<CommandFacts> {
    let of = |command: &lookup::Command| {
        let stats = core.stats.command(command.id);
        CommandFacts {
            name: command.spec.full_name(),
            calls: stats.calls.load(Relaxed),
            time: Duration::from_nanos(stats.nanos.load(Relaxed)),
            rejected: stats.rejected.load(Relaxed),
            failed: stats.failed.load(Relaxed),
        }
    };
    let all = lookup::all().iter().map(of);
    all.filter(|facts| facts.calls + facts.rejected + facts.failed > 0).collect()
}
