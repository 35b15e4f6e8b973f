//! The order of the steps: known request, leader id (►2), judgement, then the change as a whole.
//!
//! Judging takes `&State` and returns a [`Change`], a value; [`State::commit`] is the only place that writes. So a
//! command that is refused half-way has changed nothing, by construction.

use super::command::{Body, Command};
use super::history::{EVIDENCE_MAX, Event, Subject, WHY_MAX, clip};
use super::outcome::{Applied, Done, Outcome, Rejection};
use super::planted::{Bug, Planted};
use super::requests::{Digest, Finished};
use super::settings::LoweredTtl;
use super::{State, failover, members, planned, settings, slots};
use capstan_proto::codec;
use capstan_proto::env::UnixMs;
use capstan_proto::ids::{LeaderId, Version};
use capstan_proto::rules::{Rule, Rules};
use capstan_proto::settings::HISTORY_LENGTH;
use capstan_proto::topology::Row;
use sha2::{Digest as _, Sha256};

/// The most commands in one batch.
pub const BATCH_MAX: usize = 1024;
/// The longest author that is kept.
const AUTHOR_MAX: usize = 256;

/// Rules that a test has switched off, and bugs that it has planted. A release build has one value: all rules, no bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switches {
    /// Which of the numbered rules are in force.
    pub rules: Rules,
    /// Which bugs are planted.
    pub planted: Planted,
}

/// What a command would do, decided but not done.
#[derive(Debug)]
pub(super) struct Change {
    /// What its sender will be told.
    pub(super) done: Done,
    /// The rows that it changes, in order.
    pub(super) rows: Vec<Row>,
    /// What the history will say; none if there is nothing to say.
    pub(super) told: Option<Told>,
    /// A TTL that stays in force beside the new one (►10).
    pub(super) lowered: Option<LoweredTtl>,
    /// A shard is founded: the count goes on.
    pub(super) founds: Founds,
}

/// Whether a change founds a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Founds {
    /// It does.
    Shard,
    /// It does not.
    Nothing,
}

/// The part of an event that the command's own kind knows.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) evidence: String,
    pub(super) subject: Subject,
}

impl Told {
    /// Something that explains itself.
    pub(super) fn plain(what: String, subject: Subject) -> Self {
        Self { what, why: String::new(), evidence: String::new(), subject }
    }
}

impl Change {
    /// What was asked for is so already.
    pub(super) fn nothing(done: Done) -> Self {
        Self { done, rows: Vec::new(), told: None, lowered: None, founds: Founds::Nothing }
    }

    /// Changed rows and an event.
    pub(super) fn told(done: Done, rows: Vec<Row>, told: Told) -> Self {
        Self { done, rows, told: Some(told), lowered: None, founds: Founds::Nothing }
    }
}

/// Where in the log a command stands.
#[derive(Debug, Clone, Copy)]
struct Entry {
    version: Version,
    leader: LeaderId,
    switches: Switches,
}

impl State {
    /// [`State::apply`] with rules switched off or bugs planted: for tests and models.
    pub fn apply_with(
        &mut self,
        switches: Switches,
        index: u64,
        leader: LeaderId,
        command: &Command,
    ) -> Applied {
        let version = Version { generation: self.topology.version.generation, index };
        let entry = Entry { version, leader, switches };
        let Body::Batch(members) = &command.body else {
            return self.apply_one(entry, command);
        };
        if let Err(rejection) = judge_envelope(entry, command, members) {
            return rejected(rejection);
        }
        let mut rows = Vec::new();
        let mut outcomes = Vec::with_capacity(members.len());
        let mut repeated = true;
        for member in members {
            let applied = self.apply_one(entry, member);
            rows.extend(applied.rows);
            outcomes.push(applied.outcome);
            repeated &= applied.repeated;
        }
        let done = Done::Batch(outcomes);
        Applied {
            outcome: Outcome::Done { version: self.topology.version, done },
            rows: last_of_each(rows),
            repeated,
        }
    }

    fn apply_one(&mut self, entry: Entry, command: &Command) -> Applied {
        let digest = digest_of(&command.body);
        if let Some(known) = self.requests.find(&command.request)
            && !entry.switches.planted.has(Bug::RequestForgotten)
        {
            return match known.digest == digest {
                true => Applied { outcome: known.outcome.clone(), rows: Vec::new(), repeated: true },
                false => rejected(Rejection::RequestIdReused),
            };
        }
        let (outcome, rows) = match self.judge(entry, command) {
            Ok(change) => self.commit(entry, command, change),
            Err(rejection) => (Outcome::Rejected(rejection), Vec::new()),
        };
        self.requests.remember(Finished { request: command.request, digest, outcome: outcome.clone() });
        Applied { outcome, rows, repeated: false }
    }

    fn judge(&self, entry: Entry, command: &Command) -> Result<Change, Rejection> {
        judge_leader(entry, command)?;
        within("author", &command.author, AUTHOR_MAX)?;
        if self.topology.group.is_none() && !matches!(command.body, Body::Found { .. }) {
            return Err(Rejection::NotFounded);
        }
        match &command.body {
            Body::Found { group } => members::found(self, *group),
            Body::Register(register) => {
                members::register(self, register, command.leader, entry.switches.rules)
            }
            Body::Dead { node, token } => members::dead(self, *node, *token, entry.switches.rules),
            Body::Update { node, incarnation, what } => members::update(self, *node, *incarnation, what),
            Body::Join { node, role } => members::join(self, *node, *role),
            Body::AddSlots { shard, ranges } => {
                slots::add_slots(self, *shard, ranges, entry.switches.planted)
            }
            Body::Replicate { node, shard } => members::replicate(self, *node, *shard),
            Body::Promote(promote) => failover::promote(self, promote, command.leader, entry.switches),
            Body::BeginPlanned { shard, candidate, expected_epoch, last_attempt, why } => {
                let seen = (*expected_epoch, *last_attempt);
                planned::begin(self, *shard, *candidate, seen, why)
            }
            Body::BeginForced { shard, candidate, expected_epoch, last_attempt, who, why } => {
                within("operator", who, AUTHOR_MAX)?;
                let seen = (*expected_epoch, *last_attempt);
                planned::begin_forced(self, *shard, *candidate, seen, (who, why))
            }
            Body::EndAttempt { shard, attempt, why } => planned::end(self, *shard, *attempt, why),
            Body::Drain { node, what } => planned::drain(self, *node, *what),
            Body::Note { shard, node, what, evidence } => planned::note(self, *shard, *node, *what, evidence),
            Body::SetSetting { name, value } => {
                settings::set_setting(self, name, value, self.latest.max(command.at))
            }
            Body::Batch(_) => Err(Rejection::BadBatch { most: BATCH_MAX as u32 }),
        }
    }

    /// The one place that writes.
    fn commit(&mut self, entry: Entry, command: &Command, change: Change) -> (Outcome, Vec<Row>) {
        let mut rows = Vec::with_capacity(change.rows.len());
        for row in change.rows {
            if self.changes(&row) {
                self.topology.set(row.clone());
                rows.push(row);
            }
        }
        if !rows.is_empty() {
            self.topology.version = entry.version;
        }
        self.latest = self.latest.max(command.at);
        self.lowered = change.lowered.or(self.lowered);
        self.shards_founded = match change.founds {
            Founds::Shard => self.shards_founded.saturating_add(1),
            Founds::Nothing => self.shards_founded,
        };
        if let Some(told) = change.told {
            self.history.push(event(entry, command.at, &command.author, told));
        }
        let length = self.topology.setting_number(HISTORY_LENGTH);
        self.history.keep(usize::try_from(length).unwrap_or(usize::MAX));
        (Outcome::Done { version: self.topology.version, done: change.done }, rows)
    }

    /// Whether taking over a row would change anything.
    fn changes(&self, row: &Row) -> bool {
        let topology = &self.topology;
        match row {
            Row::Node(node) => topology.nodes.get(&node.id) != Some(node),
            Row::NodeGone(id) => topology.nodes.contains_key(id),
            Row::Shard(shard) => topology.shards.get(&shard.id) != Some(shard),
            Row::ShardGone(id) => topology.shards.contains_key(id),
            Row::Slots(run) => {
                let slots = run.first.number()..=run.last.number();
                slots.filter_map(capstan_proto::slot::Slot::new).any(|slot| topology.owner(slot) != run.owner)
            }
            Row::Setting { name, value } => {
                topology.settings.get(name).map_or("", String::as_str) != value.as_str()
            }
            Row::Cluster { group, config_epoch } => {
                topology.group != Some(*group) || topology.config_epoch != *config_epoch
            }
            Row::Drain { node, on } => topology.drained.contains(node) != *on,
        }
    }
}

fn rejected(rejection: Rejection) -> Applied {
    Applied { outcome: Outcome::Rejected(rejection), rows: Vec::new(), repeated: false }
}

fn judge_envelope(entry: Entry, command: &Command, members: &[Command]) -> Result<(), Rejection> {
    judge_leader(entry, command)?;
    match members.is_empty() || members.len() > BATCH_MAX {
        true => Err(Rejection::BadBatch { most: BATCH_MAX as u32 }),
        false => Ok(()),
    }
}

/// ►2: a decision taken under one leader id does not count in an entry of another.
fn judge_leader(entry: Entry, command: &Command) -> Result<(), Rejection> {
    match command.leader {
        Some(decided)
            if decided != entry.leader && entry.switches.rules.on(Rule::DecisionsNameTheirLeader) =>
        {
            Err(Rejection::ForeignLeader { decided, committed: entry.leader })
        }
        Some(_) | None => Ok(()),
    }
}

/// A text of at most this many bytes.
pub(super) fn within(field: &str, text: &str, most: usize) -> Result<(), Rejection> {
    match text.len() <= most {
        true => Ok(()),
        false => Err(Rejection::TooLong {
            field: field.to_owned(),
            length: text.len() as u64,
            most: u32::try_from(most).unwrap_or(u32::MAX),
        }),
    }
}

fn digest_of(body: &Body) -> Digest {
    // A body is plain data without maps or floats: encoding it cannot fail. If it did, equal bodies would still be
    // equal, and others too, which errs on the side of answering again instead of doing again.
    let bytes = codec::encode(0, body).unwrap_or_default();
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(&bytes)[..16]);
    Digest(digest)
}

fn event(entry: Entry, time: UnixMs, who: &str, told: Told) -> Event {
    Event {
        version: entry.version,
        time,
        who: who.to_owned(),
        what: clip(&told.what, WHY_MAX),
        why: clip(&told.why, WHY_MAX),
        evidence: clip(&told.evidence, EVIDENCE_MAX),
        subject: told.subject,
    }
}

/// The rows of a batch without those that a later one of the same key replaces.
fn last_of_each(rows: Vec<Row>) -> Vec<Row> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Key {
        Node(capstan_proto::ids::NodeId),
        Shard(capstan_proto::ids::ShardId),
        Setting(String),
        Cluster,
        Drain(capstan_proto::ids::NodeId),
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        let fresh = match &row {
            Row::Node(node) => seen.insert(Key::Node(node.id)),
            Row::NodeGone(id) => seen.insert(Key::Node(*id)),
            Row::Shard(shard) => seen.insert(Key::Shard(shard.id)),
            Row::ShardGone(id) => seen.insert(Key::Shard(*id)),
            // Runs of slots overlap in part: they stay, and their order with them.
            Row::Slots(_) => true,
            Row::Setting { name, .. } => seen.insert(Key::Setting(name.clone())),
            Row::Cluster { .. } => seen.insert(Key::Cluster),
            Row::Drain { node, .. } => seen.insert(Key::Drain(*node)),
        };
        if fresh {
            kept.push(row);
        }
    }
    kept.reverse();
    kept
}
