//! The simulated machines and the driver that does to them what the plan says.

use crate::node::{live, secret};
use crate::operator::{observe, operate};
use crate::plan::{Fault, HEAL_MS, METAS, NODES, Plan, RUN_MS, plan};
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
use std::time::Duration;
use turmoil::{Builder, Sim};

/// A flush of a meta server's disk takes this long.
const FLUSH: Duration = Duration::from_micros(300);
const META_PORT: u16 = 7050;

/// A thing that the driver does at a given millisecond.
#[derive(Debug, Clone)]
enum Deed {
    Fault(Fault),
    Restart(String),
    StartSpare { node: usize, from: String, to: String },
    KillLeader { down_ms: u64 },
    Repair(String, String),
    Quick(String, String),
    Heal,
}

struct World {
    sim: Sim<'static>,
    stage: Stage,
    deeds: BTreeMap<u64, Vec<Deed>>,
    meta_disks: Vec<MemDisk>,
    node_disks: Vec<MemDisk>,
    /// Which machine each node's disk is attached to.
    homes: Arc<Mutex<Vec<String>>>,
    down: Vec<String>,
    kills: u64,
    cuts: u64,
}

fn meta_name(meta: usize) -> String {
    format!("meta{}", meta + 1)
}

fn meta_address(meta: usize) -> String {
    format!("{}:{META_PORT}", meta_name(meta))
}

fn metas() -> String {
    (0..METAS).map(meta_address).collect::<Vec<_>>().join(",")
}

fn machine_of(node: usize, letter: char) -> String {
    format!("n{}{letter}", node + 1)
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
        if world.stage.is_broken() {
            break;
        }
    }
    if !world.stage.is_broken() {
        world.stage.check_healed(2_000);
    }
    world.stage.outcome(seed, world.kills, world.cuts)
}

impl World {
    fn new(seed: u64, plan: &Plan, rules: Rules, aloud: bool) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .simulation_duration(Duration::from_millis(RUN_MS + 1_000))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(4))
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
            down: Vec::new(),
            kills: 0,
            cuts: 0,
        };
        let machine = |at: usize, name: String| {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(at as u64 + 1);
            Machine { name, drift_ppm: plan.drifts_ppm.get(at).copied().unwrap_or(0), seed }
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
                    live(&stage, &name, node, &metas(), env, life).await;
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
            people.spawn(operate(stage.clone(), env.clone(), metas()));
            for meta in 0..METAS {
                people.spawn(observe(stage.clone(), env.clone(), meta_address(meta)));
            }
            while let Some(ended) = people.join_next().await {
                let why = ended.map_or_else(|error| error.to_string(), |result| format!("{result:?}"));
                stage.broken(format!("the operator or an observer ended: {why}"));
            }
            Ok(())
        });
    }

    fn later(&mut self, ms: u64, deed: Deed) {
        self.deeds.entry(ms).or_default().push(deed);
    }

    fn do_it(&mut self, ms: u64, deed: Deed) {
        match deed {
            Deed::Fault(fault) => {
                self.stage.event(&format!("{fault:?}"));
                self.fault(ms, fault);
            }
            Deed::Restart(name) => self.restart(&name),
            Deed::StartSpare { node, from, to } => self.start_spare(node, &from, &to),
            Deed::KillLeader { down_ms } => self.fault(ms, Fault::KillLeader { down_ms }),
            Deed::Repair(a, b) => self.sim.repair(a.as_str(), b.as_str()),
            Deed::Quick(a, b) => {
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), Duration::from_millis(4));
            }
            Deed::Heal => self.heal(),
        }
    }

    fn fault(&mut self, ms: u64, fault: Fault) {
        match fault {
            Fault::KillMeta { meta, down_ms } => self.kill(ms, &meta_name(meta), down_ms),
            Fault::KillLeader { down_ms } => {
                let leader = self.stage.leader().filter(|id| (1..=METAS as u64).contains(id)).unwrap_or(1);
                self.kill(ms, &meta_name(leader as usize - 1), down_ms);
            }
            Fault::KillAllMetas { down_ms } => {
                (0..METAS).for_each(|meta| self.kill(ms, &meta_name(meta), down_ms))
            }
            Fault::KillNode { node, down_ms } => {
                let home = self.homes.lock()[node].clone();
                self.kill(ms, &home, down_ms);
            }
            Fault::CutNode { node, but, for_ms } => {
                let home = self.homes.lock()[node].clone();
                self.cut(ms, &home, but, for_ms);
            }
            Fault::CutMeta { meta, for_ms } => {
                self.cut(ms, &meta_name(meta), Some(meta), for_ms);
                let machines = (0..NODES).flat_map(|node| ['a', 'b'].map(|letter| machine_of(node, letter)));
                for machine in machines.collect::<Vec<_>>() {
                    self.cut_pair(ms, machine, meta_name(meta), for_ms);
                }
            }
            Fault::SlowNode { node, latency_ms, for_ms } => {
                let home = self.homes.lock()[node].clone();
                for meta in 0..METAS {
                    let (a, b) = (home.clone(), meta_name(meta));
                    let slow = Duration::from_millis(latency_ms);
                    self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), slow);
                    self.later(ms + for_ms, Deed::Quick(a, b));
                }
            }
            Fault::MoveNode { node, start_ms, kill_leader_ms, for_ms } => {
                let from = self.homes.lock()[node].clone();
                let to = machine_of(node, if from.ends_with('a') { 'b' } else { 'a' });
                self.cut(ms, &from, None, for_ms);
                self.later(ms + start_ms, Deed::StartSpare { node, from, to });
                if let Some(wait) = kill_leader_ms {
                    self.later(ms + wait, Deed::KillLeader { down_ms: 3_000 });
                }
            }
            Fault::SetTtl { ms } => self.stage.want_ttl(ms),
        }
    }

    fn kill(&mut self, ms: u64, name: &str, down_ms: u64) {
        if self.down.iter().any(|down| down == name) {
            return;
        }
        self.kills += 1;
        self.stage.event(&format!("{name} is killed"));
        self.sim.crash(name);
        self.stage.ended(name, "killed");
        for meta in (0..METAS).filter(|meta| meta_name(*meta) == name) {
            self.meta_disks[meta].lose_power();
        }
        self.free_disk(name);
        self.down.push(name.to_owned());
        self.later(ms + down_ms, Deed::Restart(name.to_owned()));
    }

    /// A killed process holds no lock. turmoil drops it at the kill, but a lock may outlive it in a shared value.
    fn free_disk(&mut self, name: &str) {
        let homes = self.homes.lock();
        for (node, home) in homes.iter().enumerate() {
            if home == name {
                self.node_disks[node].lose_power();
            }
        }
    }

    fn restart(&mut self, name: &str) {
        if let Some(at) = self.down.iter().position(|down| down == name) {
            self.down.remove(at);
            self.sim.bounce(name);
        }
    }

    /// The disk goes from one machine to the other while the first process lives on without knowing.
    fn start_spare(&mut self, node: usize, from: &str, to: &str) {
        if self.homes.lock()[node] != from {
            return;
        }
        self.stage.event(&format!("the disk of node {} goes from {from} to {to}", node + 1));
        self.node_disks[node].lose_power();
        self.homes.lock()[node] = to.to_owned();
        self.down.retain(|down| down != to);
        self.sim.crash(to);
        self.stage.ended(to, "its disk came back");
        self.sim.bounce(to);
    }

    /// Cuts a machine from the meta servers, but for one of them.
    fn cut(&mut self, ms: u64, name: &str, but: Option<usize>, for_ms: u64) {
        for meta in (0..METAS).filter(|meta| Some(*meta) != but) {
            self.cut_pair(ms, name.to_owned(), meta_name(meta), for_ms);
        }
    }

    fn cut_pair(&mut self, ms: u64, a: String, b: String, for_ms: u64) {
        self.cuts += 1;
        self.sim.partition(a.as_str(), b.as_str());
        self.later(ms + for_ms, Deed::Repair(a, b));
    }

    fn heal(&mut self) {
        self.stage.event("everything heals");
        self.deeds.clear();
        let machines: Vec<String> = (0..METAS)
            .map(meta_name)
            .chain((0..NODES).flat_map(|node| ['a', 'b'].map(|letter| machine_of(node, letter))))
            .collect();
        for (at, a) in machines.iter().enumerate() {
            for b in &machines[at + 1..] {
                self.sim.repair(a.as_str(), b.as_str());
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), Duration::from_millis(4));
            }
        }
        for name in std::mem::take(&mut self.down) {
            self.sim.bounce(name.as_str());
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
