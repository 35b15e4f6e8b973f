//! Who may be serving, as the meta leader counts it (DESIGN 5): a table of leases that belongs to one leader id.
//!
//! It decides which heartbeat is answered with a grant, and when a lease counts as over. The intuition: a node counts
//! from before the leader heard of it, the leader from after and a little longer, so the node has always stopped when
//! the leader says "over". Rules kept here: ►4 (counted from receipt, plus 1 %), ►5 (a grace period after the
//! election), ►6 (stop granting, look again, propose), ►7 (a grant carries the version it was computed from), ►10 (the
//! grace is as long as any lease that may be out). It refuses to read clocks, to know how heartbeats travel, and to
//! propose anything: `controller.rs` does, `planner` says what.

use capstan_proto::env::Boot;
use capstan_proto::ids::{Incarnation, LeaderId, NodeId, ShardEpoch, ShardId, Version};
use capstan_proto::rules::{Rule, Rules};
use capstan_proto::timing::counted_by_leader;
use capstan_proto::topology::Topology;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How many unanswered heartbeats of one stream are kept; an older one is dropped for a newer one.
pub const WAITING_PER_STREAM: usize = 4;

/// One heartbeat stream of one node, numbered by the server that accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One quorum-confirmed read of the meta leader; the table hands them out in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(u64);

/// What a lease is about: one life of a node as the primary of a shard in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The shard that it serves.
    pub shard: ShardId,
    /// Since which promotion.
    pub epoch: ShardEpoch,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, incarnation, shard, epoch } = self;
        write!(f, "node {node} life {} of shard {shard} epoch {epoch}", incarnation.counter)
    }
}

/// The part of a heartbeat that leases depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The stream it came on.
    pub stream: StreamId,
    /// Its number within the stream.
    pub sequence: u64,
    /// Who sends it.
    pub node: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The shard and epoch that it believes to be the primary of.
    pub claim: Option<(ShardId, ShardEpoch)>,
    /// The version that is in force in every lane of the node (►8).
    pub confirmed: Version,
}

/// What the applied cluster state says about a node that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Its present life.
    pub incarnation: Incarnation,
    /// The end of this life is proved (►13).
    pub dead: bool,
    /// The shard that it is the primary of, with the promoted life and the epoch.
    pub leads: Option<(ShardId, Incarnation, ShardEpoch)>,
}

impl Standing {
    /// Reads a node's standing off the cluster state; nothing if the node is unknown there.
    #[must_use]
    pub fn of(topology: &Topology, node: NodeId) -> Option<Self> {
        let row = topology.nodes.get(&node)?;
        let leads = topology.led_by(node).map(|shard| (shard.id, shard.incarnation, shard.epoch));
        Some(Self { incarnation: row.incarnation, dead: row.dead, leads })
    }
}

/// The right to serve, for `duration` from the instant at which the heartbeat was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Who, of what.
    pub holder: Holder,
    /// How long.
    pub duration: Duration,
    /// The version of the cluster state that it was computed from (►7).
    pub version: Version,
}

/// Why a node that claims to be a primary gets no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// No such node in the cluster state.
    #[error("this node id is not registered")]
    Unregistered,
    /// A newer life of the node has registered.
    #[error("another life of this node id has registered (number {0})")]
    OldIncarnation(u64),
    /// The end of this life is proved (►13): a contradiction, so it must not serve.
    #[error("the end of this life of the node is on record")]
    Dead,
    /// The cluster state has another primary for that shard.
    #[error("this node is not the primary of that shard")]
    NotPrimary,
    /// The life that was promoted is another one; this one waits to be promoted itself.
    #[error("this life of the node has not been promoted yet")]
    NotPromoted,
    /// The node's copy of the cluster state is behind, or ahead of this leader's.
    #[error("the shard is in epoch {0}")]
    OtherEpoch(ShardEpoch),
    /// A promotion of the shard is under way (►6).
    #[error("a promotion of this shard is under way")]
    Stopped,
    /// The round took so long that the lease would be over.
    #[error("the quorum was too slow to confirm the leader")]
    Late,
    /// The round's state is older than one that this table has already acted on.
    #[error("the leader read an old state")]
    OldState,
    /// No quorum confirmed the leader.
    #[error("no quorum confirms the leader")]
    NoQuorum,
}

/// What a heartbeat is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The node may serve.
    Granted(Grant),
    /// It claims no shard, so there is nothing to grant.
    NothingClaimed,
    /// It may not.
    Refused(Refusal),
}

/// The answer to one heartbeat: paired with it by stream and sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Answer {
    /// The heartbeat's stream.
    pub stream: StreamId,
    /// The heartbeat's number.
    pub sequence: u64,
    /// Whose heartbeat it was.
    pub node: NodeId,
    /// What is said.
    pub verdict: Verdict,
}

/// What a confirmed round has read: the version of the applied state and the lease TTL in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Read {
    /// The version that was applied when the state was read.
    pub version: Version,
    /// The TTL in force at that version.
    pub ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiting {
    heartbeat: Heartbeat,
    received: Boot,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Round {
    id: RoundId,
    heartbeats: Vec<Waiting>,
}

/// The leases that one leader has granted in one term.
///
/// # Invariants
/// - A grant that left is counted in `leases` from before it left: both happen in [`LeaseTable::round_confirmed`].
/// - No grant leaves for a holder in `stopped`, also not from a round that began before it was stopped (►6).
/// - No grant is computed from a state below `floor`: what was stopped stays stopped until a state shows it gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseTable {
    leader: LeaderId,
    elected: Boot,
    rules: Rules,
    waiting: BTreeMap<(StreamId, u64), Waiting>,
    running: Option<Round>,
    rounds: u64,
    leases: BTreeMap<Holder, Boot>,
    stopped: BTreeSet<Holder>,
    confirmed: BTreeMap<NodeId, (Incarnation, Version)>,
    floor: Version,
}

impl LeaseTable {
    /// An empty table for a leader that was elected no later than `elected` on its own clock.
    #[must_use]
    pub fn new(leader: LeaderId, elected: Boot, rules: Rules) -> Self {
        Self {
            leader,
            elected,
            rules,
            waiting: BTreeMap::new(),
            running: None,
            rounds: 0,
            leases: BTreeMap::new(),
            stopped: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            floor: Version::default(),
        }
    }

    /// Whose table this is: decisions from it carry this id (►2).
    #[must_use]
    pub const fn leader(&self) -> LeaderId {
        self.leader
    }

    /// Notes a heartbeat, received at `now`. A repeated one keeps its first arrival: counting is per grant anyway.
    pub fn arrived(&mut self, heartbeat: Heartbeat, now: Boot) {
        let stream = heartbeat.stream;
        let key = (stream, heartbeat.sequence);
        self.waiting.entry(key).or_insert(Waiting { heartbeat, received: now });
        let of_stream = (stream, 0)..=(stream, u64::MAX);
        if self.waiting.range(of_stream.clone()).count() > WAITING_PER_STREAM {
            let oldest = self.waiting.range(of_stream).next().map(|(key, _)| *key);
            oldest.and_then(|key| self.waiting.remove(&key));
        }
    }

    /// Forgets what a closed stream was waiting for.
    pub fn stream_closed(&mut self, stream: StreamId) {
        self.waiting.retain(|key, _| key.0 != stream);
    }

    /// Begins a round for all that wait, unless nobody does or one is running: one runs, the others wait. The caller
    /// must begin the quorum-confirmed read *after* this call, so that it began after each heartbeat arrived.
    pub fn start_round(&mut self) -> Option<RoundId> {
        if self.running.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.rounds += 1;
        let id = RoundId(self.rounds);
        let heartbeats = std::mem::take(&mut self.waiting).into_values().collect();
        self.running = Some(Round { id, heartbeats });
        Some(id)
    }

    /// The quorum confirmed the round, and the applied state was read afterwards: answers for all of it.
    pub fn round_confirmed(
        &mut self,
        round: RoundId,
        read: Read,
        standing: impl Fn(NodeId) -> Option<Standing>,
        now: Boot,
    ) -> Vec<Answer> {
        let heartbeats = self.take_round(round);
        if read.version < self.floor {
            return refuse_all(&heartbeats, Refusal::OldState);
        }
        self.floor = read.version;
        self.tidy(&standing, now);
        let mut answers = Vec::with_capacity(heartbeats.len());
        for Waiting { heartbeat, received } in heartbeats {
            let verdict = self.judge(&heartbeat, standing(heartbeat.node), (received, now), read);
            let Heartbeat { stream, sequence, node, .. } = heartbeat;
            answers.push(Answer { stream, sequence, node, verdict });
        }
        answers
    }

    /// No quorum confirmed the round: nobody in it gets a grant.
    pub fn round_failed(&mut self, round: RoundId) -> Vec<Answer> {
        refuse_all(&self.take_round(round), Refusal::NoQuorum)
    }

    /// Nobody will confirm or fail the running round: its heartbeats stay unanswered, the next round may begin.
    pub fn abandon_round(&mut self) {
        self.running = None;
    }

    fn take_round(&mut self, round: RoundId) -> Vec<Waiting> {
        match self.running.take_if(|running| running.id == round) {
            Some(running) => running.heartbeats,
            None => Vec::new(),
        }
    }

    fn judge(
        &mut self,
        heartbeat: &Heartbeat,
        standing: Option<Standing>,
        (received, now): (Boot, Boot),
        read: Read,
    ) -> Verdict {
        let Some(standing) = standing else { return Verdict::Refused(Refusal::Unregistered) };
        if standing.incarnation != heartbeat.incarnation {
            return Verdict::Refused(Refusal::OldIncarnation(standing.incarnation.counter));
        }
        self.note_confirmed(heartbeat);
        let Some((shard, epoch)) = heartbeat.claim else { return Verdict::NothingClaimed };
        let holder = Holder { node: heartbeat.node, incarnation: heartbeat.incarnation, shard, epoch };
        if let Err(refusal) = self.entitled(holder, standing) {
            return Verdict::Refused(refusal);
        }
        let until = received.after(self.counted(read.ttl));
        if until <= now {
            return Verdict::Refused(Refusal::Late);
        }
        let counted = self.leases.entry(holder).or_insert(until);
        *counted = until.max(*counted);
        Verdict::Granted(Grant { holder, duration: read.ttl, version: read.version })
    }

    fn entitled(&self, holder: Holder, standing: Standing) -> Result<(), Refusal> {
        if standing.dead {
            return Err(Refusal::Dead);
        }
        let Some((shard, promoted, epoch)) = standing.leads else { return Err(Refusal::NotPrimary) };
        if shard != holder.shard {
            return Err(Refusal::NotPrimary);
        }
        if promoted != holder.incarnation {
            return Err(Refusal::NotPromoted);
        }
        if epoch != holder.epoch {
            return Err(Refusal::OtherEpoch(epoch));
        }
        // ►6, for a whole life as well: a registration that waits for the old life stops it in every role.
        if self.stopped.contains(&holder) {
            return Err(Refusal::Stopped);
        }
        Ok(())
    }

    fn note_confirmed(&mut self, heartbeat: &Heartbeat) {
        let Heartbeat { node, incarnation, confirmed, .. } = *heartbeat;
        let known = self.confirmed.entry(node).or_insert((incarnation, confirmed));
        if known.0 == incarnation {
            known.1 = known.1.max(confirmed);
        } else {
            *known = (incarnation, confirmed);
        }
    }

    /// Leases that are over and stops that the state has overtaken need no row any more.
    fn tidy(&mut self, standing: &impl Fn(NodeId) -> Option<Standing>, now: Boot) {
        self.leases.retain(|_, until| *until > now);
        let leads = |holder: &Holder| {
            let Holder { node, incarnation, shard, epoch } = *holder;
            standing(node)
                .is_some_and(|s| s.incarnation == incarnation && s.leads == Some((shard, incarnation, epoch)))
        };
        self.stopped.retain(leads);
        self.confirmed.retain(|node, _| standing(*node).is_some());
    }

    /// ►4: the leader's count, longer than the node's by what the clocks' rates may differ.
    fn counted(&self, ttl: Duration) -> Duration {
        if self.rules.on(Rule::LeaderCountsLonger) { counted_by_leader(ttl) } else { ttl }
    }

    /// ►5: how long this leader must still wait before it may count a lease as over that it has not granted itself.
    /// `ttl_max` is the longest TTL that may be out (►10), as the applied state says now.
    #[must_use]
    pub fn grace_left(&self, ttl_max: Duration, now: Boot) -> Duration {
        if !self.rules.on(Rule::NewLeaderWaits) {
            return Duration::ZERO;
        }
        self.elected.after(self.counted(ttl_max)).since(now)
    }

    /// How long a shard's primary, whoever it is, may still be serving: zero means its lease is over, if granting to
    /// it was stopped before (►6).
    #[must_use]
    pub fn left_of_shard(&self, shard: ShardId, ttl_max: Duration, now: Boot) -> Duration {
        self.left(|holder| holder.shard == shard, ttl_max, now)
    }

    /// How long a life of a node may still be serving anything.
    #[must_use]
    pub fn left_of_life(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        ttl_max: Duration,
        now: Boot,
    ) -> Duration {
        self.left(|holder| holder.node == node && holder.incarnation == incarnation, ttl_max, now)
    }

    fn left(&self, of: impl Fn(&Holder) -> bool, ttl_max: Duration, now: Boot) -> Duration {
        let leases = self.leases.iter().filter(|(holder, _)| of(holder));
        let left = leases.map(|(_, until)| until.since(now)).max().unwrap_or_default();
        left.max(self.grace_left(ttl_max, now))
    }

    /// Until when each shard's primary may be serving by this leader's own grants; the grace period aside.
    #[must_use]
    pub fn held(&self) -> BTreeMap<ShardId, Boot> {
        let mut held = BTreeMap::new();
        for (holder, until) in &self.leases {
            let latest = held.entry(holder.shard).or_insert(*until);
            *latest = (*latest).max(*until);
        }
        held
    }

    /// What is left of the lease that this leader itself has granted, for reports.
    #[must_use]
    pub fn granted_left(&self, node: NodeId, now: Boot) -> Duration {
        let leases = self.leases.iter().filter(|(holder, _)| holder.node == node);
        leases.map(|(_, until)| until.since(now)).max().unwrap_or_default()
    }

    /// ►6, first half: if the holder's lease is over, stops granting to it and looks again; otherwise says how long it
    /// has left and goes on granting, so that a mistaken request harms nobody who is alive.
    ///
    /// After `Ok` the caller proposes, and calls [`LeaseTable::resume`] only once it knows the proposal's outcome.
    pub fn stop(&mut self, holder: Holder, ttl_max: Duration, now: Boot) -> Result<(), Duration> {
        let left = self.left(|other| other.shard == holder.shard, ttl_max, now);
        if !left.is_zero() {
            return Err(left);
        }
        if self.rules.on(Rule::StopGrantingFirst) {
            self.stopped.insert(holder);
        }
        Ok(())
    }

    /// Stops granting to a holder whose end is proved, or who confirmed that it gave up: no lease is waited for.
    pub fn stop_ended(&mut self, holder: Holder) {
        self.stopped.insert(holder);
    }

    /// ►6, second half: the proposal that `holder` was stopped for was rejected, or it was committed and the holder
    /// is still what it was (a slot was taken, not the shard). `after` is a version at which that outcome is applied:
    /// no older state is used for grants from now on.
    pub fn resume(&mut self, holder: Holder, after: Version) {
        self.stopped.remove(&holder);
        self.floor = self.floor.max(after);
    }

    /// An outcome is applied at this version, but the holder stays stopped for something else.
    pub fn settled_at(&mut self, after: Version) {
        self.floor = self.floor.max(after);
    }

    /// Whether granting to this holder is stopped.
    #[must_use]
    pub fn is_stopped(&self, holder: &Holder) -> bool {
        self.stopped.contains(holder)
    }

    /// A life whose end is proved (►13) holds no lease.
    pub fn life_ended(&mut self, node: NodeId, incarnation: Incarnation) {
        self.leases.retain(|holder, _| holder.node != node || holder.incarnation != incarnation);
    }

    /// The version that a life has confirmed: every lane affected by it was locked once since (►8).
    #[must_use]
    pub fn confirmed(&self, node: NodeId, incarnation: Incarnation) -> Version {
        let known = self.confirmed.get(&node).filter(|(life, _)| *life == incarnation);
        known.map(|(_, version)| *version).unwrap_or_default()
    }
}

fn refuse_all(heartbeats: &[Waiting], why: Refusal) -> Vec<Answer> {
    let refuse = |w: &Waiting| Answer {
        stream: w.heartbeat.stream,
        sequence: w.heartbeat.sequence,
        node: w.heartbeat.node,
        verdict: Verdict::Refused(why),
    };
    heartbeats.iter().map(refuse).collect()
}
