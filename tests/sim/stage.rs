//! What all simulated processes and the driver share: the time, who runs where, what was seen, the trace.

use crate::checks::{Checks, Served};
use crate::node::is_able;
use crate::seams::Now;
use capstan_node::core::NodeCore;
use capstan_proto::slot::Slot;
use capstan_proto::topology::Topology;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A running node process.
struct Process {
    name: String,
    core: Arc<NodeCore>,
    /// The last state of it that was checked.
    seen: Option<Arc<Topology>>,
}

#[derive(Default)]
struct Shared {
    processes: BTreeMap<String, Process>,
    checks: Checks,
    trace: DefaultHasher,
    events: u64,
    leader: Option<u64>,
    ttl_wanted: Option<u64>,
    formed: bool,
    /// Printed as they come.
    aloud: bool,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    /// What time it is.
    pub(crate) now: Now,
    shared: Arc<Mutex<Shared>>,
}

/// What a run has shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Outcome {
    /// Of the run.
    pub(crate) seed: u64,
    /// Of everything that happened, in order.
    pub(crate) trace: String,
    /// Events in the trace.
    pub(crate) events: u64,
    /// Versions checked.
    pub(crate) versions: u64,
    /// Commands executed.
    pub(crate) executed: u64,
    /// Shard epochs opened after the first.
    pub(crate) promotions: u64,
    /// Processes and machines killed.
    pub(crate) kills: u64,
    /// Cuts of the net.
    pub(crate) cuts: u64,
    /// What did not hold.
    pub(crate) broken: Vec<String>,
}

impl Stage {
    /// A fresh one; `aloud` prints every event.
    pub(crate) fn new(aloud: bool) -> Self {
        let stage = Self::default();
        stage.shared.lock().aloud = aloud;
        stage
    }

    /// Something happened.
    pub(crate) fn event(&self, what: &str) {
        let ms = self.now.millis();
        let mut shared = self.shared.lock();
        (ms, what).hash(&mut shared.trace);
        shared.events += 1;
        if shared.aloud {
            println!("{ms:>6} {what}");
        }
    }

    /// Something does not hold.
    pub(crate) fn broken(&self, what: String) {
        self.event(&what);
        self.shared.lock().checks.broken.push(what);
    }

    /// A process begins on a machine.
    pub(crate) fn started(&self, machine: &str, name: &str, core: &Arc<NodeCore>) {
        self.event(&format!("{name} begins"));
        let process = Process { name: name.to_owned(), core: Arc::clone(core), seen: None };
        self.shared.lock().processes.insert(machine.to_owned(), process);
    }

    /// The process on a machine is no more.
    pub(crate) fn ended(&self, machine: &str, why: &str) {
        if let Some(process) = self.shared.lock().processes.remove(machine) {
            drop(process.core);
            // The lock is free again by the end of this statement.
        }
        self.event(&format!("{machine} ended: {why}"));
    }

    /// Whether a process runs on a machine.
    pub(crate) fn is_running(&self, machine: &str) -> bool {
        self.shared.lock().processes.contains_key(machine)
    }

    /// A command was executed.
    pub(crate) fn executed(&self, slot: Slot, served: Served) {
        self.event(&format!("{slot} {} {}", served.by, served.epoch));
        let mut shared = self.shared.lock();
        let able = able(&shared.processes, slot);
        shared.checks.executed(slot, served, &able);
    }

    /// Somebody saw a state.
    pub(crate) fn version(&self, seen_by: &str, topology: &Topology) {
        self.shared.lock().checks.version(seen_by, topology);
    }

    /// Looks at every process: which state it has, and whether two could serve a slot.
    pub(crate) fn look(&self) {
        let mut shared = self.shared.lock();
        let shared = &mut *shared;
        for process in shared.processes.values_mut() {
            let topology = process.core.topology.load_full();
            if process.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &topology)) {
                shared.checks.version(&process.name, &topology);
                process.seen = Some(topology);
            }
        }
        for slot in [0, 8_192, 16_383].into_iter().filter_map(Slot::new) {
            let able = able(&shared.processes, slot);
            shared.checks.at_most_one(slot, self.now.nanos(), &able);
        }
    }

    /// The number of the meta leader, as last heard.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.shared.lock().leader
    }

    /// An answer named the leader.
    pub(crate) fn set_leader(&self, leader: u64) {
        let changed = self.shared.lock().leader.replace(leader) != Some(leader);
        if changed {
            self.event(&format!("meta {leader} leads"));
        }
    }

    /// An operator wants this lease; the next call takes the wish.
    pub(crate) fn want_ttl(&self, ms: u64) {
        self.shared.lock().ttl_wanted = Some(ms);
    }

    /// What the operator wants, once.
    pub(crate) fn take_ttl(&self) -> Option<u64> {
        self.shared.lock().ttl_wanted.take()
    }

    /// Every slot has an owner.
    pub(crate) fn set_formed(&self) {
        self.shared.lock().formed = true;
        self.event("the cluster is formed");
    }

    /// Whether anything has been found.
    pub(crate) fn is_broken(&self) -> bool {
        !self.shared.lock().checks.broken.is_empty()
    }

    /// After the healing everything must be served again: says what is not.
    pub(crate) fn check_healed(&self, within_ms: u64) {
        let now = self.now.nanos();
        let mut shared = self.shared.lock();
        if !shared.formed {
            shared.checks.broken.push("liveness: the cluster was never formed".to_owned());
        }
        let mut late: Vec<String> = Vec::new();
        for (name, run) in [("first", 0..5461), ("second", 5461..10922), ("third", 10922..16384)] {
            let slots = run.filter_map(Slot::new);
            let last = slots.filter_map(|slot| shared.checks.last_served(slot)).map(|served| served.at).max();
            if last.is_none_or(|at| now - at > within_ms * 1_000_000) {
                let last = last.map_or(-1, |at| (at / 1_000_000) as i64);
                late.push(format!("liveness: the {name} shard was last served at {last} ms of a healed run"));
            }
        }
        shared.checks.broken.extend(late);
    }

    /// The result.
    pub(crate) fn outcome(&self, seed: u64, kills: u64, cuts: u64) -> Outcome {
        let shared = self.shared.lock();
        let checks = &shared.checks;
        Outcome {
            seed,
            trace: format!("{:016x}", shared.trace.finish()),
            events: shared.events,
            versions: checks.versions() as u64,
            executed: checks.executed,
            promotions: checks.promotions,
            kills,
            cuts,
            broken: checks.broken.clone(),
        }
    }
}

fn able(processes: &BTreeMap<String, Process>, slot: Slot) -> Vec<String> {
    processes
        .values()
        .filter(|process| is_able(&process.core, slot))
        .map(|process| process.name.clone())
        .collect()
}
