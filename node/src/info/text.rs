//! Prints the facts as INFO does: `# Section`, then `field:value` lines, each ended by CRLF, a blank line between.

use super::Section;
use super::facts::Facts;
use super::replication;
use crate::config::memory::human;
use crate::{CAPSTAN_VERSION, REDIS_VERSION};
use std::fmt::{Display, Write};

/// The sections, one after another.
#[must_use]
pub fn print(facts: &Facts, sections: &[Section]) -> String {
    let mut text = Text(String::with_capacity(4096));
    for section in sections {
        // A node has no modules and no latency histograms: Redis prints an empty section then, too.
        if !text.0.is_empty() {
            text.0.push_str("\r\n");
        }
        let _ = write!(text.0, "# {}\r\n", section.heading());
        match section {
            Section::Server => server(&mut text, facts),
            Section::Clients => clients(&mut text, facts),
            Section::Memory => memory(&mut text, facts),
            Section::Persistence => persistence(&mut text),
            Section::Stats => stats(&mut text, facts),
            Section::Replication => replication::print(&mut text, &facts.replication),
            Section::Cpu => cpu(&mut text, facts),
            Section::Modules | Section::Latencystats => {}
            Section::Commandstats => commandstats(&mut text, facts),
            Section::Errorstats => errorstats(&mut text, facts),
            Section::Cluster => text.field("cluster_enabled", 1),
            Section::Keyspace => keyspace(&mut text, facts),
        }
    }
    text.0
}

/// The text so far.
pub(super) struct Text(String);

impl Text {
    pub(super) fn field(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    pub(super) fn fields<V: Display>(&mut self, fields: &[(&str, V)]) {
        fields.iter().for_each(|(name, value)| self.field(name, value));
    }
}

fn server(text: &mut Text, facts: &Facts) {
    text.field("redis_version", REDIS_VERSION);
    text.field("capstan_version", CAPSTAN_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_mode", "cluster");
    text.field("capstan_mode", if facts.clustered { "cluster" } else { "emulated" });
    text.field("os", std::env::consts::OS);
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("run_id", &facts.run_id);
    text.field("tcp_port", facts.port);
    text.field("server_time_usec", facts.unix_micros);
    text.field("uptime_in_seconds", facts.uptime.as_secs());
    text.field("uptime_in_days", facts.uptime.as_secs() / 86_400);
    text.field(
        "executable",
        std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
    );
    text.field("config_file", &facts.config_file);
    text.field("io_threads_active", u8::from(facts.worker_threads > 1));
    text.field("capstan_worker_threads", facts.worker_threads);
}

fn clients(text: &mut Text, facts: &Facts) {
    let clients = &facts.clients;
    text.fields(&[
        ("connected_clients", clients.count),
        ("cluster_connections", 0),
        ("maxclients", clients.most),
        ("client_recent_max_input_buffer", clients.largest.0),
        ("client_recent_max_output_buffer", clients.largest.1),
        ("blocked_clients", clients.blocked),
        ("tracking_clients", 0),
        ("clients_in_timeout_table", 0),
        ("total_blocking_keys", 0),
    ]);
}

fn memory(text: &mut Text, facts: &Facts) {
    let (memory, process) = (&facts.memory, &facts.process);
    let mut both = |name: &str, bytes: u64| {
        text.field(name, bytes);
        text.field(&format!("{name}_human"), human(bytes));
    };
    both("used_memory", memory.used);
    both("used_memory_rss", process.resident);
    both("used_memory_peak", memory.peak);
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / (whole.max(1)) as f64;
    text.field("used_memory_peak_perc", format_args!("{:.2}%", percent(memory.used, memory.peak)));
    text.field("used_memory_overhead", memory.used - memory.data);
    text.field("used_memory_dataset", memory.data);
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", percent(memory.data, memory.used)));
    let mut both = |name: &str, bytes: u64| {
        text.field(name, bytes);
        text.field(&format!("{name}_human"), human(bytes));
    };
    both("total_system_memory", process.machine_memory);
    both("maxmemory", memory.limit);
    text.field("maxmemory_policy", &facts.policy);
    let ratio = process.resident as f64 / memory.used.max(1) as f64;
    text.field("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    text.field("mem_fragmentation_bytes", process.resident as i64 - memory.used as i64);
    text.field("mem_clients_normal", facts.clients.buffers);
    text.field("mem_clients_slaves", 0);
    text.field("mem_allocator", "mimalloc");
    text.field("lazyfree_pending_bytes", memory.freeing);
}

fn persistence(text: &mut Text) {
    text.fields(&[("loading", 0), ("async_loading", 0), ("rdb_bgsave_in_progress", 0)]);
    text.fields(&[("aof_enabled", 0), ("aof_rewrite_in_progress", 0), ("aof_rewrite_scheduled", 0)]);
}

fn stats(text: &mut Text, facts: &Facts) {
    let (totals, rates) = (&facts.totals, &facts.rates);
    text.fields(&[
        ("total_connections_received", totals.connections),
        ("total_commands_processed", totals.commands),
        ("instantaneous_ops_per_sec", rates.commands),
        ("total_net_input_bytes", totals.bytes_in),
        ("total_net_output_bytes", totals.bytes_out),
    ]);
    text.field("instantaneous_input_kbps", format_args!("{:.2}", rates.kib_in));
    text.field("instantaneous_output_kbps", format_args!("{:.2}", rates.kib_out));
    text.fields(&[
        ("rejected_connections", totals.connections_rejected),
        ("sync_full", facts.replication.resumptions.0),
        ("sync_partial_ok", facts.replication.resumptions.1),
        ("sync_partial_err", facts.replication.resumptions.2),
        ("expired_keys", facts.lanes.expired),
        ("evicted_keys", 0),
        ("evicted_clients", 0),
        ("keyspace_hits", facts.lanes.hits),
        ("keyspace_misses", facts.lanes.misses),
        ("pubsub_channels", 0),
        ("pubsub_patterns", 0),
        ("pubsubshard_channels", 0),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("migrate_cached_sockets", 0),
        ("total_error_replies", totals.errors),
        ("acl_access_denied_auth", totals.logins_refused),
        ("client_query_buffer_limit_disconnections", totals.cut_for_query),
        ("client_output_buffer_limit_disconnections", totals.cut_for_output),
    ]);
}

fn cpu(text: &mut Text, facts: &Facts) {
    let process = &facts.process;
    for (name, time) in [
        ("used_cpu_sys", process.cpu_system),
        ("used_cpu_user", process.cpu_user),
        ("used_cpu_sys_children", process.cpu_children.1),
        ("used_cpu_user_children", process.cpu_children.0),
    ] {
        text.field(name, format_args!("{:.6}", time.as_secs_f64()));
    }
}

fn commandstats(text: &mut Text, facts: &Facts) {
    for command in &facts.commands {
        let usec = command.time.as_micros();
        let per_call = command.time.as_secs_f64() * 1e6 / command.calls.max(1) as f64;
        text.field(
            &format!("cmdstat_{}", command.name),
            format_args!(
                "calls={},usec={usec},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                command.calls, command.rejected, command.failed
            ),
        );
    }
}

fn errorstats(text: &mut Text, facts: &Facts) {
    for (code, count) in &facts.errors {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// A database without keys has no line: redis-cli --cluster takes `db0:` for "not empty".
fn keyspace(text: &mut Text, facts: &Facts) {
    for (number, database) in facts.databases.iter().enumerate().filter(|(_, database)| database.keys > 0) {
        text.field(
            &format!("db{number}"),
            format_args!("keys={},expires={},avg_ttl=0", database.keys, database.expiring),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lane::DatabaseCount;

    #[test]
    fn an_empty_database_has_no_line() {
        let empty = DatabaseCount::default();
        let full = DatabaseCount { keys: 3, expiring: 1 };
        let facts = Facts { databases: vec![empty, full], ..Facts::default() };
        let text = print(&facts, &[Section::Keyspace]);
        assert_eq!(text, "# Keyspace\r\ndb1:keys=3,expires=1,avg_ttl=0\r\n");
    }

    #[test]
    fn every_line_is_a_heading_a_field_or_blank_and_no_field_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        let text = print(&Facts::default(), &Section::ALL);
        for line in text.split_terminator("\r\n").filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no field"));
            assert!(seen.insert(name.to_owned()), "{name} stands twice");
        }
        assert!(text.contains("\r\ncluster_enabled:1\r\n") && text.contains("redis_version:7.2.4\r\n"));
    }
}
