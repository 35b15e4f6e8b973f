//! What the driver does to machines, processes and links.

use crate::deaths::Death;
use crate::plan::{Cut, Fault, Kill, METAS, NODES, SHARDS, Who};
use crate::world::{Deed, World, machine_of, machines, meta_name};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A link that was broken is given up by both of its ends within this, and made anew.
const LINKS_SETTLE_MS: u64 = 7_000;
/// A word of a death that was delayed on its way comes so much later.
const WORD_LATE_MS: u64 = 2_500;
/// A worker that ended by itself is started again after this.
const RESPAWN_MS: u64 = 1_000;

/// How a data node's process comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its supervisor sees it.
    Witnessed,
    /// Nobody sees it.
    Alone,
    /// With its machine.
    PowerLoss,
}

impl World {
    /// Does what the plan says.
    pub(crate) fn fault(&mut self, ms: u64, fault: Fault) {
        match fault {
            Fault::Kill(kill) => self.kill(ms, kill),
            Fault::Cut(cut) => self.cut(ms, cut),
            Fault::MoveNode { node, start_ms, kill_leader_ms, for_ms } => {
                let from = self.home(node);
                let to = machine_of(node, if from.ends_with('a') { 'b' } else { 'a' });
                self.stage.count("cut: a node's disk is moved");
                self.cut_from_meta(ms, node, None, for_ms);
                self.later(ms + start_ms, Deed::StartSpare { node, from, to });
                if let Some(wait) = kill_leader_ms {
                    self.later(ms + wait, Deed::Fault(Fault::Kill(Kill::Leader { down_ms: 3_000 })));
                }
            }
            Fault::SetTtl { ms } => self.stage.wishes(|wishes| wishes.ttl_ms = Some(ms)),
            Fault::Failover { shard, forced } => self.fail_over(shard, forced),
            Fault::KillInFailover { shard, after_ms } => {
                self.fail_over(shard, false);
                let kill = Kill::Worker { who: Who::Primary(shard), respawn_ms: 100, leader: false };
                // The operator looks up every 100 ms.
                self.later(ms + 100 + after_ms, Deed::Fault(Fault::Kill(kill)));
            }
            Fault::HandOver { who, down_ms } => {
                let home = self.home(self.node(who));
                if let Some(core) = self.stage.core(&home) {
                    self.stage.event(&format!("{home} is told to hand over and end"));
                    self.stage.count("hand-over");
                    core.stopping.hand_over_first();
                    self.handing_over.insert(home, down_ms);
                }
            }
        }
    }

    fn kill(&mut self, ms: u64, kill: Kill) {
        match kill {
            Kill::Meta { meta, down_ms } => self.kill_meta(ms, meta, down_ms),
            Kill::Leader { down_ms } => {
                let leader = self.stage.leader().filter(|id| (1..=METAS as u64).contains(id)).unwrap_or(1);
                self.kill_meta(ms, leader as usize - 1, down_ms);
            }
            Kill::AllMetas { down_ms } => (0..METAS).for_each(|meta| self.kill_meta(ms, meta, down_ms)),
            Kill::Worker { who, respawn_ms, leader } => {
                self.kill_node(ms, self.node(who), End::Witnessed, respawn_ms);
                if leader {
                    self.kill(ms, Kill::Leader { down_ms: 3_000 });
                }
            }
            Kill::WithSupervisor { who, down_ms } => self.kill_node(ms, self.node(who), End::Alone, down_ms),
            Kill::Machine { who, down_ms } => self.kill_node(ms, self.node(who), End::PowerLoss, down_ms),
            Kill::Shard { shard, respawn_ms } => {
                self.kill_node(ms, shard, End::Witnessed, respawn_ms);
                self.kill_node(ms, shard + SHARDS, End::Witnessed, respawn_ms);
            }
            Kill::Everything { down_ms } => {
                (0..METAS).for_each(|meta| self.kill_meta(ms, meta, down_ms));
                (0..NODES).for_each(|node| self.kill_node(ms, node, End::Alone, down_ms));
            }
        }
    }

    fn cut(&mut self, ms: u64, cut: Cut) {
        match cut {
            Cut::FromMeta { who, but, for_ms } => {
                self.stage.count("cut: a node from meta");
                self.cut_from_meta(ms, self.node(who), but, for_ms);
            }
            Cut::Peers { shard, for_ms } => {
                self.stage.count("cut: a shard's nodes from each other");
                self.disturb(ms, &[shard, shard + SHARDS], for_ms);
                self.cut_pair(ms, self.home(shard), self.home(shard + SHARDS), for_ms);
            }
            Cut::Off { who, for_ms } => {
                self.stage.count("cut: a node from everything");
                let node = self.node(who);
                self.disturb(ms, &[node], for_ms);
                self.cut_from_meta(ms, node, None, for_ms);
                let home = self.home(node);
                for other in
                    machines().into_iter().filter(|other| *other != home && !other.starts_with("meta"))
                {
                    self.cut_pair(ms, home.clone(), other, for_ms);
                }
            }
            Cut::Meta { meta, for_ms } => {
                self.stage.count("cut: a meta server from everything");
                let name = meta_name(meta);
                for other in machines().into_iter().filter(|other| *other != name) {
                    self.cut_pair(ms, name.clone(), other, for_ms);
                }
            }
            Cut::Slow { who, latency_ms, for_ms } => {
                self.stage.count("slow: a node to meta");
                let home = self.home(self.node(who));
                (0..METAS)
                    .for_each(|meta| self.slow(ms, (home.clone(), meta_name(meta)), latency_ms, for_ms));
            }
            Cut::SlowPeers { shard, latency_ms, for_ms } => {
                self.stage.count("slow: a shard's nodes to each other");
                self.disturb(ms, &[shard, shard + SHARDS], for_ms + latency_ms);
                let pair = (self.home(shard), self.home(shard + SHARDS));
                self.slow(ms, pair, latency_ms, for_ms);
            }
        }
    }

    fn fail_over(&self, shard: usize, forced: bool) {
        self.stage.count(if forced { "asked: a forced failover" } else { "asked: a failover" });
        self.stage.wishes(|wishes| wishes.failovers.push_back((shard, forced)));
    }

    fn node(&self, who: Who) -> usize {
        match who {
            Who::Node(node) => node,
            Who::Primary(shard) => self.stage.primary_of(shard),
        }
    }

    fn kill_meta(&mut self, ms: u64, meta: usize, down_ms: u64) {
        let name = meta_name(meta);
        if self.down.contains(&name) {
            return;
        }
        let leads = self.stage.leader() == Some(meta as u64 + 1);
        self.stage.count(if leads { "kill: the meta leader" } else { "kill: a meta server" });
        self.stage.event(&format!("{name} is killed"));
        self.sim.crash(name.as_str());
        self.meta_disks[meta].lose_power();
        self.down.push(name.clone());
        self.later(ms + down_ms, Deed::Restart(name));
    }

    fn kill_node(&mut self, ms: u64, node: usize, end: End, down_ms: u64) {
        let name = self.home(node);
        if self.down.contains(&name) || !self.stage.is_running(&name) {
            return;
        }
        let role = if self.stage.primary_of(node % SHARDS) == node { "primary" } else { "replica" };
        let how = match end {
            End::Witnessed => "'s worker",
            End::Alone => "'s worker and supervisor",
            End::PowerLoss => "'s machine",
        };
        self.stage.count(&format!("kill: a {role}{how}"));
        self.stage.event(&format!("{name} is killed, a {role}: {end:?}"));
        if end == End::Witnessed {
            self.bear_witness(ms, &name);
        }
        if end == End::PowerLoss {
            // Not even the end of a connection is sent.
            for other in machines().into_iter().filter(|other| *other != name) {
                self.sim.partition(name.as_str(), other.as_str());
            }
            self.disturb(ms, &[node], down_ms);
            if let Some(boots) = self.boots.get(&name) {
                boots.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.sim.crash(name.as_str());
        self.stage.ended(&name, "killed");
        // A killed process holds no lock.
        self.node_disks[node].lose_power();
        self.down.push(name.clone());
        let again = if end == End::PowerLoss { Deed::SwitchOn(name) } else { Deed::Restart(name) };
        self.later(ms + down_ms.max(1), again);
    }

    /// The supervisor on a machine has the meta group told of the end, once it reaches it.
    fn bear_witness(&mut self, ms: u64, machine: &str) {
        let Some((node, life)) = self.stage.life(machine) else { return };
        let death = Death { node, token: life.token, registered: true };
        let at = self.cut_off_until.get(machine).copied().unwrap_or(0).max(ms + 1);
        self.later(at, Deed::Tell(death));
        // The same word once more, when the next life may have taken the place of this one.
        self.later(at + WORD_LATE_MS, Deed::Tell(death));
    }

    /// A process has ended by itself: what it had started ends with it.
    pub(crate) fn ended(&mut self, ms: u64, machine: &str) {
        self.sim.crash(machine);
        let home = (0..NODES).find(|node| self.home(*node) == machine);
        if let Some(node) = home {
            self.node_disks[node].lose_power();
            let down_ms = self.handing_over.remove(machine).unwrap_or(RESPAWN_MS);
            self.down.push(machine.to_owned());
            self.later(ms + down_ms, Deed::Restart(machine.to_owned()));
        }
    }

    /// The disk goes from one machine to the other while the first process lives on without knowing.
    pub(crate) fn start_spare(&mut self, node: usize, from: &str, to: &str) {
        if self.home(node) != from {
            return;
        }
        self.stage.event(&format!("the disk of node {} goes from {from} to {to}", node + 1));
        self.node_disks[node].lose_power();
        self.homes.lock()[node] = to.to_owned();
        self.down.retain(|down| down != to && down != from);
        self.sim.crash(to);
        if self.stage.is_running(to) {
            self.stage.ended(to, "its disk came back");
        }
        self.sim.bounce(to);
    }

    /// Cuts a node from the meta servers, but for one of them.
    fn cut_from_meta(&mut self, ms: u64, node: usize, but: Option<usize>, for_ms: u64) {
        let home = self.home(node);
        for meta in (0..METAS).filter(|meta| Some(*meta) != but) {
            self.cut_pair(ms, home.clone(), meta_name(meta), for_ms);
        }
        if but.is_none() {
            let until = self.cut_off_until.entry(home).or_default();
            *until = (*until).max(ms + for_ms);
        }
    }

    fn cut_pair(&mut self, ms: u64, a: String, b: String, for_ms: u64) {
        self.sim.partition(a.as_str(), b.as_str());
        self.later(ms + for_ms, Deed::Repair(a, b));
    }

    fn slow(&mut self, ms: u64, (a, b): (String, String), latency_ms: u64, for_ms: u64) {
        let slow = Duration::from_millis(latency_ms);
        self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), slow);
        self.later(ms + for_ms, Deed::Quick(a, b));
    }

    fn disturb(&self, ms: u64, nodes: &[usize], for_ms: u64) {
        nodes.iter().for_each(|node| self.stage.disturb(*node, ms + for_ms + LINKS_SETTLE_MS));
    }
}
