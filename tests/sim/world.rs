//! The simulated machines, and the driver that moves their time and does to them what the plan says.

use crate::healed;
use crate::node::{live, secret};
use crate::operator::{observe, operate, supervise};
use crate::plan::{Fault, HEAL_MS, METAS, NODES, Plan, QUIET_MS, RUN_MS, plan};
use crate::seams::Machine;
use crate::stage::{Outcome, Stage};
use capstan_meta::founding::Peer;
use capstan_meta::server::{self, MetaConfig};
use capstan_proto::env::MemDisk;
use capstan_proto::rules::Rules;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use turmoil::{Builder, Sim};

/// A flush of a meta server's disk takes this long.
const FLUSH: Duration = Duration::from_micros(300);
const META_PORT: u16 = 7050;
/// Messages take up to this long where nothing slows them down.
pub(crate) const LATENCY: Duration = Duration::from_millis(4);

/// A thing that the driver does at a given millisecond.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Fault(Fault),
    /// A machine's process is started, if the machine has one.
    Restart(String),
    /// As [`Self::Restart`], of a machine that was without power: nobody reached it.
    SwitchOn(String),
    StartSpare {
        node: usize,
        from: String,
        to: String,
    },
    Repair(String, String),
    Quick(String, String),
    Tell(crate::deaths::Death),
    Heal,
    Quiet,
}

pub(crate) struct World {
    pub(crate) sim: Sim<'static>,
    pub(crate) stage: Stage,
    pub(crate) deeds: BTreeMap<u64, Vec<Deed>>,
    pub(crate) meta_disks: Vec<MemDisk>,
    pub(crate) node_disks: Vec<MemDisk>,
    /// Which machine each node's disk is attached to.
    pub(crate) homes: Arc<Mutex<Vec<String>>>,
    /// How often each machine was switched on.
    pub(crate) boots: BTreeMap<String, Arc<AtomicU64>>,
    /// Machines without a process, until they are started again.
    pub(crate) down: Vec<String>,
    /// Until when a machine's supervisor reaches no meta server, milliseconds.
    pub(crate) cut_off_until: BTreeMap<String, u64>,
    /// Machines whose process was told to end, and for how long it stays away.
    pub(crate) handing_over: BTreeMap<String, u64>,
}

pub(crate) fn meta_name(meta: usize) -> String {
    format!("meta{}", meta + 1)
}

fn meta_address(meta: usize) -> String {
    format!("{}:{META_PORT}", meta_name(meta))
}

fn metas() -> Vec<String> {
    (0..METAS).map(meta_address).collect()
}

pub(crate) fn machine_of(node: usize, letter: char) -> String {
    format!("n{}{letter}", node + 1)
}

/// Every machine with a server on it.
pub(crate) fn machines() -> Vec<String> {
    let nodes = (0..NODES).flat_map(|node| ['a', 'b'].map(|letter| machine_of(node, letter)));
    (0..METAS).map(meta_name).chain(nodes).collect()
}

/// Runs a seed to its end, or to the first thing that does not hold.
pub(crate) fn run(seed: u64, rules: Rules, aloud: bool) -> Outcome {
    let plan = plan(seed);
    let mut world = World::new(seed, &plan, rules, aloud);
    for ms in 0..RUN_MS {
        world.stage.now.set(ms * 1_000_000);
        for deed in world.deeds.remove(&ms).unwrap_or_default() {
            world.do_it(ms, deed);
        }
        if let Err(error) = world.sim.step() {
            world.stage.broken(format!("a simulated machine failed: {error}"));
        }
        world.stage.look();
        for machine in world.stage.take_ended() {
            world.ended(ms, &machine);
        }
        if world.stage.is_broken() {
            break;
        }
    }
    if !world.stage.is_broken() {
        healed::check(&world.stage);
    }
    world.stage.outcome(seed)
}

impl World {
    fn new(seed: u64, plan: &Plan, rules: Rules, aloud: bool) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .simulation_duration(Duration::from_millis(RUN_MS + 1_000))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(LATENCY)
            .tcp_capacity(65_536);
        let sim = builder.build();
        let mut deeds: BTreeMap<u64, Vec<Deed>> = BTreeMap::new();
        for (at, fault) in &plan.faults {
            deeds.entry(*at).or_default().push(Deed::Fault(*fault));
        }
        deeds.entry(HEAL_MS).or_default().push(Deed::Heal);
        let mut world = Self {
            sim,
            stage: Stage::new(aloud),
            deeds,
            meta_disks: (0..METAS).map(|_| MemDisk::new(FLUSH)).collect(),
            node_disks: (0..NODES).map(|_| MemDisk::new(Duration::ZERO)).collect(),
            homes: Arc::new(Mutex::new((0..NODES).map(|node| machine_of(node, 'a')).collect())),
            boots: machines().into_iter().map(|name| (name, Arc::default())).collect(),
            down: Vec::new(),
            cut_off_until: BTreeMap::new(),
            handing_over: BTreeMap::new(),
        };
        let boots = world.boots.clone();
        let machine = |at: usize, name: String| {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(at as u64 + 1);
            let boots = boots.get(&name).cloned().unwrap_or_default();
            Machine { name, drift_ppm: plan.drifts_ppm.get(at).copied().unwrap_or(0), seed, boots }
        };
        for meta in 0..METAS {
            world.add_meta(meta, machine(meta, meta_name(meta)), rules);
        }
        for node in 0..NODES {
            for (spare, letter) in ['a', 'b'].into_iter().enumerate() {
                let name = machine_of(node, letter);
                world.add_node(node, machine(METAS + 2 * node + spare, name), rules);
            }
        }
        world.add_people(&machine(METAS + 2 * NODES, "people".into()), rules);
        // Spare machines cost nothing while nothing runs on them.
        (0..NODES).for_each(|node| world.sim.crash(machine_of(node, 'b')));
        world
    }

    fn add_meta(&mut self, meta: usize, machine: Machine, rules: Rules) {
        let (stage, disk) = (self.stage.clone(), self.meta_disks[meta].clone());
        let peers: Vec<Peer> =
            (0..METAS).map(|at| Peer { id: at as u64 + 1, address: meta_address(at) }).collect();
        let name = machine.name.clone();
        let lives = Arc::new(Mutex::new(0u64));
        self.sim.host(name.clone(), move || {
            let life = {
                let mut lives = lives.lock();
                *lives += 1;
                *lives
            };
            let env = machine.env(&stage.now, &disk, life, rules);
            let config = MetaConfig {
                id: meta as u64 + 1,
                listen: meta_address(meta),
                announce: None,
                dir: PathBuf::from(format!("/meta-{meta}")),
                peers: peers.clone(),
                joins: false,
                secret: secret(),
            };
            let (stage, name) = (stage.clone(), name.clone());
            async move {
                stage.event(&format!("{name} begins"));
                if let Err(error) = server::run(env, config, std::future::pending()).await {
                    stage.broken(format!("{name} ended: {error}"));
                }
                Ok(())
            }
        });
    }

    fn add_node(&mut self, node: usize, machine: Machine, rules: Rules) {
        let (stage, disk, homes) =
            (self.stage.clone(), self.node_disks[node].clone(), Arc::clone(&self.homes));
        let lives = Arc::new(Mutex::new(0u64));
        let name = machine.name.clone();
        self.sim.host(name.clone(), move || {
            let life = {
                let mut lives = lives.lock();
                *lives += 1;
                *lives
            };
            let env = machine.env(&stage.now, &disk, life, rules);
            let at_home = homes.lock()[node] == name;
            let (stage, name) = (stage.clone(), name.clone());
            async move {
                if at_home {
                    live(&stage, &name, node, &metas().join(","), env, life).await;
                }
                // The machine stays, without a process.
                std::future::pending::<()>().await;
                Ok(())
            }
        });
    }

    fn add_people(&mut self, machine: &Machine, rules: Rules) {
        let disk = MemDisk::new(Duration::ZERO);
        let env = machine.env(&self.stage.now, &disk, 0, rules);
        let stage = self.stage.clone();
        self.sim.client("people", async move {
            let mut people = tokio::task::JoinSet::new();
            people.spawn(operate(stage.clone(), env.clone(), metas().join(",")));
            people.spawn(supervise(stage.clone(), env.clone(), metas()));
            for meta in 0..METAS {
                people.spawn(observe(stage.clone(), env.clone(), meta_address(meta)));
            }
            while let Some(ended) = people.join_next().await {
                let why = ended.map_or_else(|error| error.to_string(), |result| format!("{result:?}"));
                stage.broken(format!("the operator, a supervisor or an observer ended: {why}"));
            }
            Ok(())
        });
    }

    pub(crate) fn later(&mut self, ms: u64, deed: Deed) {
        self.deeds.entry(ms).or_default().push(deed);
    }

    /// The machine that a node's disk is attached to.
    pub(crate) fn home(&self, node: usize) -> String {
        self.homes.lock()[node].clone()
    }

    fn do_it(&mut self, ms: u64, deed: Deed) {
        match deed {
            Deed::Fault(fault) => {
                self.stage.event(&format!("{fault:?}"));
                self.fault(ms, fault);
            }
            Deed::Restart(name) => self.restart(&name),
            Deed::SwitchOn(name) => {
                machines().iter().filter(|other| **other != name).for_each(|other| {
                    self.sim.repair(name.as_str(), other.as_str());
                });
                self.restart(&name);
            }
            Deed::StartSpare { node, from, to } => self.start_spare(node, &from, &to),
            Deed::Repair(a, b) => self.sim.repair(a.as_str(), b.as_str()),
            Deed::Quick(a, b) => {
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), LATENCY);
            }
            Deed::Tell(death) => self.stage.tell(death),
            Deed::Heal => self.heal(),
            Deed::Quiet => self.stage.set_quiet(),
        }
    }

    /// Starts what a machine is for: a data node only where its disk is.
    pub(crate) fn restart(&mut self, name: &str) {
        let Some(at) = self.down.iter().position(|down| down == name) else { return };
        self.down.remove(at);
        let spare = !name.starts_with("meta") && !self.homes.lock().iter().any(|home| home == name);
        if !spare {
            self.sim.bounce(name);
        }
    }

    fn heal(&mut self) {
        self.stage.event("everything heals");
        self.deeds.clear();
        self.later(QUIET_MS, Deed::Quiet);
        let machines = machines();
        for (at, a) in machines.iter().enumerate() {
            for b in &machines[at + 1..] {
                self.sim.repair(a.as_str(), b.as_str());
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), LATENCY);
            }
        }
        for name in self.down.clone() {
            self.restart(&name);
        }
        // A process that had ended for good (its disk was elsewhere for a while) is started again where its disk is.
        let homes = self.homes.lock().clone();
        for home in homes {
            if !self.stage.is_running(&home) {
                self.sim.crash(home.as_str());
                self.sim.bounce(home.as_str());
            }
        }
    }
}
