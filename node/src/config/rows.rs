//! The settings: one row each. Flags, environment variables, the TOML file, CONFIG and the documentation derive from
//! these rows; nothing about a setting stands anywhere else.
//!
//! A name that Redis has is here only if its value is true of Capstan: `appendonly` says `no` and cannot be switched
//! on, because there is no append-only file, and a setting that nothing would obey has no row.

use super::kind::Kind;
use capstan_proto::timing;

/// Who decides a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each node for itself.
    Node,
    /// The cluster: in a cluster a change is a proposal to the meta group, and holds on every node.
    Cluster,
}

/// When a setting can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At any time, by CONFIG SET.
    Running,
    /// Only when the node starts.
    Start,
}

/// A setting.
#[derive(Debug)]
pub struct Row {
    /// Which one.
    pub key: Key,
    /// Its name, everywhere.
    pub name: &'static str,
    /// A name that Redis had for it before, or nothing.
    pub alias: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value if nobody sets it.
    pub default: &'static str,
    /// Who decides it.
    pub scope: Scope,
    /// When it can change.
    pub when: When,
    /// What it is, for `--help` and the documentation.
    pub about: &'static str,
}

macro_rules! rows {
    ($($key:ident $name:literal $(| $alias:literal)? : $kind:expr, $default:literal, $scope:ident, $when:ident, $about:literal;)*) => {
        /// A setting's place in the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key { $(#[doc = $about] $key,)* }

        /// All settings, in the order of [`Key`].
        pub static ROWS: &[Row] = &[$(Row {
            key: Key::$key,
            name: $name,
            alias: concat!($($alias)?),
            kind: $kind,
            default: $default,
            scope: Scope::$scope,
            when: When::$when,
            about: $about,
        },)*];
    };
}

const INT_MAX: i64 = i32::MAX as i64;
const PORT: Kind = Kind::Int { min: 0, max: 65535 };
const SECONDS: Kind = Kind::Int { min: 0, max: INT_MAX };
const MIB: i64 = 1 << 20;
const LEASE: Kind =
    Kind::Floored { floor: timing::LEASE_TTL_FLOOR_MS as i64, max: timing::LEASE_TTL_CEILING_MS as i64 };
const POLICIES: Kind = Kind::Choice {
    all: &[
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ],
    taken: &["noeviction"],
    why: "keys are not evicted yet, only 'noeviction' is supported",
};
const ENDPOINTS: Kind = Kind::Choice {
    all: &["ip", "hostname", "unknown-endpoint"],
    taken: &["ip", "hostname", "unknown-endpoint"],
    why: "",
};

rows! {
    Port "port": Kind::Int { min: 0, max: 55535 }, "6379", Node, Start, "The port that clients connect to; peers connect to it + 10000. 0: any free port";
    Bind "bind": Kind::Text, "127.0.0.1 -::1", Node, Start, "The addresses to listen on; a '-' before one: go on without it if it is not there";
    ProtectedMode "protected-mode": Kind::Fixed("without a password a node listens on loopback addresses only"), "yes", Node, Running, "Without requirepass the node refuses to listen beyond loopback";
    TcpBacklog "tcp-backlog": Kind::Int { min: 1, max: INT_MAX }, "511", Node, Start, "How many connections may wait to be accepted";
    Dir "dir": Kind::Text, "", Node, Start, "The data folder; without one the node keeps nothing on disk and forgets who it was";
    Meta "meta": Kind::Text, "", Node, Start, "The meta servers, HOST:PORT,...; without one the node is alone and owns every slot";
    Lanes "lanes": Kind::Int { min: 1, max: 4096 }, "64", Node, Start, "Into how many parts, each with its lock, the slots are divided";
    WorkerThreads "worker-threads": Kind::Int { min: 0, max: 1024 }, "0", Node, Start, "Threads that serve clients; 0: one less than there are cores, at least one";
    Timeout "timeout": SECONDS, "0", Node, Running, "Seconds after which an idle client is cut off; 0: never";
    TcpKeepalive "tcp-keepalive": SECONDS, "300", Node, Running, "Seconds between probes of silent clients; 0: none";
    Maxclients "maxclients": Kind::Int { min: 1, max: u32::MAX as i64 }, "10000", Node, Running, "How many clients may be connected";
    Maxmemory "maxmemory": Kind::Memory { min: 0, max: i64::MAX }, "0", Node, Running, "Bytes of data above which writes are refused; 0: no limit";
    MaxmemoryPolicy "maxmemory-policy": POLICIES, "noeviction", Node, Running, "What happens when maxmemory is reached";
    ClientOutputBufferLimit "client-output-buffer-limit": Kind::OutputLimits, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", Node, Running, "Bytes of replies that may wait for a client before it is cut off: class, hard, soft, seconds";
    ClientQueryBufferLimit "client-query-buffer-limit": Kind::Memory { min: MIB, max: i64::MAX }, "1073741824", Node, Running, "Bytes of an unfinished request after which a client is cut off";
    ProtoMaxBulkLen "proto-max-bulk-len": Kind::Memory { min: MIB, max: i64::MAX }, "536870912", Node, Running, "The longest argument and the longest string";
    ReplBacklogSize "repl-backlog-size": Kind::Memory { min: 16384, max: i64::MAX }, "67108864", Node, Running, "Bytes of the newest changes kept in memory for replicas that come back";
    Requirepass "requirepass": Kind::Secret, "", Node, Running, "The password of the user default; empty: none";
    Databases "databases": Kind::Int { min: 1, max: 16 }, "16", Cluster, Start, "Databases that SELECT reaches when the node is alone; a cluster has one";
    ClusterEnabled "cluster-enabled": Kind::Fixed("Capstan always speaks to cluster clients"), "yes", Node, Start, "Capstan always answers cluster clients";
    ClusterNodeTimeout "cluster-node-timeout": LEASE, "5000", Cluster, Running, "The lease of a primary in milliseconds, at least 3000: how long a silent node is waited for";
    ClusterRequireFullCoverage "cluster-require-full-coverage": Kind::YesNo, "yes", Cluster, Running, "Serve nothing while a slot has no shard";
    ClusterAllowReadsWhenDown "cluster-allow-reads-when-down": Kind::YesNo, "no", Cluster, Running, "Serve reads while the cluster is down";
    ClusterAnnounceIp "cluster-announce-ip": Kind::Text, "", Node, Running, "The address that clients and peers are told, if not the one that is bound";
    ClusterAnnouncePort "cluster-announce-port": PORT, "0", Node, Running, "The client port that others are told; 0: the real one";
    ClusterAnnounceBusPort "cluster-announce-bus-port": PORT, "0", Node, Running, "The peer port that others are told; 0: the real one";
    ClusterAnnounceHostname "cluster-announce-hostname": Kind::Hostname, "", Node, Running, "The host name that clients are told";
    ClusterPreferredEndpointType "cluster-preferred-endpoint-type": ENDPOINTS, "ip", Node, Running, "Which form of its address clients are told first";
    ReplicaReadOnly "replica-read-only" | "slave-read-only": Kind::Fixed("replicas never take writes"), "yes", Node, Running, "Replicas never take writes";
    Save "save": Kind::Fixed("snapshots by time are not supported"), "", Node, Running, "No snapshots are taken by time";
    Appendonly "appendonly": Kind::Fixed("there is no append-only file"), "no", Node, Running, "There is no append-only file";
    Daemonize "daemonize": Kind::Fixed("the process stays in the foreground"), "no", Node, Start, "The process stays in the foreground";
}

impl Key {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// The row with this name or alias, in any case of letters.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.names().any(|own| own.eq_ignore_ascii_case(name)))
}

impl Row {
    /// Its name, and its alias if it has one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.alias].into_iter().filter(|name| !name.is_empty())
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("CAPSTAN_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_proto::settings::{ClusterSetting, Form};
    use std::collections::HashSet;

    #[test]
    fn every_row_stands_at_its_key_with_a_name_of_its_own_and_a_valid_default() {
        let mut names = HashSet::new();
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.key as usize, at, "{}", row.name);
            assert!(row.names().all(|name| names.insert(name)), "{} stands twice", row.name);
            assert!(!row.about.is_empty());
            let value = row.kind.read(row.default).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert_eq!(row.kind.show(&value), row.default, "{}", row.name);
            assert_eq!(find(&row.name.to_uppercase()).map(|found| found.key), Some(row.key));
        }
        assert_eq!(Key::Maxmemory.row().variable(), "CAPSTAN_MAXMEMORY");
    }

    /// Values at and beyond the bounds of a setting of the cluster, in the form in which it is kept, and others.
    fn values(form: Form) -> (Vec<String>, Vec<&'static str>) {
        let numbers = |all: &[i128]| all.iter().map(ToString::to_string).collect();
        match form {
            Form::Number { min, max } => {
                let (min, max) = (i128::from(min), i128::from(max));
                (numbers(&[-1, min - 1, min, max, max + 1]), vec!["x", "", "1.5", " 1", "+1", "007"])
            }
            Form::Clamped { floor, max } => {
                let (floor, max) = (i128::from(floor), i128::from(max));
                (numbers(&[-1, floor, floor + 1, max, max + 1]), vec!["0", "1", "x", "5s"])
            }
            Form::Bytes { max } => (
                numbers(&[-1, 0, i128::from(max), i128::from(max) + 1]),
                vec!["1k", "1kb", "16MB", "1tb", "x"],
            ),
            Form::YesNo => (vec!["yes".into(), "no".into(), "maybe".into()], vec!["YES", "1"]),
            Form::Word(words) => (words.iter().map(ToString::to_string).collect(), vec!["no such word", ""]),
        }
    }

    /// What a client sets here is checked here and again by the meta group, and comes back as text.
    #[test]
    fn a_setting_of_the_cluster_is_the_same_to_a_node_and_to_the_meta_group() {
        for row in ROWS {
            let Some(shared) = ClusterSetting::find(row.name) else {
                assert_eq!(row.scope, Scope::Node, "the meta group does not know {}", row.name);
                continue;
            };
            assert_eq!(row.scope, Scope::Cluster, "the meta group decides {}", row.name);
            if row.key == Key::Databases {
                // A node alone has more of them, and in a cluster the number cannot change.
                assert_eq!((row.when, shared.form), (When::Start, Form::Number { min: 1, max: 1 }));
                continue;
            }
            assert_eq!((row.when, row.default), (When::Running, shared.default), "{}", row.name);
            let here = |text: &str| row.kind.read(text).ok().map(|value| row.kind.show(&value));
            let there = |text: &str| shared.check(text).ok().map(|accepted| accepted.value);
            let (kept, others) = values(shared.form);
            for text in kept {
                assert_eq!(here(&text), there(&text), "{} '{text}'", row.name);
            }
            for text in others {
                if let Some(shown) = here(text) {
                    assert_eq!(Some(shown), there(text), "{} '{text}' would be refused there", row.name);
                }
                if let Some(kept) = there(text) {
                    assert_eq!(here(&kept), Some(kept.clone()), "{} '{text}' as it is kept", row.name);
                }
            }
        }
    }
}
