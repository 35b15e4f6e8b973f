//! A meta group of real `capstan meta` processes, and the `capstan` verbs that an operator would run against it.

use capstan_tests::process::{capstan_binary, free_port, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Nothing that must come by itself takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// A verb gives up after so many seconds.
const PATIENCE_SECONDS: &str = "5";

/// One server: its place, and its process while it runs.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
    flags: Vec<String>,
    process: Option<Child>,
}

/// A group of three, or what has become of it.
pub(crate) struct Group {
    pub(crate) members: Vec<Member>,
    binary: PathBuf,
    secret: PathBuf,
    root: tempfile::TempDir,
}

/// The ends of a verb that scripts tell apart by its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Done(String),
    Refused(String),
    Unknown(String),
}

/// Sends a signal to a process that this test started.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it is there");
}

fn fresh_address() -> String {
    format!("127.0.0.1:{}", free_port().expect("a free port"))
}

impl Group {
    /// Three servers, started, with a quorum.
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let secret = root.path().join("secret");
        std::fs::write(&secret, "a secret of the tests\n").expect("room");
        let binary = capstan_binary().expect("CAPSTAN_BIN, or a binary beside this test");
        let addresses: Vec<String> = (0..3).map(|_| fresh_address()).collect();
        let peers: Vec<String> =
            (1..).zip(&addresses).map(|(id, at): (u64, _)| format!("{id}@{at}")).collect();
        let peers = peers.join(",");
        let mut group = Self { members: Vec::new(), binary, secret, root };
        for (id, address) in (1..).zip(addresses) {
            group.member(id, address, vec![format!("--id={id}"), format!("--peers={peers}")]);
        }
        group.start_all();
        group.wait_for_quorum();
        group
    }

    fn member(&mut self, id: u64, address: String, flags: Vec<String>) {
        let folder = self.root.path().join(format!("meta-{id}"));
        self.members.push(Member { id, address, folder, flags, process: None });
    }

    /// One more server, started, that waits to be taken in.
    pub(crate) fn newcomer(&mut self, id: u64) -> String {
        let address = fresh_address();
        self.member(id, address.clone(), vec!["--join".to_owned()]);
        self.start_one(id);
        assert!(
            wait_until(LIMIT, || std::net::TcpStream::connect(&address).is_ok()),
            "{address} does not listen"
        );
        address
    }

    pub(crate) fn start_all(&mut self) {
        let ids: Vec<u64> = self.members.iter().map(|member| member.id).collect();
        ids.into_iter().for_each(|id| self.start_one(id));
    }

    pub(crate) fn start_one(&mut self, id: u64) {
        let (binary, secret) = (self.binary.clone(), self.secret.clone());
        let member = self.find(id);
        assert!(member.process.is_none(), "meta server {id} runs already");
        let log = File::options().create(true).append(true).open(member.folder.with_extension("log"));
        let log = log.expect("room for a log");
        let port = member.address.rsplit(':').next().unwrap_or_default().to_owned();
        let child = Command::new(binary)
            .args(["meta", "--port", &port, "--dir"])
            .arg(&member.folder)
            .args(&member.flags)
            .arg("--secret-file")
            .arg(secret)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn();
        member.process = Some(child.expect("the binary starts"));
    }

    pub(crate) fn find(&mut self, id: u64) -> &mut Member {
        self.members.iter_mut().find(|member| member.id == id).expect("there is such a server")
    }

    /// Sends a signal to one process, by its pid, and waits for its end.
    pub(crate) fn signal(&mut self, id: u64, signal: Signal) -> std::process::ExitStatus {
        let mut child = self.find(id).process.take().expect("it runs");
        send(child.id(), signal);
        child.wait().expect("it ends")
    }

    /// Stops a process where it stands, as a machine that hangs would.
    pub(crate) fn freeze(&mut self, id: u64) {
        send(self.pid(id), Signal::STOP);
    }

    /// And lets it go on.
    pub(crate) fn thaw(&mut self, id: u64) {
        send(self.pid(id), Signal::CONT);
    }

    fn pid(&mut self, id: u64) -> u32 {
        self.find(id).process.as_ref().expect("it runs").id()
    }

    pub(crate) fn kill_9(&mut self, id: u64) {
        self.signal(id, Signal::KILL);
    }

    /// Waits until a server ended by itself.
    pub(crate) fn ended(&mut self, id: u64) -> std::process::ExitStatus {
        let mut child = self.find(id).process.take().expect("it runs");
        let mut status = None;
        wait_until(LIMIT, || {
            status = child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("it ends by itself")
    }

    /// What verbs need to reach the group, also from other threads.
    pub(crate) fn operator(&self) -> Operator {
        let meta: Vec<&str> = self.members.iter().map(|member| member.address.as_str()).collect();
        Operator::new(&self.binary, &self.secret, meta.join(","))
    }

    /// An operator who knows of one server only.
    pub(crate) fn operator_of(&mut self, id: u64) -> Operator {
        let meta = self.find(id).address.clone();
        Operator { meta, ..self.operator() }
    }

    pub(crate) fn wait_for_quorum(&self) {
        self.operator().leader();
    }

    /// The number of the leader that hears from a quorum.
    pub(crate) fn leader(&self) -> u64 {
        self.operator().leader().id
    }

    /// A process on a folder that another one uses, and how it ended.
    pub(crate) fn second_on(&self, folder: &Path) -> Output {
        let port = free_port().expect("a free port").to_string();
        let mut command = Command::new(&self.binary);
        command.args(["meta", "--port", &port, "--dir"]).arg(folder).arg("--secret-file").arg(&self.secret);
        command.stdin(Stdio::null()).output().expect("the binary starts")
    }

    /// What a server wrote to its log.
    pub(crate) fn log(&mut self, id: u64) -> String {
        let path = self.find(id).folder.with_extension("log");
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in &mut self.members {
            if std::thread::panicking() {
                let log = std::fs::read_to_string(member.folder.with_extension("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!("meta {}:\n{}", member.id, tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            if let Some(mut child) = member.process.take() {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Who leads a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) term: u64,
}

/// Runs `capstan` verbs, each as a process of its own.
#[derive(Clone)]
pub(crate) struct Operator {
    binary: PathBuf,
    secret: PathBuf,
    meta: String,
    patience: &'static str,
}

impl Operator {
    pub(crate) fn new(binary: &Path, secret: &Path, meta: String) -> Self {
        Self { binary: binary.to_owned(), secret: secret.to_owned(), meta, patience: PATIENCE_SECONDS }
    }

    /// One who gives up before the group can have another leader, so that outcomes stay unknown.
    pub(crate) fn impatient(&self) -> Self {
        Self { patience: "1", ..self.clone() }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--patience", self.patience, "--json", "--meta", &self.meta]);
        command.arg("--secret-file").arg::<&Path>(&self.secret).stdin(Stdio::null());
        command.output().expect("the binary starts")
    }

    pub(crate) fn verb(&self, args: &[&str]) -> Ended {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => Ended::Done(String::from_utf8_lossy(&output.stdout).into_owned()),
            Some(1) => Ended::Refused(error),
            Some(3) => Ended::Unknown(error),
            other => panic!("capstan {args:?} ended with {other:?}: {error}"),
        }
    }

    pub(crate) fn members(&self) -> Option<Value> {
        match self.verb(&["meta", "members"]) {
            Ended::Done(text) => serde_json::from_str(&text).ok(),
            Ended::Refused(_) | Ended::Unknown(_) => None,
        }
    }

    /// The leader that hears from a quorum, once there is one.
    pub(crate) fn leader(&self) -> Leader {
        let mut leader = None;
        let known = || {
            let members = self.members().filter(|members| members["quorum"] == true);
            leader = members.and_then(|members| {
                let row = members["members"].as_array()?.iter().find(|row| row["leader"] == true)?;
                let (id, address) = (row["id"].as_u64()?, row["address"].as_str()?.to_owned());
                Some(Leader { id, address, term: members["term"].as_u64()? })
            });
            leader.is_some()
        };
        assert!(wait_until(LIMIT, known), "no quorum: {:?}", self.members());
        leader.expect("just seen")
    }

    /// What became of a request, as the verb for that says it.
    pub(crate) fn outcome(&self, request: &str) -> Ended {
        self.verb(&["outcome", request])
    }

    /// Sets the setting whose history the tests read.
    pub(crate) fn set(&self, value: &str, request: &str) -> Ended {
        self.verb(&["settings", "set", "restart-wait", value, "--request-id", request])
    }

    /// What was done, oldest first.
    pub(crate) fn history(&self) -> Vec<String> {
        let mut text = None;
        let answered = || {
            let output = self.run(&["history", "--limit", "10000"]);
            // Without a quorum it is shown with a word of warning: what one server has, which may be old.
            if !output.status.success() || String::from_utf8_lossy(&output.stderr).contains("no quorum") {
                return false;
            }
            text = Some(String::from_utf8_lossy(&output.stdout).into_owned());
            true
        };
        assert!(wait_until(LIMIT, answered), "no history");
        let events: Vec<Value> = serde_json::from_str(&text.unwrap_or_default()).expect("JSON");
        events.iter().map(|event| event["what"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
