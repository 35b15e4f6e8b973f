//! What all simulated processes and the driver share: the time, who runs where, what was seen, the trace.

use crate::checks::{Checks, Served};
use crate::clients::is_able;
use crate::deaths::Death;
use crate::ledger::{Ledger, Life};
use crate::logs::Logs;
use crate::node::FIRST_PORT;
use crate::operator::Wishes;
use crate::plan::NODES;
use crate::process::Process;
use crate::seams::Now;
use capstan_node::core::NodeCore;
use capstan_proto::ids::{NodeId, ShardEpoch};
use capstan_proto::slot::Slot;
use capstan_proto::topology::Topology;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) processes: BTreeMap<String, Process>,
    pub(crate) checks: Checks,
    pub(crate) ledger: Ledger,
    logs: Logs,
    /// How often what happened.
    counts: BTreeMap<String, u64>,
    /// Until when the links between the nodes of a shard are not to be relied on, milliseconds.
    disturbed: [u64; NODES],
    /// Machines whose process ended by itself.
    ended: Vec<String>,
    wishes: Wishes,
    /// Deaths that supervisors have seen.
    deaths: Vec<Death>,
    trace: DefaultHasher,
    events: u64,
    serial: u64,
    leader: Option<u64>,
    formed: bool,
    quiet: bool,
    /// Printed as they come.
    aloud: bool,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    /// What time it is.
    pub(crate) now: Now,
    pub(crate) shared: Arc<Mutex<Shared>>,
}

/// What a run has shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Outcome {
    /// Of the run.
    pub(crate) seed: u64,
    /// Of everything that happened, in order.
    pub(crate) trace: String,
    /// How often what happened.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What did not hold.
    pub(crate) broken: Vec<String>,
}

/// A reply that has left.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) slot: Slot,
    pub(crate) epoch: ShardEpoch,
    pub(crate) key: &'a str,
    /// Of a write that the ledger knows.
    pub(crate) serial: Option<u64>,
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

    /// Something to be counted happened.
    pub(crate) fn count(&self, what: &str) {
        self.count_more(what, 1);
    }

    /// It happened so often.
    pub(crate) fn count_more(&self, what: &str, times: u64) {
        *self.shared.lock().counts.entry(what.to_owned()).or_default() += times;
    }

    /// A process begins on a machine.
    pub(crate) fn started(&self, machine: &str, node: usize, name: &str, core: &Arc<NodeCore>) {
        self.event(&format!("{name} begins"));
        self.shared.lock().processes.insert(machine.to_owned(), Process::new(name, node, core));
    }

    /// The process on a machine is no more.
    pub(crate) fn ended(&self, machine: &str, why: &str) {
        let ended = self.shared.lock().processes.remove(machine);
        if let Some(process) = ended {
            self.shared.lock().take_statistics(&process.core);
        }
        self.event(&format!("{machine} ended: {why}"));
    }

    /// As [`Self::ended`]: nobody has killed it, what it has started is still to be ended.
    pub(crate) fn ended_by_itself(&self, machine: &str, why: &str) {
        self.ended(machine, why);
        self.shared.lock().ended.push(machine.to_owned());
    }

    /// Machines whose process has ended by itself since the last call.
    pub(crate) fn take_ended(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().ended)
    }

    /// Whether a process runs on a machine.
    pub(crate) fn is_running(&self, machine: &str) -> bool {
        self.shared.lock().processes.contains_key(machine)
    }

    /// The process that runs on a machine.
    pub(crate) fn core(&self, machine: &str) -> Option<Arc<NodeCore>> {
        self.shared.lock().processes.get(machine).map(|process| Arc::clone(&process.core))
    }

    /// The life that runs on a machine, once it is registered.
    pub(crate) fn life(&self, machine: &str) -> Option<Life> {
        self.shared.lock().processes.get(machine)?.life()
    }

    /// The name of the process on a machine.
    pub(crate) fn name(&self, machine: &str) -> String {
        self.shared.lock().processes.get(machine).map(|process| process.name.clone()).unwrap_or_default()
    }

    /// The node that leads the shard whose first node this is, by the newest state that anybody has seen.
    pub(crate) fn primary_of(&self, place: usize) -> usize {
        let shared = self.shared.lock();
        let primary = shared.checks.newest().and_then(|topology| {
            let first = topology.nodes.values().find(|row| at(row.addresses.port) == Some(place))?;
            let shard = topology.shards.get(&first.shard?)?;
            at(topology.nodes.get(&shard.primary)?.addresses.port)
        });
        primary.unwrap_or(place)
    }

    /// A number that was not given before.
    pub(crate) fn next_serial(&self) -> u64 {
        let mut shared = self.shared.lock();
        shared.serial += 1;
        shared.serial
    }

    /// A command was executed.
    pub(crate) fn executed(&self, slot: Slot, served: Served) {
        self.event(&format!("{slot} {} {}", served.by, served.epoch));
        let mut shared = self.shared.lock();
        let able = able(&shared.processes, slot);
        shared.checks.executed(slot, served, &able);
    }

    /// A write that the ledger knows was executed: its number and its batch.
    pub(crate) fn wrote(&self, slot: Slot, epoch: ShardEpoch, key: &str, (serial, batch): (u64, u64)) {
        let mut shared = self.shared.lock();
        if let Some(shard) = shared.owner(slot) {
            shared.ledger.wrote(shard, epoch, key, (serial, batch));
        }
    }

    /// A read was executed.
    pub(crate) fn read(&self, slot: Slot, epoch: ShardEpoch, key: &str, seen: u64) {
        let mut shared = self.shared.lock();
        let stale = shared.owner(slot).and_then(|shard| shared.ledger.read(shard, epoch, key, seen));
        shared.checks.broken.extend(stale);
    }

    /// A reply has left.
    pub(crate) fn answered(&self, machine: &str, answered: &Answered<'_>) {
        let mut shared = self.shared.lock();
        let Some(shard) = shared.owner(answered.slot) else { return };
        let present = shared.ledger.epoch(shard);
        if present > answered.epoch {
            let Answered { slot, epoch, key, .. } = answered;
            let why = format!(
                "►9: {machine} answers {key} (slot {slot}) of epoch {epoch}, epoch {present} is served"
            );
            shared.checks.broken.push(why);
        }
        if let Some(serial) = answered.serial {
            shared.ledger.acknowledged(shard, answered.epoch, answered.key, serial);
        }
    }

    /// Somebody saw a state.
    pub(crate) fn version(&self, seen_by: &str, topology: &Topology) {
        self.shared.lock().checks.version(seen_by, topology);
    }

    /// Looks at one process before it executes something: whether it leads anything new.
    pub(crate) fn look_at(&self, machine: &str) {
        let mut shared = self.shared.lock();
        let Shared { processes, ledger, checks, .. } = &mut *shared;
        let missing = processes.get_mut(machine).and_then(|process| process.look(ledger));
        checks.broken.extend(missing);
    }

    /// Looks at every process: its state, its copy, its log, its replicas, and whether two could serve a slot.
    pub(crate) fn look(&self) {
        let now_ms = self.now.millis();
        let mut shared = self.shared.lock();
        let Shared { processes, checks, ledger, logs, disturbed, .. } = &mut *shared;
        let lives: BTreeMap<Life, usize> =
            processes.values().filter_map(|process| Some((process.life()?, process.node))).collect();
        for process in processes.values_mut() {
            if let Some(topology) = process.fresh_state() {
                checks.version(&process.name, &topology);
            }
            checks.broken.extend(process.look(ledger));
            process.look_whole();
            let own = disturbed[process.node];
            process.look_followers(now_ms, ledger, |life| {
                let theirs = lives.get(life).map_or(u64::MAX, |node| disturbed[*node]);
                own.max(theirs) > now_ms
            });
            checks.broken.extend(process.look_log(logs));
        }
        for slot in [0, 8_192, 16_383].into_iter().filter_map(Slot::new) {
            let able = able(&shared.processes, slot);
            shared.checks.at_most_one(slot, self.now.nanos(), &able);
        }
    }

    /// Something happens to a node's links with its peers, until then.
    pub(crate) fn disturb(&self, node: usize, until_ms: u64) {
        let mut shared = self.shared.lock();
        shared.disturbed[node] = shared.disturbed[node].max(until_ms);
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

    /// What the operator is to do.
    pub(crate) fn wishes<T>(&self, look: impl FnOnce(&mut Wishes) -> T) -> T {
        look(&mut self.shared.lock().wishes)
    }

    /// A supervisor has seen a worker end.
    pub(crate) fn tell(&self, death: Death) {
        self.shared.lock().deaths.push(death);
    }

    /// What supervisors have seen since the last call.
    pub(crate) fn take_deaths(&self) -> Vec<Death> {
        std::mem::take(&mut self.shared.lock().deaths)
    }

    /// Every slot has an owner, and every shard its nodes.
    pub(crate) fn set_formed(&self) {
        self.shared.lock().formed = true;
        self.event("the cluster is formed");
    }

    /// Whether it ever had.
    pub(crate) fn is_formed(&self) -> bool {
        self.shared.lock().formed
    }

    /// No client sends anything any more.
    pub(crate) fn set_quiet(&self) {
        self.shared.lock().quiet = true;
        self.event("the clients are quiet");
    }

    /// Whether clients are to be quiet.
    pub(crate) fn is_quiet(&self) -> bool {
        self.shared.lock().quiet
    }

    /// Whether anything has been found.
    pub(crate) fn is_broken(&self) -> bool {
        !self.shared.lock().checks.broken.is_empty()
    }

    /// The result.
    pub(crate) fn outcome(&self, seed: u64) -> Outcome {
        let mut shared = self.shared.lock();
        let cores: Vec<_> = shared.processes.values().map(|process| Arc::clone(&process.core)).collect();
        cores.iter().for_each(|core| shared.take_statistics(core));
        let mut counts = shared.counts.clone();
        let (checks, ledger) = (&shared.checks, &shared.ledger);
        for (name, count) in [
            ("events", shared.events),
            ("versions", checks.versions() as u64),
            ("executed", checks.executed),
            ("acknowledged", ledger.acknowledged),
            ("promotions", checks.promotions),
        ] {
            counts.insert(name.to_owned(), count);
        }
        let (trace, broken) = (format!("{:016x}", shared.trace.finish()), checks.broken.clone());
        Outcome { seed, trace, counts, broken }
    }
}

impl Shared {
    fn owner(&self, slot: Slot) -> Option<capstan_proto::ids::ShardId> {
        self.checks.newest()?.owner(slot)
    }

    fn take_statistics(&mut self, core: &NodeCore) {
        let replication = &core.replication;
        let counters = [("copy: whole", &replication.copies), ("copy: continued", &replication.continued)];
        for (name, counter) in counters {
            let count = counter.load(std::sync::atomic::Ordering::Relaxed);
            *self.counts.entry(name.to_owned()).or_default() += count;
        }
    }

    /// The process of a node, in the life that the cluster knows.
    pub(crate) fn process_of(&self, node: NodeId) -> Option<&Process> {
        let row = self.checks.newest()?.nodes.get(&node)?;
        self.processes.values().find(|process| process.life() == Some((node, row.incarnation)))
    }
}

/// Which node has this client port.
pub(crate) fn at(port: u16) -> Option<usize> {
    port.checked_sub(FIRST_PORT).map(usize::from).filter(|node| *node < NODES)
}

fn able(processes: &BTreeMap<String, Process>, slot: Slot) -> Vec<String> {
    let able = processes.values().filter(|process| is_able(&process.core, slot));
    able.map(|process| process.name.clone()).collect()
}
