//! A cluster whose servers the test starts itself, one by one, with links that it can cut between data nodes, meta servers and
//! each other. `capstan dev` would start again what is to stay down.

use crate::cluster::{Asked, alive, check_traces, signal, tail};
use crate::pauses::address;
use crate::proxy::{Cuts, Front, relay};
use capstan_tests::process::{capstan_binary, free_port};
use capstan_tests::wire::Wire;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

/// Meta servers of each cluster.
const METAS: u64 = 3;

/// Whether links can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Direct,
    Relayed,
}

/// The servers, by meta id or client port.
pub(crate) struct Wired {
    binary: PathBuf,
    folder: tempfile::TempDir,
    links: Links,
    pub(crate) cuts: Arc<Cuts>,
    /// Where each meta server listens, and where it says it does.
    meta_ports: BTreeMap<u64, (u16, u16)>,
    metas: BTreeMap<u64, Child>,
    /// The supervisor of each data node.
    nodes: BTreeMap<u16, Child>,
}

impl Wired {
    /// So many shards, each with so many replicas, all whole.
    pub(crate) fn start(shards: usize, replicas: usize, links: Links) -> Self {
        let mut cluster = Self {
            binary: capstan_binary().expect("CAPSTAN_BIN, or a binary beside this test"),
            folder: tempfile::tempdir().expect("a folder"),
            links,
            cuts: Arc::default(),
            meta_ports: BTreeMap::new(),
            metas: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        std::fs::write(cluster.secret(), "a secret of the tests\n").expect("room");
        for id in 1..=METAS {
            let (real, shown) = cluster.port_and_front(0);
            cluster.meta_ports.insert(id, (real, shown));
            cluster.relayed(Front::OfMeta, shown, real);
        }
        (1..=METAS).for_each(|id| cluster.start_meta(id));
        cluster.form(shards, replicas);
        cluster
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// A free port, and the one in front of it: the same if links are direct.
    fn port_and_front(&self, offset: u16) -> (u16, u16) {
        let real = free_port().expect("a free port");
        match self.links {
            Links::Direct => (real, real + offset),
            Links::Relayed => (real, free_port().expect("a free port")),
        }
    }

    fn relayed(&self, front: Front, shown: u16, real: u16) {
        if self.links == Links::Relayed {
            relay(&self.cuts, front, address(shown), address(real));
        }
    }

    pub(crate) fn start_meta(&mut self, id: u64) {
        let shown = |id: u64| format!("127.0.0.1:{}", self.meta_ports[&id].1);
        let peers: Vec<String> = (1..=METAS).map(|id| format!("{id}@{}", shown(id))).collect();
        let (port, id_text) = (self.meta_ports[&id].0.to_string(), id.to_string());
        let child = self.spawn(
            &format!("meta-{id}"),
            &[
                "meta",
                "--port",
                &port,
                "--id",
                &id_text,
                "--announce",
                &shown(id),
                "--peers",
                &peers.join(","),
            ],
        );
        self.metas.insert(id, child);
    }

    fn start_node(&mut self) -> u16 {
        let (port, peers) = self.port_and_front(10_000);
        self.relayed(Front::OfPeers(port), peers, port + 10_000);
        let name = format!("node-{port}");
        let trace = self.folder.path().join(format!("{name}.serving")).display().to_string();
        let (port_text, peers, meta) = (port.to_string(), peers.to_string(), self.meta_list());
        let args = [
            &["node", "--port", &port_text, "--bind", "127.0.0.1", "--meta", &meta][..],
            &["--cluster-announce-bus-port", &peers, "--trace-serving", &trace],
        ];
        let child = self.spawn(&name, &args.concat());
        self.nodes.insert(port, child);
        port
    }

    fn spawn(&self, name: &str, args: &[&str]) -> Child {
        let log =
            File::options().create(true).append(true).open(self.folder.path().join(format!("{name}.log")));
        let log = log.expect("room for a log");
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .arg("--dir")
            .arg(self.folder.path().join(name))
            .arg("--secret-file")
            .arg(self.secret());
        let output = log.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().expect("the binary starts")
    }

    /// Starts data nodes one after the other, so that the first ones lead, and waits until all are whole.
    fn form(&mut self, shards: usize, replicas: usize) {
        for number in 1..=shards {
            let node = format!("127.0.0.1:{}", self.start_registered());
            self.done(&["join", &node]);
            let bound = |number: usize| number * 16384 / shards;
            let slots = format!("{}-{}", bound(number - 1), bound(number) - 1);
            self.done(&["add-slots", &number.to_string(), &slots]);
        }
        for _ in 0..replicas {
            for number in 1..=shards {
                let node = format!("127.0.0.1:{}", self.start_registered());
                self.done(&["join", &node, "--shard", &number.to_string()]);
            }
        }
        self.wait_until_whole();
        let ports: Vec<u16> = self.nodes.keys().copied().collect();
        for port in ports {
            self.wait("a node shows the cluster", || self.serves(port));
        }
    }

    fn start_registered(&mut self) -> u16 {
        let port = self.start_node();
        self.wait("the node is registered", || self.nodes().iter().any(|node| node.port == port));
        self.cuts.name(self.worker(port), port);
        port
    }

    fn meta_list(&self) -> String {
        let shown = self.meta_ports.values().map(|(_, shown)| format!("127.0.0.1:{shown}"));
        shown.collect::<Vec<_>>().join(",")
    }

    /// Where clients connect.
    pub(crate) fn clients(&self) -> Vec<SocketAddr> {
        self.nodes.keys().map(|port| address(*port)).collect()
    }

    /// The process that serves on this port.
    pub(crate) fn worker(&self, port: u16) -> u32 {
        let mut worker = None;
        self.wait("a worker", || {
            worker = self.workers(port).first().copied();
            worker.is_some()
        });
        worker.expect("just seen")
    }

    fn workers(&self, port: u16) -> Vec<u32> {
        let supervisor = self.nodes[&port].id();
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        let children = children.unwrap_or_default();
        children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| alive(*pid))
            .collect()
    }

    pub(crate) fn wait_for_worker_other_than(&self, port: u16, old: u32) {
        self.wait("the next worker", || self.workers(port).iter().any(|pid| *pid != old));
        self.cuts.name(self.worker(port), port);
    }

    /// Whether a node answers clients as if all were well.
    pub(crate) fn serves(&self, port: u16) -> bool {
        let info = Wire::connect(address(port)).and_then(|mut wire| wire.ask(&["CLUSTER", "INFO"]));
        info.is_ok_and(|info| String::from_utf8_lossy(&info).contains("cluster_state:ok"))
    }

    fn members(&self) -> Option<u64> {
        self.json(&["meta", "members"])?["leader"].as_u64().filter(|leader| *leader != 0)
    }

    pub(crate) fn meta_leader(&self) -> u64 {
        let mut leader = None;
        self.wait("a meta leader", || {
            leader = self.members();
            leader.is_some()
        });
        leader.expect("just seen")
    }

    pub(crate) fn meta_followers(&self) -> Vec<u64> {
        let leader = self.meta_leader();
        self.metas.keys().copied().filter(|id| *id != leader).collect()
    }

    pub(crate) fn kill_meta(&mut self, id: u64) {
        let mut child = self.metas.remove(&id).expect("it runs");
        child.kill().expect("a child of ours");
        child.wait().expect("it ends");
    }

    /// Kills a data node's supervisor and worker; nobody starts them again.
    pub(crate) fn kill_node(&mut self, port: u16) {
        let worker = self.worker(port);
        let mut supervisor = self.nodes.remove(&port).expect("it runs");
        supervisor.kill().expect("a child of ours");
        // It may have noticed, and ended by itself.
        if alive(worker) {
            signal(worker, Signal::KILL);
        }
        supervisor.wait().expect("it ends");
    }

    /// Asserts I4 by what the nodes wrote down.
    pub(crate) fn nobody_served_twice(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).expect("our folder").filter_map(Result::ok);
        let traces = files.map(|file| file.path());
        check_traces(traces.filter(|path| path.extension().is_some_and(|end| end == "serving")))
    }
}

impl Asked for Wired {
    fn verb(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--meta", &self.meta_list(), "--secret-file"]).arg(self.secret());
        command.stdin(Stdio::null()).output().expect("the binary starts")
    }

    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).expect("our folder").filter_map(Result::ok);
        let logs =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        let last = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            format!("--- {}\n{}\n", path.display(), tail(&text))
        };
        logs.map(last).collect()
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.cuts.mend();
        // Workers end with their supervisors.
        for child in self.nodes.values_mut().chain(self.metas.values_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
