//! What a client is told about a slot that this node does not serve: Redis' decision order and Redis' words
//! (COMPATIBILITY A.12).
//!
//! The fast path asks one byte under the lane lock; only what is not plainly served comes here. Keys in different slots
//! were refused before (CROSSSLOT). [`decide`] is pure: view, command, connection in, error out.

use crate::cluster::view::View;
use crate::commands::{Flags, Spec};
use crate::core::NodeCore;
use crate::resp::Error;
use crate::session::Session;
use crate::store::Access;
use capstan_proto::slot::Slot;

/// What a command does to data, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only reads.
    Read,
    /// Writes, or may.
    Write,
}

impl Intent {
    /// By the command's flags.
    #[must_use]
    pub const fn of(spec: &Spec) -> Self {
        if spec.flags.has(Flags::READONLY) { Self::Read } else { Self::Write }
    }
}

/// What the connection said about replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// READONLY: reads may come from a replica.
    ReadReplicas,
    /// Only primaries.
    PrimariesOnly,
}

/// Whether a command on a slot may run here all the same, given what the lane says about the slot; else the exact
/// error. For everything but a slot that is [`Access::Mine`] under a lease that covers now: a slot that is `Mine` and
/// comes here has lost its lease.
#[cold]
pub fn check(
    core: &NodeCore,
    session: &Session,
    spec: &Spec,
    slot: Slot,
    access: Access,
) -> Result<(), Error> {
    let view = core.view.load();
    let wish = if session.readonly { Wish::ReadReplicas } else { Wish::PrimariesOnly };
    let own_ip = own_ip(session);
    decide(&view, slot, access, Intent::of(spec), wish).map_err(|refusal| refusal.error(&view, slot, &own_ip))
}

/// The address that a client reached, for a node that knows no other of its own.
#[must_use]
pub fn own_ip(session: &Session) -> String {
    let reached = session.client.as_ref().map(|client| client.to.ip());
    reached.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_canonical().to_string()).unwrap_or_default()
}

/// Why a command does not run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody owns the slot.
    Unowned,
    /// The cluster is down, or this node has no lease.
    Down,
    /// The cluster is down and would answer reads.
    DownForWrites,
    /// The primary of the slot's shard serves it.
    Moved(capstan_proto::ids::NodeId),
}

impl Refusal {
    /// In Redis' words.
    #[must_use]
    pub fn error(self, view: &View, slot: Slot, own_ip: &str) -> Error {
        match self {
            Self::Unowned => Error::SlotNotServed,
            Self::Down => Error::ClusterDown,
            Self::DownForWrites => Error::ClusterDownReadsOnly,
            Self::Moved(to) => match view.topology().nodes.get(&to) {
                // An empty host: the client keeps the one that it used.
                Some(node) => Error::Moved {
                    slot,
                    host: view.endpoint(node, own_ip).unwrap_or_default().into(),
                    port: node.addresses.port,
                },
                None => Error::ClusterDown,
            },
        }
    }
}

/// Redis' order: unowned, cluster down, served by a replica if the connection wishes, moved.
pub fn decide(view: &View, slot: Slot, access: Access, intent: Intent, wish: Wish) -> Result<(), Refusal> {
    let Some(shard) = view.owner(slot) else { return Err(Refusal::Unowned) };
    let is_primary_here = view.leads(shard);
    // Without a lease this node is as good as down for its own slots; for those of others it still knows the way.
    if !view.is_up() || is_primary_here {
        return match (view.reads_when_down(), intent, is_primary_here) {
            (false, _, _) => Err(Refusal::Down),
            (true, Intent::Write, _) => Err(Refusal::DownForWrites),
            (true, Intent::Read, true) => Ok(()),
            (true, Intent::Read, false) => elsewhere(view, shard, access, intent, wish),
        };
    }
    elsewhere(view, shard, access, intent, wish)
}

fn elsewhere(
    view: &View,
    shard: &capstan_proto::topology::ShardRow,
    access: Access,
    intent: Intent,
    wish: Wish,
) -> Result<(), Refusal> {
    // A replica that holds no complete copy would answer "missing" for keys that are there.
    let reads_here = intent == Intent::Read && wish == Wish::ReadReplicas && view.is_whole_replica();
    match access {
        Access::Replica if reads_here && shard.replicas.contains(&view.me()) => Ok(()),
        // An earlier life of this node is the primary: until the promotion of this one there is nowhere to go.
        _ if shard.primary == view.me() => Err(Refusal::Down),
        Access::Replica | Access::Elsewhere | Access::Mine | Access::Held | Access::Unassigned => {
            Err(Refusal::Moved(shard.primary))
        }
    }
}

#[cfg(test)]
mod tests;
