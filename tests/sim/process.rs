//! A running node process as an observer from outside sees it.

use crate::contents;
use crate::ledger::{Ledger, Life, Opening};
use crate::logs::Logs;
use capstan_node::cluster::view::View;
use capstan_node::core::NodeCore;
use capstan_proto::ids::{Position, ShardEpoch, ShardId};
use capstan_proto::topology::Topology;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A write that the socket of a level replica took is there after so long, over a link that nothing happens to:
/// latencies are up to 4 ms, and a step of the simulation is one.
const SURELY_THERE_MS: u64 = 20;

/// A running node process.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) node: usize,
    pub(crate) core: Arc<NodeCore>,
    /// The last state of it that was checked.
    seen: Option<Arc<Topology>>,
    /// The last view of it that was looked at.
    view: Option<Arc<View>>,
    log_seen: Position,
    /// It has held a complete copy.
    whole: bool,
    /// What the sockets of its replicas had taken, a moment ago.
    sent: BTreeMap<Life, VecDeque<(u64, u64)>>,
}

impl Process {
    pub(crate) fn new(name: &str, node: usize, core: &Arc<NodeCore>) -> Self {
        Self {
            name: name.to_owned(),
            node,
            core: Arc::clone(core),
            seen: None,
            view: None,
            log_seen: Position::default(),
            whole: false,
            sent: BTreeMap::new(),
        }
    }

    /// Who it is, once it is registered.
    pub(crate) fn life(&self) -> Option<Life> {
        let view = self.core.view.load();
        Some((view.me(), view.incarnation()?))
    }

    /// The shard that it leads, and its epoch.
    pub(crate) fn leads(&self) -> Option<(ShardId, ShardEpoch)> {
        let view = self.core.view.load();
        view.topology().shards.values().find(|shard| view.leads(shard)).map(|shard| (shard.id, shard.epoch))
    }

    /// The cluster state that it has, if it was not checked yet.
    pub(crate) fn fresh_state(&mut self) -> Option<Arc<Topology>> {
        let topology = self.core.topology.load_full();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &topology)) {
            return None;
        }
        self.seen = Some(Arc::clone(&topology));
        Some(topology)
    }

    /// Notes whether it leads something new; says what is missing there.
    pub(crate) fn look(&mut self, ledger: &mut Ledger) -> Option<String> {
        let view = self.core.view.load_full();
        if self.view.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &view)) {
            return None;
        }
        let leads = view.topology().shards.values().find(|shard| view.leads(shard)).cloned();
        self.view = Some(Arc::clone(&view));
        let shard = leads?;
        let was_whole = std::mem::replace(&mut self.whole, true);
        if ledger.epoch(shard.id) >= shard.epoch {
            return None;
        }
        let contents = contents::serials(&self.core);
        ledger.opens(&Opening {
            shard: shard.id,
            number: shard.number,
            epoch: shard.epoch,
            by: &self.name,
            life: (view.me(), view.incarnation()?),
            whole: was_whole || self.core.report.told().whole_of.is_some(),
            batch: self.core.log.last().batch.0,
            contents: &contents,
        })
    }

    /// Notes whether it holds a complete copy.
    pub(crate) fn look_whole(&mut self) {
        if self.core.report.told().whole_of.is_some() {
            self.whole = true;
        }
    }

    /// Notes what its replicas hold. `disturbed` says of a node whether something has happened to its links.
    pub(crate) fn look_followers(
        &mut self,
        now_ms: u64,
        ledger: &mut Ledger,
        disturbed: impl Fn(&Life) -> bool,
    ) {
        let Some((shard, epoch)) = self.leads() else { return };
        for follower in self.core.log.followers() {
            let life = (follower.who, follower.incarnation);
            ledger.holds(shard, epoch, life, follower.acked);
            let sent = self.sent.entry(life).or_default();
            if !follower.is_level || disturbed(&life) {
                sent.clear();
                continue;
            }
            sent.push_back((now_ms, follower.sent));
            while let Some((_, batch)) = sent.pop_front_if(|(at, _)| *at + SURELY_THERE_MS <= now_ms) {
                ledger.holds(shard, epoch, life, batch);
            }
        }
    }

    /// Looks at what its log has got; says what disagrees with another.
    pub(crate) fn look_log(&mut self, logs: &mut Logs) -> Option<String> {
        let me = self.core.id.get()?;
        let shard = self.core.topology.load().nodes.get(me)?.shard?;
        logs.look(shard, &self.name, &self.core, &mut self.log_seen)
    }
}
