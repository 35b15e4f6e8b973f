//! What can be asked of the cluster state: one enum, each variant with the epochs, incarnations or attempts that it
//! was decided on.
//!
//! Plain values, no behaviour. Time and random ids travel in here, because `apply` has neither clock nor chance (I1).
//! A command that learnt something from leases or reports names the leader that decided it (►2). Appended to, never
//! reordered: the Raft log holds these values as bincode (CRATES 3).

use capstan_proto::env::UnixMs;
use capstan_proto::ids::{
    AttemptId, GroupId, Incarnation, LeaderId, NodeId, Position, RequestId, ShardEpoch, ShardId, SpawnToken,
};
use capstan_proto::slot::Slot;
use capstan_proto::topology::{Addresses, ProcessPlace};
use serde::{Deserialize, Serialize};

/// One request to change the cluster state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Sent again, it is answered again and not done again. A new try after a *final* answer takes a new id.
    pub request: RequestId,
    /// Who asks, as the history shows it: a user, a node, `planner`.
    pub author: String,
    /// The proposer's wall clock.
    pub at: UnixMs,
    /// Set when the decision was taken from leases or reports: the leader id under which it was taken (►2).
    pub leader: Option<LeaderId>,
    /// What is asked.
    pub body: Body,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The first command of a group: gives it its identity.
    Found {
        /// Drawn at random by the founder.
        group: GroupId,
    },
    /// A life of a node's process announces itself (►13).
    Register(Register),
    /// A supervisor saw the process with this spawn token end (►13).
    Dead {
        /// The node.
        node: NodeId,
        /// The life that ended; any other life of the node is left alone.
        token: SpawnToken,
    },
    /// A node says something new about its present life.
    Update {
        /// The node.
        node: NodeId,
        /// The life that says it.
        incarnation: Incarnation,
        /// What it says.
        what: NodeUpdate,
    },
    /// Takes a node without a shard into the cluster.
    Join {
        /// A registered node.
        node: NodeId,
        /// As what.
        role: JoinRole,
    },
    /// Gives slots without an owner to a shard: all of them or none.
    AddSlots {
        /// The shard.
        shard: ShardId,
        /// The slots, each named once.
        ranges: Vec<SlotRange>,
    },
    /// Makes a node that is no primary a replica of a shard.
    Replicate {
        /// The node.
        node: NodeId,
        /// Its new shard.
        shard: ShardId,
    },
    /// Makes a member of a shard its primary under a new shard epoch: the only thing that changes a primary (I3).
    Promote(Promote),
    /// Numbers a planned failover whose primary is about to hold its clients (►14).
    BeginPlanned {
        /// The shard.
        shard: ShardId,
        /// The replica that is to be primary.
        candidate: NodeId,
        /// The shard epoch that the decision saw.
        expected_epoch: ShardEpoch,
        /// The last attempt that the decision saw: the new one is the next.
        last_attempt: AttemptId,
        /// Why, for the history.
        why: String,
    },
    /// Ends an attempt: a `Promote` that names it is rejected from now on (►14).
    EndAttempt {
        /// The shard.
        shard: ShardId,
        /// The attempt.
        attempt: AttemptId,
        /// Why, for the history.
        why: String,
    },
    /// Sets a setting of the cluster.
    SetSetting {
        /// Its name, as in CONFIG.
        name: String,
        /// Its new value; empty means its default.
        value: String,
    },
    /// Many in one log entry, each judged on its own, under its own request id. No batch in a batch.
    Batch(Vec<Command>),
    /// [`Body::BeginPlanned`] by force: whatever the candidate lacks is given up, by an operator's consent. The end of
    /// the primary's serving is waited for all the same (I4).
    BeginForced {
        /// The shard.
        shard: ShardId,
        /// The replica that is to be primary, whole or not.
        candidate: NodeId,
        /// The shard epoch that the decision saw.
        expected_epoch: ShardEpoch,
        /// The last attempt that the decision saw: the new one is the next.
        last_attempt: AttemptId,
        /// The operator who consents to the loss.
        who: String,
        /// Why, for the history.
        why: String,
    },
    /// Drains a node, or ends that: it leads nothing, and is promoted only where no other copy is left.
    Drain {
        /// The node.
        node: NodeId,
        /// Which of the two.
        what: Draining,
    },
    /// A node told its leader of something that has happened: for the history only.
    Note {
        /// The shard.
        shard: ShardId,
        /// Who tells it.
        node: NodeId,
        /// What.
        what: Noted,
        /// What the leader adds.
        evidence: String,
    },
}

/// Whether a node is drained from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Draining {
    /// It is.
    Begins,
    /// It is not any more.
    Ends,
}

/// What happened on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noted {
    /// The first command of an epoch was executed.
    FirstServed {
        /// The epoch.
        epoch: ShardEpoch,
    },
    /// A planned failover has held clients, and released them.
    Held {
        /// The attempt.
        attempt: AttemptId,
        /// From the first command that was held to the release, microseconds.
        hold_us: u64,
    },
}

/// A life of a node announces itself: compare-and-set on the last incarnation, idempotent by token (►13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node.
    pub node: NodeId,
    /// Names this life.
    pub token: SpawnToken,
    /// The last life of this node that *the new life itself* knows of, none if it is the first. The node says it in
    /// its request; a service that filled it in from the present state would let a delayed request of an earlier life
    /// end the present one.
    pub last: Option<Incarnation>,
    /// Where the new life runs; its process holds the lock of that folder.
    pub place: ProcessPlace,
    /// How it can be reached.
    pub addresses: Addresses,
    /// `capstan_version` of the process.
    pub software: String,
    /// The leader's statement that the lease of the life `last` is over and that none is granted to it any more.
    /// Counts only in a command that names its leader (►2).
    pub lease_over: Option<LeaseOver>,
}

/// A leader's statement that a life of a node holds no lease any more, and will get none (►6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOver {
    /// The life it speaks of.
    pub incarnation: Incarnation,
    /// What it rests on, for the history.
    pub evidence: String,
}

/// What a life of a node can say of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeUpdate {
    /// It is reached under these addresses now.
    Addresses(Addresses),
    /// It holds a complete copy of this shard, taken from the primary of this epoch (►3).
    Whole {
        /// The shard.
        shard: ShardId,
        /// The epoch of the primary that it was copied from.
        epoch: ShardEpoch,
    },
}

/// As what a node joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinRole {
    /// It founds a shard and is its primary.
    Primary {
        /// The id of the new shard, drawn at random by the proposer.
        new_shard: ShardId,
    },
    /// It becomes a replica.
    Replica {
        /// Of this shard.
        shard: ShardId,
    },
}

/// A run of slots, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRange {
    /// The first slot.
    pub first: Slot,
    /// The last slot, not before the first.
    pub last: Slot,
}

/// Makes a member of a shard its primary (►3). Always names its leader (►2): it rests on leases and reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    /// The shard.
    pub shard: ShardId,
    /// The member that is to be primary: a replica, or the primary itself after a restart.
    pub candidate: NodeId,
    /// The life of the candidate that was asked.
    pub incarnation: Incarnation,
    /// The shard epoch that the decision saw; the new one is the next.
    pub expected_epoch: ShardEpoch,
    /// How far the candidate's log has come, as it said when asked.
    pub position: Position,
    /// How it is known that the present primary does not serve any more (I4).
    pub fence: Fence,
    /// The planned failover that this ends, if it is one (►14).
    pub attempt: Option<AttemptId>,
    /// What lifts the checks of wholeness, floor and in-sync set, if anything.
    pub consent: Consent,
    /// Why, for the history.
    pub why: String,
    /// Last heartbeat, witness, candidates and their positions, for the history.
    pub evidence: String,
}

/// How it is known that the life of the primary that serves now will execute nothing more (I4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fence {
    /// Its end is proved: `Dead` is committed for it, or a later life of the node is registered (►13). Checked.
    ProvenDead,
    /// The leader counted its lease as over and grants it none any more (►6).
    LeaseOver,
    /// It holds its clients under the attempt that this command names, and has confirmed it (►14). Checked.
    HandedOver,
}

/// What lifts the checks of ►3. Nothing lifts the fence (I4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consent {
    /// Nothing: the candidate must be whole and at or above the floor.
    None,
    /// No living whole copy is left (DESIGN 6, restarts: promoted empty, "data lost"). Checked: refused while any
    /// other member is whole and not proved dead.
    NoCopyLeft,
    /// An operator accepts the loss.
    Operator {
        /// Who.
        who: String,
    },
}
