//! What must hold: I2 and I3 at every version of the cluster state that anybody sees, I4 at every command that anybody
//! executes, and that two who see one version see the same.

use capstan_proto::ids::{NodeId, ShardEpoch, Version};
use capstan_proto::slot::{SLOTS, Slot};
use capstan_proto::topology::Topology;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Who executed the last command of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// The process: machine and life.
    pub(crate) by: String,
    /// Under which shard epoch.
    pub(crate) epoch: ShardEpoch,
    /// When, in virtual nanoseconds.
    pub(crate) at: u64,
}

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    versions: BTreeMap<Version, (u64, Topology)>,
    served: BTreeMap<Slot, Served>,
    /// What does not hold, in the order found.
    pub(crate) broken: Vec<String>,
    /// Promotions seen: shard epochs beyond the first.
    pub(crate) promotions: u64,
    /// Commands executed.
    pub(crate) executed: u64,
}

impl Checks {
    /// How many versions were checked.
    pub(crate) fn versions(&self) -> usize {
        self.versions.len()
    }

    /// Somebody's copy of the state has this version.
    pub(crate) fn version(&mut self, seen_by: &str, topology: &Topology) {
        if topology.version == Version::default() {
            return;
        }
        let digest = digest(topology);
        if let Some((known, _)) = self.versions.get(&topology.version) {
            if *known != digest {
                self.broken
                    .push(format!("I1: {seen_by} has another state under version {}", topology.version));
            }
            return;
        }
        if let Err(why) = well_formed(topology) {
            self.broken.push(format!("I2: {why} at version {} of {seen_by}", topology.version));
        }
        let before = self.versions.range(..topology.version).next_back();
        let after = self.versions.range(topology.version..).next();
        let pairs = [before.map(|(_, (_, old))| (old, topology)), after.map(|(_, (_, new))| (topology, new))];
        for (old, new) in pairs.into_iter().flatten() {
            if let Err(why) = follows(old, new) {
                self.broken.push(format!("{why} between versions {} and {}", old.version, new.version));
            }
        }
        let newest = self.versions.last_key_value().map(|(_, (_, newest))| newest);
        if newest.is_none_or(|newest| newest.version < topology.version) {
            let epoch = |t: &Topology| t.shards.values().map(|shard| shard.epoch.0).sum::<u64>();
            let founded = |t: &Topology| t.shards.len() as u64;
            let promoted = |t: &Topology| epoch(t) - founded(t);
            self.promotions += promoted(topology).saturating_sub(newest.map_or(0, promoted));
        }
        self.versions.insert(topology.version, (digest, topology.clone()));
    }

    /// A command on a slot was executed; `able` are the processes that could have executed one at this very instant.
    pub(crate) fn executed(&mut self, slot: Slot, now: Served, able: &[String]) {
        self.executed += 1;
        self.at_most_one(slot, now.at, able);
        if let Some(last) = self.served.get(&slot) {
            let went_back = now.epoch < last.epoch;
            let shared = now.epoch == last.epoch && now.by != last.by;
            if went_back || shared {
                self.broken.push(format!("I4: slot {slot} was served by {last:?} and then by {now:?}"));
            }
        }
        self.served.insert(slot, now);
    }

    /// Nobody but one may be able to execute commands of a slot.
    pub(crate) fn at_most_one(&mut self, slot: Slot, at: u64, able: &[String]) {
        if able.len() > 1 {
            let ms = at / 1_000_000;
            self.broken.push(format!("I4: at {ms} ms slot {slot} could be served by {}", able.join(" and ")));
        }
    }

    /// The newest state that anybody has seen.
    pub(crate) fn newest(&self) -> Option<&Topology> {
        self.versions.last_key_value().map(|(_, (_, topology))| topology)
    }

    /// Who served a slot last, and when.
    pub(crate) fn last_served(&self, slot: Slot) -> Option<&Served> {
        self.served.get(&slot)
    }
}

fn digest(topology: &Topology) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", topology.rows()).hash(&mut hasher);
    hasher.finish()
}

/// I2: each slot has at most one owner, which is a shard; each shard has one primary, which is a node of it.
fn well_formed(topology: &Topology) -> Result<(), String> {
    for slot in Slot::all() {
        if let Some(owner) = topology.owner(slot)
            && !topology.shards.contains_key(&owner)
        {
            return Err(format!("slot {slot} belongs to no shard"));
        }
    }
    let mut members: BTreeMap<NodeId, u32> = BTreeMap::new();
    for shard in topology.shards.values() {
        for node in shard.replicas.iter().chain([&shard.primary]) {
            *members.entry(*node).or_default() += 1;
            if topology.nodes.get(node).and_then(|row| row.shard) != Some(shard.id) {
                return Err(format!("shard {} counts {node}, which is not of it", shard.id));
            }
        }
    }
    match members.iter().find(|(_, count)| **count > 1) {
        Some((node, _)) => Err(format!("node {node} is a member twice")),
        None => Ok(()),
    }
}

/// I3 and what no command of this version does.
fn follows(old: &Topology, new: &Topology) -> Result<(), String> {
    for (id, before) in &old.shards {
        let Some(after) = new.shards.get(id) else { return Err(format!("I3: shard {id} vanished")) };
        if after.epoch < before.epoch {
            return Err(format!("I3: shard {id} went back from epoch {} to {}", before.epoch, after.epoch));
        }
        let led = |shard: &capstan_proto::topology::ShardRow| (shard.primary, shard.incarnation);
        if led(before) != led(after) && after.epoch == before.epoch {
            return Err(format!("I3: shard {id} has another primary under the same epoch {}", after.epoch));
        }
    }
    for slot in 0..SLOTS {
        let Some(slot) = Slot::new(slot) else { continue };
        if let Some(owner) = old.owner(slot)
            && new.owner(slot) != Some(owner)
        {
            return Err(format!("I2: slot {slot} changed its owner"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(by: &str, epoch: u64, at: u64) -> Served {
        Served { by: by.into(), epoch: ShardEpoch(epoch), at }
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn a_slot_may_change_hands_under_a_newer_epoch_only() {
        let mut checks = Checks::default();
        checks.executed(slot(1), served("a", 1, 1), &["a".into()]);
        checks.executed(slot(1), served("b", 2, 2), &["b".into()]);
        assert_eq!(checks.broken, Vec::<String>::new());
        checks.executed(slot(1), served("a", 1, 3), &["a".into()]);
        assert_eq!(checks.broken.len(), 1);
        checks.executed(slot(2), served("a", 1, 4), &["a".into(), "b".into()]);
        assert_eq!(checks.broken.len(), 2);
    }

    #[test]
    fn two_states_under_one_version_are_noticed() {
        let mut checks = Checks::default();
        let mut topology = Topology::default();
        topology.version = Version { generation: 0, index: 4 };
        checks.version("one", &topology);
        topology.settings.insert("a".into(), "b".into());
        checks.version("two", &topology);
        assert_eq!(checks.broken.len(), 1, "{:?}", checks.broken);
    }
}
