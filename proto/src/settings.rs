//! The settings of a cluster: one row each, with its default, its form and the check of a value (DESIGN 15).
//!
//! Settings of one node are not here: they belong to the node's own configuration. Values travel as text in their
//! canonical form; a value equal to the default is not kept at all.

use crate::timing::{LEASE_TTL_CEILING_MS, LEASE_TTL_DEFAULT_MS, LEASE_TTL_FLOOR_MS};
use crate::topology::Topology;

/// The longest value that any setting takes.
pub const VALUE_MAX: usize = 256;

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole number within bounds.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number below `floor` is accepted and becomes `floor`, which is said so.
    Clamped {
        /// What a lower number becomes.
        floor: u64,
        /// The most.
        max: u64,
    },
    /// A number of bytes, also with `kb`, `mb`, `gb` as in Redis' configuration.
    Bytes {
        /// The most.
        max: u64,
    },
    /// `yes` or `no`.
    YesNo,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One setting of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSetting {
    /// Its name, as in CONFIG.
    pub name: &'static str,
    /// Its default, in canonical form.
    pub default: &'static str,
    /// What it takes.
    pub form: Form,
    /// What a number counts: `ms`, `s`, `bytes`, nothing.
    pub unit: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// A value that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The value in its canonical form.
    pub value: String,
    /// It lay below the floor, which it has become.
    pub clamped: bool,
}

/// The lease TTL, as Redis users know it.
pub const NODE_TIMEOUT: &str = "cluster-node-timeout";
/// Whether one slot without an owner stops the whole cluster.
pub const FULL_COVERAGE: &str = "cluster-require-full-coverage";
/// Whether reads go on while the cluster is down.
pub const READS_WHEN_DOWN: &str = "cluster-allow-reads-when-down";
/// How many replicas a primary must have to take writes.
pub const MIN_REPLICAS_TO_WRITE: &str = "min-replicas-to-write";
/// After how many seconds of silence a replica does not count for that.
pub const MIN_REPLICAS_MAX_LAG: &str = "min-replicas-max-lag";
/// How long a planned change may hold commands back.
pub const HOLD_LIMIT: &str = "hold-limit";
/// How many events are kept.
pub const HISTORY_LENGTH: &str = "history-length";

const DAY_MS: u64 = 86_400_000;

/// All settings of the cluster, by name.
pub static CLUSTER_SETTINGS: &[ClusterSetting] = &[
    ClusterSetting {
        name: "cluster-allow-reads-when-down",
        default: "no",
        form: Form::YesNo,
        unit: "",
        about: "answer reads although the cluster is down",
    },
    ClusterSetting {
        name: "cluster-allow-replica-migration",
        default: "yes",
        form: Form::YesNo,
        unit: "",
        about: "give a primary without a replica one of the shard that has most",
    },
    ClusterSetting {
        name: "cluster-migration-barrier",
        default: "1",
        form: Form::Number { min: 0, max: 1000 },
        unit: "",
        about: "replicas that a shard keeps when one of them migrates",
    },
    ClusterSetting {
        name: NODE_TIMEOUT,
        default: "5000",
        form: Form::Clamped { floor: LEASE_TTL_FLOOR_MS, max: LEASE_TTL_CEILING_MS },
        unit: "ms",
        about: "how long a primary may serve without a word from the meta group",
    },
    ClusterSetting {
        name: FULL_COVERAGE,
        default: "yes",
        form: Form::YesNo,
        unit: "",
        about: "refuse all keys while a slot has no owner",
    },
    ClusterSetting {
        name: "databases",
        default: "1",
        form: Form::Number { min: 1, max: 1 },
        unit: "",
        about: "databases of a cluster: always one",
    },
    ClusterSetting {
        name: "failover-max-loss",
        default: "16777216",
        form: Form::Bytes { max: 1 << 40 },
        unit: "bytes",
        about: "log that a promoted replica may lack before the restarted primary is waited for",
    },
    ClusterSetting {
        name: HISTORY_LENGTH,
        default: "10000",
        form: Form::Number { min: 100, max: 100_000 },
        unit: "",
        about: "events kept in the history",
    },
    ClusterSetting {
        name: HOLD_LIMIT,
        default: "2000",
        form: Form::Number { min: 1, max: DAY_MS },
        unit: "ms",
        about: "how long a planned change may hold commands back",
    },
    ClusterSetting {
        name: "min-in-sync",
        default: "1",
        form: Form::Number { min: 0, max: 32 },
        unit: "",
        about: "replicas beside the primary that a strict write must reach",
    },
    ClusterSetting {
        name: MIN_REPLICAS_MAX_LAG,
        default: "10",
        form: Form::Number { min: 0, max: DAY_MS / 1000 },
        unit: "s",
        about: "a replica that is silent longer does not count for min-replicas-to-write",
    },
    ClusterSetting {
        name: MIN_REPLICAS_TO_WRITE,
        default: "0",
        form: Form::Number { min: 0, max: 32 },
        unit: "",
        about: "refuse writes with fewer replicas attached",
    },
    ClusterSetting {
        name: "restart-wait",
        default: "10000",
        form: Form::Number { min: 0, max: DAY_MS },
        unit: "ms",
        about: "how long a restarted primary is waited for when the replicas lag too far",
    },
    ClusterSetting {
        name: "stalled-member-timeout",
        default: "1000",
        form: Form::Number { min: 10, max: DAY_MS },
        unit: "ms",
        about: "a silent member of the in-sync set is removed after this",
    },
    ClusterSetting {
        name: "strict-reads",
        default: "lease",
        form: Form::Word(&["lease"]),
        unit: "",
        about: "what a strict read rests on (this version: the lease)",
    },
    ClusterSetting {
        name: "write-safety",
        default: "async",
        form: Form::Word(&["async"]),
        unit: "",
        about: "when a write is acknowledged (this version: async)",
    },
];

const _: () =
    assert!(LEASE_TTL_DEFAULT_MS == 5000, "the default of cluster-node-timeout stands in its row as text");

impl ClusterSetting {
    /// The setting with this name; case does not matter.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        CLUSTER_SETTINGS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// The value in its canonical form, or what would be one. The empty text stands for the default.
    pub fn check(&self, text: &str) -> Result<Accepted, String> {
        let text = text.trim();
        let text = if text.is_empty() { self.default } else { text };
        let plain = |value| Ok(Accepted { value, clamped: false });
        match self.form {
            Form::Number { min, max } => match text.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => plain(number.to_string()),
                Ok(_) | Err(_) => Err(self.want()),
            },
            Form::Clamped { floor, max } => match text.parse::<u64>() {
                Ok(number) if number <= max => {
                    Ok(Accepted { value: number.max(floor).to_string(), clamped: number < floor })
                }
                Ok(_) | Err(_) => Err(self.want()),
            },
            Form::Bytes { max } => match bytes_of(text) {
                Some(number) if number <= max => plain(number.to_string()),
                Some(_) | None => Err(self.want()),
            },
            Form::YesNo => self.word(text, &["yes", "no"]),
            Form::Word(words) => self.word(text, words),
        }
    }

    fn word(&self, text: &str, words: &[&str]) -> Result<Accepted, String> {
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(text)).ok_or_else(|| self.want())?;
        Ok(Accepted { value: (*word).to_owned(), clamped: false })
    }

    /// What the setting takes, in words.
    #[must_use]
    pub fn want(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        match self.form {
            Form::Number { min, max } if min == max => format!("only {min} in this version"),
            Form::Number { min, max } => format!("a whole number from {min} to {max}{unit}"),
            Form::Clamped { floor, max } => {
                format!("a whole number up to {max}{unit}; below {floor} it becomes {floor}")
            }
            Form::Bytes { max } => format!("a number of bytes up to {max}, also as 100kb, 16mb, 1gb"),
            Form::YesNo => "yes or no".to_owned(),
            Form::Word([only]) => format!("only '{only}' in this version"),
            Form::Word(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// Redis' memory sizes: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` powers of 1024.
fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl Topology {
    /// The value of a setting of the cluster, its default if it is not set, nothing if there is no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        let row = ClusterSetting::find(name)?;
        Some(self.settings.get(row.name).map_or(row.default, String::as_str))
    }

    /// Whether a yes-or-no setting is on.
    #[must_use]
    pub fn setting_on(&self, name: &str) -> bool {
        self.setting(name) == Some("yes")
    }

    /// The number that a setting holds; 0 for one that holds none.
    #[must_use]
    pub fn setting_number(&self, name: &str) -> u64 {
        self.setting(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_order_and_its_default_is_a_value_in_canonical_form() {
        for pair in CLUSTER_SETTINGS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} stands before {}", pair[0].name, pair[1].name);
        }
        for row in CLUSTER_SETTINGS {
            let same = Accepted { value: row.default.to_owned(), clamped: false };
            assert_eq!(row.check(row.default), Ok(same.clone()), "{}", row.name);
            assert_eq!(row.check(""), Ok(same), "{}", row.name);
            assert!(row.default.len() <= VALUE_MAX && !row.about.is_empty());
        }
    }

    #[test]
    fn a_node_timeout_below_the_floor_is_clamped_and_said_so() {
        let row = ClusterSetting::find("CLUSTER-NODE-TIMEOUT").expect("a setting");
        assert_eq!(row.check("100"), Ok(Accepted { value: "3000".into(), clamped: true }));
        assert_eq!(row.check("3000"), Ok(Accepted { value: "3000".into(), clamped: false }));
        assert!(row.check("3600001").is_err() && row.check("-1").is_err() && row.check("5s").is_err());
    }

    #[test]
    fn sizes_are_read_as_in_redis() {
        let row = ClusterSetting::find("failover-max-loss").expect("a setting");
        for (text, bytes) in [("1k", "1000"), ("1KB", "1024"), ("16mb", "16777216"), ("7", "7")] {
            assert_eq!(row.check(text).map(|ok| ok.value), Ok(bytes.to_owned()), "{text}");
        }
        for text in ["mb", "1tb", "1 kb", "-1", "99999999999999999999gb"] {
            assert!(row.check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_topology_without_a_row_answers_the_default() {
        let topology = Topology::default();
        assert!(topology.setting_on(FULL_COVERAGE) && !topology.setting_on(READS_WHEN_DOWN));
        assert_eq!(topology.setting_number(NODE_TIMEOUT), topology.lease_ttl_ms());
        assert_eq!(topology.setting("maxmemory"), None);
    }
}
