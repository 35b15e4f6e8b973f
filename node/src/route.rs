//! What a client is told about a slot that this node does not serve.

use crate::commands::Spec;
use crate::core::NodeCore;
use crate::resp::Error;
use crate::session::Session;
use crate::store::Access;
use capstan_proto::slot::Slot;

/// Whether a command on a slot may run here, given what the lane says about the slot; else the exact redirection.
#[cold]
pub fn check(
    _core: &NodeCore,
    _session: &Session,
    _spec: &Spec,
    _slot: Slot,
    access: Access,
) -> Result<(), Error> {
    match access {
        Access::Mine => Ok(()),
        Access::Unassigned => Err(Error::SlotNotServed),
        Access::Replica | Access::Elsewhere => Err(Error::ClusterDown),
    }
}
