//! What INFO and ROLE say about replication: offsets are batch numbers, the replication id is that of the shard.

use super::text::Text;
use crate::config::Key;
use crate::core::{NodeCore, Role};
use crate::replication::standing::{CopyProgress, Serving};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A replica that follows this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowerFacts {
    /// Its address.
    pub ip: String,
    /// Its client port.
    pub port: u16,
    /// A whole copy is on its way to it.
    pub copying: bool,
    /// The newest batch that it has acknowledged.
    pub offset: u64,
    /// Since its last acknowledgement.
    pub silent: Duration,
}

/// Replication at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicationFacts {
    /// What this node is.
    pub role: Role,
    /// The same for all nodes of a shard.
    pub id: String,
    /// The newest batch of this node's own log.
    pub offset: u64,
    /// The oldest batch that is held in memory, and what is held occupies.
    pub held: (u64, u64),
    /// What may be held.
    pub backlog_size: u64,
    /// Who follows, in the order of their ids.
    pub followers: Vec<FollowerFacts>,
    /// As a replica: the link works.
    pub link_up: bool,
    /// As a replica: a whole copy is being taken in.
    pub copying: Option<CopyProgress>,
    /// As a replica: since something came last.
    pub silent: Option<Duration>,
    /// As a replica: since the link broke.
    pub down: Option<Duration>,
    /// Whole copies made, replicas that went on, and those that could not.
    pub resumptions: (u64, u64, u64),
}

impl ReplicationFacts {
    /// Collects them.
    #[must_use]
    pub fn collect(core: &NodeCore) -> Self {
        let now = core.env.clock.boot();
        let view = core.view.load();
        let (link, repl) = (core.replication.link(), &core.replication);
        let role = core.role();
        let (first, bytes) = core.log.held();
        let is_replica = matches!(role, Role::Replica { .. });
        Self {
            id: match view.shard() {
                Some(shard) if core.mode == crate::core::Mode::Cluster => shard.id.to_string(),
                Some(_) | None => core.run_id.clone(),
            },
            offset: core.log.last().batch.0,
            held: (first, bytes as u64),
            backlog_size: core.config.size(Key::ReplBacklogSize),
            followers: followers(core),
            link_up: link.up && link.copying.is_none(),
            copying: link.copying,
            silent: link.last_io.map(|at| now.since(at)),
            down: link.down_since.filter(|_| is_replica && !link.up).map(|at| now.since(at)),
            resumptions: (
                repl.copies.load(Relaxed),
                repl.continued.load(Relaxed),
                repl.refused_positions.load(Relaxed),
            ),
            role,
        }
    }

    /// What ROLE calls the state of a replica's link.
    #[must_use]
    pub const fn link_state(&self) -> &'static str {
        match (self.copying, self.link_up) {
            (Some(_), _) => "sync",
            (None, true) => "connected",
            (None, false) => "connect",
        }
    }
}

fn followers(core: &NodeCore) -> Vec<FollowerFacts> {
    let (now, view, served) = (core.env.clock.boot(), core.view.load(), core.replication.served());
    let mut standings = core.log.followers();
    standings.sort_by_key(|standing| standing.who);
    let facts = standings.into_iter().filter_map(|standing| {
        let at = &view.topology().nodes.get(&standing.who)?.addresses;
        Some(FollowerFacts {
            ip: at.ip.clone(),
            port: at.port,
            copying: served.get(&standing.who) == Some(&Serving::Copying),
            offset: standing.acked,
            silent: standing.heard.map(|heard| now.since(heard)).unwrap_or_default(),
        })
    });
    facts.collect()
}

/// The section.
pub(super) fn print(text: &mut Text, facts: &ReplicationFacts) {
    text.field("role", facts.role.word_of_old());
    if let Role::Replica { host, port } = &facts.role {
        link(text, facts, host, *port);
    }
    text.field("connected_slaves", facts.followers.len());
    for (n, follower) in facts.followers.iter().enumerate() {
        let state = if follower.copying { "send_bulk" } else { "online" };
        text.field(
            &format!("slave{n}"),
            format_args!(
                "ip={},port={},state={state},offset={},lag={}",
                follower.ip,
                follower.port,
                follower.offset,
                follower.silent.as_secs()
            ),
        );
    }
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &facts.id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", facts.offset);
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", u8::from(facts.held.1 > 0));
    text.field("repl_backlog_size", facts.backlog_size);
    text.field("repl_backlog_first_byte_offset", facts.held.0);
    text.field("repl_backlog_histlen", facts.held.1);
}

fn link(text: &mut Text, facts: &ReplicationFacts, host: &str, port: u16) {
    text.field("master_host", host);
    text.field("master_port", port);
    text.field("master_link_status", if facts.link_up { "up" } else { "down" });
    let seconds = |since: Option<Duration>| since.map_or(-1, |since| since.as_secs() as i64);
    text.field("master_last_io_seconds_ago", seconds(facts.silent));
    text.field("master_sync_in_progress", u8::from(facts.copying.is_some()));
    text.field("slave_read_repl_offset", facts.offset);
    text.field("slave_repl_offset", facts.offset);
    if let Some(CopyProgress { keys, keys_expected, bytes }) = facts.copying {
        // How many bytes there will be is not known: the share of the keys is.
        text.field("master_sync_total_bytes", -1);
        text.field("master_sync_read_bytes", bytes);
        text.field("master_sync_left_bytes", -1);
        let share = keys.min(keys_expected) as f64 * 100.0 / keys_expected.max(1) as f64;
        text.field("master_sync_perc", format_args!("{share:.2}"));
        text.field("master_sync_last_io_seconds_ago", seconds(facts.silent));
    }
    if let Some(down) = facts.down {
        text.field("master_link_down_since_seconds", down.as_secs());
    }
    text.fields(&[("slave_priority", 100), ("slave_read_only", 1), ("replica_announced", 1)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::facts::Facts;
    use crate::info::{Section, text};

    fn printed(replication: ReplicationFacts) -> String {
        text::print(&Facts { replication, ..Facts::default() }, &[Section::Replication])
    }

    #[test]
    fn a_primary_lists_its_replicas_as_exporters_read_them() {
        let follower = FollowerFacts {
            ip: "10.0.0.2".into(),
            port: 7001,
            copying: false,
            offset: 41,
            silent: Duration::from_millis(1900),
        };
        let text = printed(ReplicationFacts {
            offset: 42,
            followers: vec![follower.clone(), FollowerFacts { copying: true, ..follower }],
            ..ReplicationFacts::default()
        });
        assert!(text.contains("role:master\r\nconnected_slaves:2\r\n"), "{text}");
        assert!(text.contains("slave0:ip=10.0.0.2,port=7001,state=online,offset=41,lag=1\r\n"), "{text}");
        assert!(text.contains("slave1:ip=10.0.0.2,port=7001,state=send_bulk,offset=41,lag=1\r\n"), "{text}");
        assert!(text.contains("master_repl_offset:42\r\n"), "{text}");
    }

    #[test]
    fn a_replica_says_how_its_link_stands() {
        let role = Role::Replica { host: "10.0.0.1".into(), port: 7000 };
        let down = ReplicationFacts {
            role: role.clone(),
            down: Some(Duration::from_secs(3)),
            ..ReplicationFacts::default()
        };
        assert_eq!(down.link_state(), "connect");
        let text = printed(down);
        assert!(text.contains("master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n"), "{text}");
        assert!(text.contains("master_link_down_since_seconds:3\r\n"), "{text}");
        let up = ReplicationFacts { role: role.clone(), link_up: true, offset: 9, ..Default::default() };
        assert_eq!(up.link_state(), "connected");
        let text = printed(up);
        assert!(text.contains("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:7000\r\n"), "{text}");
        assert!(
            text.contains("master_link_status:up\r\n") && text.contains("slave_repl_offset:9\r\n"),
            "{text}"
        );
        let copying = Some(CopyProgress { keys: 1, keys_expected: 4, bytes: 100 });
        let text = printed(ReplicationFacts { role, copying, ..Default::default() });
        assert!(
            text.contains("master_sync_in_progress:1\r\n") && text.contains("master_sync_perc:25.00\r\n")
        );
    }
}
