//! What a test asks of a cluster and does to it: who leads what, what has happened, signals by pid.

use capstan_proto::env::{Clock, RealClock};
use capstan_proto::timing::LEASE_TTL_DEFAULT_MS;
use capstan_tests::dev::{DevCluster, Shape};
use capstan_tests::process::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

/// Nothing that must come by itself takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The lease at its floor, for tests in which one has to end.
pub(crate) const TTL_FLOOR_MS: u64 = 3000;
/// Three shards with a replica each, three meta servers: what `capstan dev` starts by default.
pub(crate) const DEFAULT: Shape = Shape { shards: 3, replicas: 1, meta: 3 };

/// A shard as `capstan shards` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) config_epoch: u64,
    pub(crate) primary: u16,
    pub(crate) replicas: Vec<u16>,
    pub(crate) serving: bool,
    pub(crate) slots: Vec<[u16; 2]>,
}

impl Shard {
    pub(crate) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|[first, last]| (*first..=*last).contains(&slot))
    }
}

/// A node as `capstan nodes` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) incarnation: u64,
    pub(crate) dead: bool,
    pub(crate) whole: bool,
    pub(crate) replica: bool,
}

/// Something that was decided.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) what: String,
    /// Why, and on what evidence.
    pub(crate) evidence: String,
}

/// A cluster that can be asked by `capstan`'s verbs.
pub(crate) trait Asked: Sized {
    /// Runs a verb.
    fn verb(&self, args: &[&str]) -> Output;
    /// What its servers logged last, for a test that fails.
    fn logs(&self) -> String;

    /// What a verb answers in JSON, if it ends well.
    fn json(&self, args: &[&str]) -> Option<Value> {
        let output = self.verb(&[args, &["--json"]].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
    }

    /// A verb that must end well.
    fn done(&self, args: &[&str]) {
        let output = self.verb(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "capstan {args:?}: {said}\n{}", self.logs());
    }

    fn nodes(&self) -> Vec<Node> {
        let rows = self.json(&["nodes"]).and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
        let port = |row: &Value| row["address"].as_str()?.rsplit(':').next()?.parse().ok();
        let node = |row: Value| Node {
            id: row["id"].as_str().unwrap_or_default().to_owned(),
            port: port(&row).unwrap_or_default(),
            incarnation: row["incarnation"].as_u64().unwrap_or_default(),
            dead: row["dead"] == true,
            whole: row["whole"] == true,
            replica: row["role"] == "replica",
        };
        rows.into_iter().map(node).collect()
    }

    fn shards(&self) -> Vec<Shard> {
        let ports: BTreeMap<String, u16> =
            self.nodes().into_iter().map(|node| (node.id, node.port)).collect();
        let port = |id: &Value| id.as_str().and_then(|id| ports.get(id)).copied().unwrap_or_default();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let bound = |run: &Value, at: usize| u16::try_from(number(&run[at])).unwrap_or_default();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let shard = |row: &Value| Shard {
            number: number(&row["number"]),
            id: row["id"].as_str().unwrap_or_default().to_owned(),
            epoch: number(&row["epoch"]),
            config_epoch: number(&row["config_epoch"]),
            primary: port(&row["primary"]),
            replicas: list(&row["replicas"]).iter().map(port).collect(),
            serving: row["serving"] == true,
            slots: list(&row["slots"]).iter().map(|run| [bound(run, 0), bound(run, 1)]).collect(),
        };
        self.json(&["shards"]).map(|rows| list(&rows).iter().map(shard).collect()).unwrap_or_default()
    }

    fn shard(&self, number: u64) -> Shard {
        let mut found = None;
        self.wait("the meta group shows the shard", || {
            found = self.shards().into_iter().find(|shard| shard.number == number);
            found.is_some()
        });
        found.expect("just found")
    }

    fn node(&self, port: u16) -> Node {
        let mut found = None;
        self.wait("the meta group shows the node", || {
            found = self.nodes().into_iter().find(|node| node.port == port);
            found.is_some()
        });
        found.expect("just found")
    }

    /// What was decided so far, oldest first.
    fn history(&self) -> Vec<Event> {
        let mut events = Vec::new();
        self.wait("the history can be read", || {
            let Some(rows) = self.json(&["history", "--limit", "10000"]) else { return false };
            let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let event = |row: &Value| Event {
                what: text(row, "what"),
                evidence: format!("{} {}", text(row, "why"), text(row, "evidence")),
            };
            events = rows.as_array().map(|rows| rows.iter().map(event).collect()).unwrap_or_default();
            true
        });
        events
    }

    /// Ends leases as soon as they can be, and waits until the old ones count no longer: one old TTL, and 1 % for the rate of
    /// clocks (►10).
    fn short_lease(&self) {
        self.done(&["settings", "set", "cluster-node-timeout", &TTL_FLOOR_MS.to_string()]);
        let set = now();
        let old = LEASE_TTL_DEFAULT_MS + LEASE_TTL_DEFAULT_MS / 100 + 50;
        self.wait("the old TTL is over", || now() - set > old * 1_000_000);
    }

    /// Waits for a condition; the logs are shown if it never comes.
    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let mut look = || done();
        wait_or_show(what, &mut look, &|| self.logs());
    }

    /// Waits until another node leads a shard and serves, and says which.
    fn wait_for_another_primary(&self, before: &Shard) -> Shard {
        let mut now = before.clone();
        self.wait("another primary", || {
            let found = self.shards().into_iter().find(|shard| shard.number == before.number);
            now = found.unwrap_or_else(|| before.clone());
            now.primary != before.primary && now.serving
        });
        assert!(now.epoch > before.epoch, "I3: epoch {} after {}", now.epoch, before.epoch);
        assert!(now.config_epoch > before.config_epoch, "clients would keep the old primary");
        assert_eq!(now.slots, before.slots);
        now
    }

    /// Waits until every shard is served and every replica could serve.
    fn wait_until_whole(&self) {
        self.wait("every replica is whole", || {
            let (nodes, shards) = (self.nodes(), self.shards());
            !shards.is_empty()
                && shards.iter().all(|shard| shard.serving)
                && nodes.iter().all(|node| node.whole && !node.dead)
        });
    }
}

fn wait_or_show(what: &str, done: &mut dyn FnMut() -> bool, logs: &dyn Fn() -> String) {
    assert!(wait_until(LIMIT, done), "never: {what}\n{}", logs());
}

/// A dev cluster under test.
pub(crate) struct Cluster(pub(crate) DevCluster);

impl Cluster {
    /// One that is ready and writes down what it serves.
    pub(crate) fn start(shape: Shape) -> Self {
        Self(DevCluster::start(shape, &["--trace-serving"]).expect("capstan dev gets ready"))
    }

    /// One with the lease at its floor.
    pub(crate) fn with_short_lease(shape: Shape) -> Self {
        let cluster = Self::start(shape);
        cluster.short_lease();
        cluster
    }

    /// The process that serves on this port.
    pub(crate) fn worker(&self, port: u16) -> u32 {
        let mut pid = None;
        self.wait("the process of a port is listed", || {
            pid = self.0.serving().get(&port).copied();
            pid.is_some()
        });
        pid.expect("just seen")
    }

    /// The process that starts the one that serves on this port.
    pub(crate) fn supervisor(&self, port: u16) -> u32 {
        let mut pid = None;
        self.wait("the supervisor of a port is listed", || {
            pid = self.0.supervisors().get(&port).copied();
            pid.is_some()
        });
        pid.expect("just seen")
    }

    /// The meta server that leads, as the port of its process.
    pub(crate) fn meta_leader(&self) -> u16 {
        let mut leader = 0;
        self.wait("the meta group has a leader", || {
            let members = self.json(&["meta", "members"]);
            leader = members.and_then(|members| members["leader"].as_u64()).unwrap_or_default();
            leader != 0
        });
        let at = usize::try_from(leader - 1).expect("a small number");
        self.0.meta()[at].port()
    }

    /// Asserts I4 by what the nodes wrote down, and returns how much that was.
    pub(crate) fn nobody_served_twice(&self) -> usize {
        let traces = std::fs::read_dir(self.0.folder().join("logs")).expect("the logs");
        let paths = traces.filter_map(Result::ok).map(|file| file.path());
        check_traces(paths.filter(|path| path.extension().is_some_and(|end| end == "serving")))
    }
}

/// Asserts that no two of these serving traces overlap (I4), and returns how many spans they hold.
pub(crate) fn check_traces(paths: impl Iterator<Item = std::path::PathBuf>) -> usize {
    let mut traces = capstan_jepsen::serving::Traces::default();
    for path in paths {
        let file = std::fs::File::open(&path).expect("a trace");
        traces.read(std::io::BufReader::new(file)).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    }
    let report = traces.report();
    println!("{} spans of serving, {} of them late", report.spans, report.late);
    assert_eq!(report.overlaps, [], "I4: two nodes served the same slots at once");
    assert!(report.spans > 0, "nobody wrote down what it served");
    report.spans
}

impl Asked for Cluster {
    fn verb(&self, args: &[&str]) -> Output {
        self.0.verb(args).expect("the binary runs")
    }

    fn logs(&self) -> String {
        let names = self.0.nodes().into_iter().map(|at| format!("node-{}", at.port()));
        let names = names.chain((1..=self.0.meta().len()).map(|id| format!("meta-{id}")));
        let last = |name: String| format!("--- {name}\n{}\n", tail(&self.0.log(&name)));
        format!("{}\n{}", self.0.output(), names.map(last).collect::<String>())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// Now, in nanoseconds of `CLOCK_BOOTTIME`.
pub(crate) fn now() -> u64 {
    RealClock.boot().0
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("a process of ours");
}

/// Stops a process, and waits until none of its threads runs: a signal takes its time, and the process goes on meanwhile.
pub(crate) fn pause(pid: u32) {
    signal(pid, Signal::STOP);
    let stopped = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process of ours");
        let mut stats =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    };
    assert!(wait_until(LIMIT, stopped), "process {pid} does not stop");
}

/// Whether a process runs; a zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
