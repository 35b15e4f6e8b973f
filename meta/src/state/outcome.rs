//! What `apply` answers: what was done, or why it was refused. Refusals are one closed list, each with a stable code
//! and a text that says what happened, to what, and what to do.
//!
//! The codes and the order of the variants are for ever: outcomes are remembered in snapshots and shown to scripts.

use super::command::SlotRange;
use capstan_proto::ids::{
    AttemptId, ConfigEpoch, GroupId, Incarnation, LeaderId, NodeId, Position, ShardEpoch, ShardId, Version,
};
use capstan_proto::slot::Slot;
use capstan_proto::topology::Row;
use serde::{Deserialize, Serialize};

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What its sender is told.
    pub outcome: Outcome,
    /// The rows of the topology that changed, in the order in which they have to be taken over.
    pub rows: Vec<Row>,
    /// The request id was known: the outcome is the one of the first time, and nothing was done now.
    pub repeated: bool,
}

/// What the sender of a command is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Accepted.
    Done {
        /// The version of the state that this command made.
        version: Version,
        /// What there is to tell.
        done: Done,
    },
    /// Refused: nothing has changed.
    Rejected(Rejection),
}

/// What an accepted command has to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The group has its identity.
    Founded {
        /// Which.
        group: GroupId,
    },
    /// The life is registered.
    Registered {
        /// Under this incarnation.
        incarnation: Incarnation,
    },
    /// The life is known to have ended.
    Dead {
        /// Which.
        incarnation: Incarnation,
    },
    /// The node's row says so now.
    Updated,
    /// The node is a member.
    Joined {
        /// Of this shard.
        shard: ShardId,
        /// Under this shard epoch.
        epoch: ShardEpoch,
    },
    /// The slots have their owner.
    SlotsAdded {
        /// How many.
        slots: u32,
    },
    /// The node is a replica of that shard.
    Replicating,
    /// The shard has its primary.
    Promoted {
        /// Under this shard epoch.
        epoch: ShardEpoch,
        /// Clients see this one.
        config_epoch: ConfigEpoch,
    },
    /// The attempt has its number.
    AttemptBegun {
        /// This one.
        attempt: AttemptId,
    },
    /// The attempt is over.
    AttemptEnded,
    /// The setting has its value.
    SettingStored {
        /// In its canonical form.
        value: String,
        /// What was asked for, if the value had to be clamped.
        clamped_from: Option<String>,
    },
    /// Each command of the batch has its own outcome, in order.
    Batch(Vec<Outcome>),
    /// The node is drained, or not any more.
    Drained,
    /// It stands in the history.
    Noted,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// ►2: decided under another leader id than that of the entry it stands in.
    #[error(
        "decided by leader {decided} but committed under {committed}: decide again from the present state"
    )]
    ForeignLeader {
        /// Who decided.
        decided: LeaderId,
        /// Under whom it was committed.
        committed: LeaderId,
    },
    /// ►2: the command rests on leases or reports and names no leader.
    #[error(
        "a {what} rests on leases or reports and must name the leader that decided it: set its leader id"
    )]
    LeaderUnnamed {
        /// Which command.
        what: String,
    },
    /// The request id stands for another command.
    #[error("this request id was used for another command before: draw a fresh id")]
    RequestIdReused,
    /// A batch in a batch, or too many commands in one.
    #[error("a batch holds 1 to {most} commands and no other batch: send it in parts")]
    BadBatch {
        /// How many at most.
        most: u32,
    },
    /// Nothing but `Found` comes first.
    #[error("the meta group has no identity yet: wait until its founding is committed, then send it again")]
    NotFounded,
    /// There is a group already.
    #[error("this meta group is {group} already: leave it, or found another on an empty folder")]
    AlreadyFounded {
        /// Its identity.
        group: GroupId,
    },
    /// A text is longer than the state keeps.
    #[error("{field} is {length} bytes long, at most {most} are kept: shorten it")]
    TooLong {
        /// Which.
        field: String,
        /// How long it is.
        length: u64,
        /// How long it may be.
        most: u32,
    },
    /// A field that does not hold what it should.
    #[error("{field} '{value}' cannot be kept: it must be {want}")]
    BadField {
        /// Which.
        field: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        want: String,
    },
    /// A limit on the size of the state.
    #[error("the cluster holds {most} {what} already, which is the limit: remove one first")]
    Full {
        /// Nodes, shards, replicas of a shard.
        what: String,
        /// The limit.
        most: u32,
    },
    /// No such node.
    #[error("no node {node} is registered: check the id with `capstan nodes`")]
    UnknownNode {
        /// The id.
        node: NodeId,
    },
    /// No such shard.
    #[error("there is no shard {shard}: check the id with `capstan shards`")]
    UnknownShard {
        /// The id.
        shard: ShardId,
    },
    /// Another life than the present one.
    #[error(
        "{given} is not the present life of node {node}, which is {current}: read the state and decide again"
    )]
    StaleIncarnation {
        /// The node.
        node: NodeId,
        /// What the command named, or `none`.
        given: String,
        /// The present one.
        current: Incarnation,
    },
    /// ►13: the node is registered in another life whose end is not proved.
    #[error(
        "node {node} may still be served by its life {current}: its end is not proved, so wait until its lease is over and register again"
    )]
    MustWait {
        /// The node.
        node: NodeId,
        /// The life that may go on.
        current: Incarnation,
    },
    /// The node claims to have lived before, and nobody here knows it.
    #[error(
        "node {node} names an earlier life {given}, but this meta group never knew it: does the folder belong to another cluster?"
    )]
    NeverRegistered {
        /// The node.
        node: NodeId,
        /// The life it names.
        given: Incarnation,
    },
    /// ►13: its end is proved.
    #[error("the life {incarnation} of node {node} has ended: wait for the node to register again")]
    NodeDead {
        /// The node.
        node: NodeId,
        /// The life.
        incarnation: Incarnation,
    },
    /// It has a shard already.
    #[error("node {node} is a member of shard {shard} already: nothing to join")]
    AlreadyMember {
        /// The node.
        node: NodeId,
        /// Its shard.
        shard: ShardId,
    },
    /// It has no shard.
    #[error("node {node} is no member of shard {shard}: check `capstan nodes` and decide again")]
    NotMember {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// The id of a new shard is in use.
    #[error("there is a shard {shard} already: draw a fresh id for a new one")]
    ShardExists {
        /// The id.
        shard: ShardId,
    },
    /// Another shard epoch than the present one.
    #[error("shard {shard} is at epoch {current}, not {expected}: read the state and decide again")]
    StaleEpoch {
        /// The shard.
        shard: ShardId,
        /// What the command named.
        expected: ShardEpoch,
        /// The present one.
        current: ShardEpoch,
    },
    /// A slot has an owner.
    #[error(
        "Slot {slot} is already busy: shard {owner} owns it, so choose slots without an owner (`capstan slots`)"
    )]
    SlotBusy {
        /// The slot.
        slot: Slot,
        /// Its owner.
        owner: ShardId,
    },
    /// A slot is named twice in one command.
    #[error("Slot {slot} specified multiple times: name each slot once")]
    SlotTwice {
        /// The slot.
        slot: Slot,
    },
    /// Not slots.
    #[error("Invalid or out of range slot: {first}-{last} is no run within 0-16383")]
    BadSlots {
        /// Its start.
        first: u16,
        /// Its end.
        last: u16,
    },
    /// No slots named.
    #[error("no slots are named: name at least one")]
    NoSlots,
    /// A primary cannot be made a replica while it serves a shard.
    #[error(
        "node {node} is the primary of shard {shard} and cannot replicate another: hand its shard over first (`capstan failover`)"
    )]
    IsPrimary {
        /// The node.
        node: NodeId,
        /// Its shard.
        shard: ShardId,
    },
    /// It serves already.
    #[error(
        "node {node} in its life {incarnation} is the primary of shard {shard} already: nothing to promote"
    )]
    AlreadyPrimary {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// The shard.
        shard: ShardId,
    },
    /// ►3: the candidate never held a complete copy in this life.
    #[error(
        "node {node} holds no complete copy of shard {shard}: promote a whole one, wait for it, or consent to the loss"
    )]
    NotWhole {
        /// The candidate.
        node: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// ►3: the candidate's log ends before the shard's floor.
    #[error(
        "node {node} is at {position}, below the floor {floor} of shard {shard}: promote another, or consent to the loss"
    )]
    BelowFloor {
        /// The candidate.
        node: NodeId,
        /// The shard.
        shard: ShardId,
        /// Where it stands.
        position: Position,
        /// Where it would have to stand.
        floor: Position,
    },
    /// A whole copy may still be there.
    #[error(
        "node {holder} holds a complete copy of shard {shard} and is not proved dead: promote it, or let an operator consent to the loss"
    )]
    CopyLeft {
        /// Who holds it.
        holder: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// I4: the fence that the command names does not hold.
    #[error(
        "the present primary {primary} of shard {shard} is not shown to have stopped: wait for its lease's end, a proof of death or its hand-over"
    )]
    NotFenced {
        /// The present primary.
        primary: NodeId,
        /// The shard.
        shard: ShardId,
    },
    /// Another planned change is under way.
    #[error("shard {shard} is in a planned failover, attempt {attempt}: wait for its end, or end it")]
    AttemptUnderWay {
        /// The shard.
        shard: ShardId,
        /// Its number.
        attempt: AttemptId,
    },
    /// ►14: the attempt is not the one under way.
    #[error(
        "attempt {attempt} of shard {shard} is over (the last one was {last}): read the state and decide again"
    )]
    AttemptOver {
        /// The shard.
        shard: ShardId,
        /// What the command named.
        attempt: AttemptId,
        /// The last that was numbered.
        last: AttemptId,
    },
    /// No such setting of the cluster.
    #[error(
        "'{name}' is no setting of the cluster: see `capstan settings`; settings of one node are set with CONFIG SET"
    )]
    UnknownSetting {
        /// What was asked for.
        name: String,
    },
    /// Not a value of that setting.
    #[error("'{value}' is no value of {name}: {want}")]
    BadSetting {
        /// The setting.
        name: String,
        /// What was asked for.
        value: String,
        /// What it takes.
        want: String,
    },
    /// A drained node leads nothing.
    #[error("node {node} is drained: choose another candidate, or end that first (`capstan drain --end`)")]
    NodeDrained {
        /// The node.
        node: NodeId,
    },
    /// Nobody can take over.
    #[error("shard {shard} has no replica that could take over: {why}")]
    NoCandidate {
        /// The shard.
        shard: ShardId,
        /// What is the matter with them.
        why: String,
    },
    /// A planned failover needs a primary that takes part in it.
    #[error(
        "the primary {primary} of shard {shard} is not there to hand over: wait for the failover, or force it (`capstan failover --force`)"
    )]
    PrimaryAway {
        /// The shard.
        shard: ShardId,
        /// Its primary.
        primary: NodeId,
    },
}

impl From<SlotRange> for Rejection {
    /// A run that is none.
    fn from(range: SlotRange) -> Self {
        Self::BadSlots { first: range.first.number(), last: range.last.number() }
    }
}
