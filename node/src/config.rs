//! The settings in force: read by everybody, changed by CONFIG SET and, for the cluster's settings, by the meta group.
//!
//! Decides whether a change is allowed and makes it; the rows say what there is. Reading a number is one atomic load,
//! so the hot path may ask at every command. Refuses to touch files and sockets: [`mod@file`] says what a file should
//! contain, the shells read and write it.

pub mod file;
pub mod kind;
pub mod load;
pub mod memory;
pub mod output_limits;
pub mod rows;

pub use kind::{Kind, Value};
pub use output_limits::{Limit, OutputLimits, Verdict};
pub use rows::{Key, ROWS, Row, Scope, When};

use crate::glob::{self, Case};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio::sync::watch;

/// Why a change was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No such setting.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The named setting cannot have the value, or not now.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")]
    Refused {
        /// Which.
        name: String,
        /// Why, as Redis words it where Redis has such a case.
        why: String,
    },
}

/// A change that was found to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which setting.
    pub key: Key,
    /// To what.
    pub value: Value,
    /// What was asked for, if the value had to be raised to a floor.
    pub raised_from: Option<String>,
}

/// One setting's value: a number, or a text for the kinds that have one.
struct Cell {
    number: AtomicI64,
    text: ArcSwap<String>,
}

/// What only one change at a time may touch.
#[derive(Debug, Default)]
struct Book {
    /// Where CONFIG REWRITE writes.
    file: Option<PathBuf>,
    /// Changed while running and not in the file.
    unsaved: BTreeSet<Key>,
}

/// All settings of one node.
pub struct Config {
    cells: Vec<Cell>,
    limits: ArcSwap<OutputLimits>,
    book: Mutex<Book>,
    changes: watch::Sender<u64>,
}

impl Default for Config {
    fn default() -> Self {
        let cell = |_: &Row| Cell { number: AtomicI64::new(0), text: ArcSwap::default() };
        let config = Self {
            cells: ROWS.iter().map(cell).collect(),
            limits: ArcSwap::default(),
            book: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        for row in ROWS {
            // The rows' own test proves that every default can be read.
            if let Ok(value) = row.kind.read(row.default) {
                config.store(row.key, value);
            }
        }
        config
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |row: &Row| match row.kind {
            Kind::Secret => "(hidden)".into(),
            Kind::YesNo
            | Kind::Int { .. }
            | Kind::Floored { .. }
            | Kind::Memory { .. }
            | Kind::Choice { .. }
            | Kind::Text
            | Kind::Hostname
            | Kind::OutputLimits
            | Kind::Fixed(_) => self.shown(row.key),
        };
        f.debug_map().entries(ROWS.iter().map(|row| (row.name, shown(row)))).finish()
    }
}

impl Config {
    /// A number, a truth value (0, 1) or the index of a choice.
    #[inline]
    #[must_use]
    pub fn number(&self, key: Key) -> i64 {
        self.cells[key as usize].number.load(Relaxed)
    }

    /// A number that its kind keeps from being negative.
    #[inline]
    #[must_use]
    pub fn size(&self, key: Key) -> u64 {
        self.number(key).unsigned_abs()
    }

    /// Whether a yes-or-no setting is on.
    #[inline]
    #[must_use]
    pub fn is_on(&self, key: Key) -> bool {
        self.number(key) != 0
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: Key) -> Arc<String> {
        self.cells[key as usize].text.load_full()
    }

    /// The limits of what may wait for a client.
    #[must_use]
    pub fn output_limits(&self) -> OutputLimits {
        **self.limits.load()
    }

    /// Whether this node belongs to a meta group.
    #[must_use]
    pub fn in_cluster(&self) -> bool {
        !self.cells[Key::Meta as usize].text.load().is_empty()
    }

    /// How many databases SELECT reaches.
    #[must_use]
    pub fn databases(&self) -> u64 {
        if self.in_cluster() { 1 } else { self.size(Key::Databases) }
    }

    /// Tells of changes: whoever holds the receiver looks again when the count grows.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A setting as CONFIG GET shows it.
    #[must_use]
    pub fn shown(&self, key: Key) -> String {
        if key == Key::Databases {
            return self.databases().to_string();
        }
        let kind = &key.row().kind;
        match kind {
            Kind::Text | Kind::Secret | Kind::Hostname | Kind::OutputLimits | Kind::Fixed(_) => {
                self.text(key).as_ref().clone()
            }
            Kind::YesNo
            | Kind::Int { .. }
            | Kind::Floored { .. }
            | Kind::Memory { .. }
            | Kind::Choice { .. } => kind.show(&Value::Number(self.number(key))),
        }
    }

    /// The settings whose name or alias matches one of the patterns, each name once.
    #[must_use]
    pub fn matching<'p>(
        &self,
        patterns: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> Vec<(&'static str, String)> {
        let wanted = |name: &str| patterns.clone().any(|p| glob::matches(p, name.as_bytes(), Case::Ignored));
        let names = ROWS.iter().flat_map(|row| row.names().map(|name| (name, row.key)));
        names.filter(|(name, _)| wanted(name)).map(|(name, key)| (name, self.shown(key))).collect()
    }

    /// Checks all changes of one CONFIG SET: either all are allowed, or the first reason why not.
    pub fn plan(&self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<Change>, SetError> {
        let mut rows = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let name = String::from_utf8_lossy(name);
            rows.push(rows::find(&name).ok_or_else(|| SetError::Unknown(name.into_owned()))?);
        }
        let mut changes: Vec<Change> = Vec::with_capacity(pairs.len());
        for (row, (name, text)) in rows.iter().zip(pairs) {
            let refused = |why: String| SetError::Refused { name: String::from_utf8_lossy(name).into(), why };
            if row.when == When::Start {
                return Err(refused("can't set immutable config".into()));
            }
            if changes.iter().any(|change| change.key == row.key) {
                return Err(refused("duplicate parameter".into()));
            }
            let text =
                std::str::from_utf8(text).map_err(|_| refused("argument must be UTF-8 text".into()))?;
            let value = self.read(row, text).map_err(refused)?;
            self.check_now(row.key, &value).map_err(refused)?;
            let raised = matches!(row.kind, Kind::Floored { .. }) && row.kind.show(&value) != text;
            changes.push(Change { key: row.key, value, raised_from: raised.then(|| text.into()) });
        }
        let clustered = changes.iter().filter(|change| change.key.row().scope == Scope::Cluster).count();
        if self.in_cluster() && clustered > 0 && changes.len() > 1 {
            let name = String::from_utf8_lossy(pairs[0].0).into();
            let why = "a setting of the whole cluster is changed by a command of its own".into();
            return Err(SetError::Refused { name, why });
        }
        Ok(changes)
    }

    fn read(&self, row: &Row, text: &str) -> Result<Value, String> {
        match row.kind {
            Kind::OutputLimits => Ok(Value::Text(self.output_limits().changed(text)?.to_string())),
            Kind::Fixed(why) if !text.eq_ignore_ascii_case(row.default) => Err(why.into()),
            Kind::YesNo
            | Kind::Int { .. }
            | Kind::Floored { .. }
            | Kind::Memory { .. }
            | Kind::Choice { .. }
            | Kind::Text
            | Kind::Secret
            | Kind::Hostname
            | Kind::Fixed(_) => row.kind.read(text),
        }
    }

    /// What the state of the node forbids, though the value as such is fine.
    fn check_now(&self, key: Key, value: &Value) -> Result<(), String> {
        if key == Key::Requirepass && *value == Value::Text(String::new()) && !self.listens_on_loopback_only()
        {
            return Err("a node that listens beyond loopback needs a password".into());
        }
        Ok(())
    }

    /// Whether every address to listen on is a loopback address.
    #[must_use]
    pub fn listens_on_loopback_only(&self) -> bool {
        self.bind_addresses().iter().all(|(address, _)| is_loopback(address))
    }

    /// The addresses to listen on, and whether each must be there.
    #[must_use]
    pub fn bind_addresses(&self) -> Vec<(String, Needed)> {
        let text = self.text(Key::Bind);
        let one = |word: &str| match word.strip_prefix('-') {
            Some(address) => (address.to_owned(), Needed::IfThere),
            None => (word.to_owned(), Needed::Always),
        };
        text.split_ascii_whitespace().map(one).collect()
    }

    /// Makes changes that [`Self::plan`] allowed, and says so in the log.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut book = self.book.lock();
        for change in changes {
            let row = change.key.row();
            if let Some(asked) = &change.raised_from {
                tracing::warn!(setting = row.name, asked, "below its floor: raised");
            }
            self.store(change.key, change.value);
            book.unsaved.insert(change.key);
            self.log(row);
        }
        drop(book);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes over the cluster's settings as the meta group has them: what is not in there is at its default. A value
    /// that this version does not understand keeps the one in force.
    pub fn follow_cluster(&self, settings: &BTreeMap<String, String>) {
        let mut changed = false;
        for row in ROWS.iter().filter(|row| row.scope == Scope::Cluster && row.when == When::Running) {
            let text = settings.get(row.name).map_or(row.default, String::as_str);
            match row.kind.read(text) {
                Ok(value) if row.kind.show(&value) != self.shown(row.key) => {
                    self.store(row.key, value);
                    self.log(row);
                    changed = true;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(setting = row.name, text, error, "the cluster's value is not understood")
                }
            }
        }
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn log(&self, row: &Row) {
        match row.kind {
            Kind::Secret => tracing::info!(setting = row.name, "setting changed"),
            Kind::YesNo
            | Kind::Int { .. }
            | Kind::Floored { .. }
            | Kind::Memory { .. }
            | Kind::Choice { .. }
            | Kind::Text
            | Kind::Hostname
            | Kind::OutputLimits
            | Kind::Fixed(_) => {
                tracing::info!(setting = row.name, value = self.shown(row.key), "setting changed");
            }
        }
    }

    fn store(&self, key: Key, value: Value) {
        let cell = &self.cells[key as usize];
        match value {
            Value::Number(number) => cell.number.store(number, Relaxed),
            Value::Text(text) => {
                if key == Key::ClientOutputBufferLimit
                    && let Ok(limits) = OutputLimits::default().changed(&text)
                {
                    self.limits.store(Arc::new(limits));
                }
                cell.text.store(Arc::new(text));
            }
        }
    }

    /// Where CONFIG REWRITE writes, if the node has a file.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.book.lock().file.clone()
    }

    /// Names the file that CONFIG REWRITE writes.
    pub fn set_file(&self, path: &Path) {
        self.book.lock().file = Some(path.to_owned());
    }

    /// The settings that were changed while running and stand in no file: names and canonical values. In a cluster
    /// the cluster's own settings are not among them, since the meta group keeps those.
    #[must_use]
    pub fn unsaved(&self) -> Vec<(&'static Row, String)> {
        let kept_elsewhere = |row: &Row| self.in_cluster() && row.scope == Scope::Cluster;
        let keys: Vec<Key> = self.book.lock().unsaved.iter().copied().collect();
        let rows = keys.into_iter().map(Key::row).filter(|row| !kept_elsewhere(row));
        rows.map(|row| (row, self.shown(row.key))).collect()
    }

    /// These values are in the file now; what changed meanwhile stays unsaved.
    pub fn saved(&self, written: &[(&'static Row, String)]) {
        let mut book = self.book.lock();
        for (row, value) in written {
            if self.shown(row.key) == *value {
                book.unsaved.remove(&row.key);
            }
        }
    }
}

/// Whether the node can do without an address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// It does not start without it.
    Always,
    /// It listens there if the machine has it.
    IfThere,
}

/// Whether an address is one of this machine's own. A name is not asked for: only `localhost` counts.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map_or(bare == "localhost", |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(config: &Config, pairs: &[(&str, &str)]) -> Result<Vec<Change>, String> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        config.plan(&pairs).map_err(|error| error.to_string())
    }

    fn set(config: &Config, pairs: &[(&str, &str)]) {
        config.apply(plan(config, pairs).expect("allowed"));
    }

    #[test]
    fn all_pairs_are_set_or_none() {
        let config = Config::default();
        set(&config, &[("MaxMemory", "1gb"), ("timeout", "30")]);
        assert_eq!((config.size(Key::Maxmemory), config.number(Key::Timeout)), (1 << 30, 30));
        let error = plan(&config, &[("maxmemory", "2gb"), ("timeout", "x")]).expect_err("not a number");
        assert_eq!(
            error,
            "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer"
        );
        assert_eq!(config.shown(Key::Maxmemory), "1073741824");
    }

    #[test]
    fn what_cannot_be_set_is_refused_in_the_words_of_redis() {
        let config = Config::default();
        let error = |pairs: &[(&str, &str)]| plan(&config, pairs).expect_err("refused");
        assert_eq!(
            error(&[("foo", "1")]),
            "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"
        );
        assert!(error(&[("port", "1")]).ends_with("'port') - can't set immutable config"));
        assert!(error(&[("timeout", "1"), ("TIMEOUT", "2")]).ends_with("'TIMEOUT') - duplicate parameter"));
        assert!(error(&[("appendonly", "yes")]).ends_with("there is no append-only file"));
        assert!(error(&[("maxmemory-policy", "allkeys-lru")]).contains("only 'noeviction'"));
        assert!(plan(&config, &[("save", ""), ("appendonly", "no"), ("slave-read-only", "yes")]).is_ok());
    }

    #[test]
    fn get_takes_patterns_and_shows_old_names_beside_new_ones() {
        let config = Config::default();
        let get = |patterns: &[&str]| config.matching(patterns.iter().map(|p| p.as_bytes()));
        let both = vec![("maxmemory", "0".into()), ("maxmemory-policy", "noeviction".into())];
        assert_eq!(get(&["MAXMEM*y", "maxmemory"]), both);
        assert_eq!(get(&["*-read-only"]).len(), 2);
        assert!(get(&["nothing-like-it"]).is_empty());
        assert!(get(&["*"]).len() > ROWS.len());
    }

    #[test]
    fn a_lease_below_the_floor_is_raised_and_shown_so() {
        let config = Config::default();
        set(&config, &[("cluster-node-timeout", "100")]);
        assert_eq!(config.shown(Key::ClusterNodeTimeout), "3000");
    }

    #[test]
    fn a_node_that_others_reach_keeps_its_password() {
        let config = Config::default();
        config.store(Key::Bind, Value::Text("10.0.0.1 -::1".into()));
        set(&config, &[("requirepass", "secret")]);
        assert!(plan(&config, &[("requirepass", "")]).expect_err("open").contains("needs a password"));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn the_clusters_settings_are_followed_and_fall_back_to_their_defaults() {
        let config = Config::default();
        let mut settings = BTreeMap::from([("cluster-node-timeout".into(), "9000".into())]);
        config.follow_cluster(&settings);
        assert_eq!(config.number(Key::ClusterNodeTimeout), 9000);
        settings.insert("cluster-node-timeout".into(), "strange".into());
        config.follow_cluster(&settings);
        assert_eq!(config.number(Key::ClusterNodeTimeout), 9000);
        config.follow_cluster(&BTreeMap::new());
        assert_eq!(config.number(Key::ClusterNodeTimeout), 5000);
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (address, loopback) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("localhost", true),
            ("0.0.0.0", false),
            ("*", false),
            ("::", false),
            ("example.org", false),
        ] {
            assert_eq!(is_loopback(address), loopback, "{address}");
        }
    }
}
