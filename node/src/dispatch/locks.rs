//! Which lanes a command needs, and whether it may touch what is in them: owner, role and lease, under the lane lock
//! (►8).

use super::Now;
use super::execute::{Patience, Refused, Stop};
use crate::commands::Spec;
use crate::commands::args::KeyAt;
use crate::core::NodeCore;
use crate::hold;
use crate::resp::Error;
use crate::route;
use crate::session::Session;
use crate::store::lanes::LANES_MAX;
use crate::store::{Access, Busy, Held, Lane, Locked};
use capstan_proto::rules::Rule;

/// A set of lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneSet([u64; LANES_MAX / 64]);

impl LaneSet {
    pub(super) const NONE: Self = Self([0; LANES_MAX / 64]);

    pub(super) const fn add(&mut self, lane: usize) {
        self.0[lane / 64] |= 1 << (lane % 64);
    }

    pub(super) const fn has(&self, lane: usize) -> bool {
        self.0[lane / 64] & (1 << (lane % 64)) != 0
    }
}

/// Takes one lane.
#[inline]
pub(super) fn claim(core: &NodeCore, lane: usize, patience: Patience) -> Result<Held<'_>, Busy> {
    match patience {
        Patience::Worker => core.lanes.enter(lane),
        Patience::Blocks => Ok(core.lanes.lock_long(lane)),
    }
}

/// Takes several lanes in ascending order, so that no two commands wait for each other. A worker that meets a long
/// command lets all of them go.
pub(super) fn claim_set<'c>(
    core: &'c NodeCore,
    set: &LaneSet,
    patience: Patience,
) -> Result<Locked<'c>, Busy> {
    let wanted = |lane| set.has(lane).then(|| claim(core, lane, patience)).transpose();
    Ok(Locked::Many((0..core.lanes.count()).map(wanted).collect::<Result<_, _>>()?))
}

/// Takes the lanes of a command with several keys, and checks each key.
pub(super) fn claim_all<'c>(
    core: &'c NodeCore,
    session: &Session,
    spec: &'static Spec,
    keys: &[KeyAt],
    now: Now,
    patience: Patience,
) -> Result<Locked<'c>, Refused> {
    let first = core.lanes.of(keys[0].slot);
    if keys.iter().all(|key| core.lanes.of(key.slot) == first) {
        let held = claim(core, first, patience)?;
        for key in keys {
            may_touch(core, session, spec, &held, key, now)?;
        }
        return Ok(Locked::One(held));
    }
    let mut set = LaneSet::NONE;
    keys.iter().for_each(|key| set.add(core.lanes.of(key.slot)));
    let locked = claim_set(core, &set, patience)?;
    may_touch_all(core, session, spec, &locked, keys, now)?;
    Ok(locked)
}

/// Checks keys whose lanes are held.
pub(super) fn may_touch_all(
    core: &NodeCore,
    session: &Session,
    spec: &'static Spec,
    locked: &Locked<'_>,
    keys: &[KeyAt],
    now: Now,
) -> Result<(), Refused> {
    let Locked::Many(held) = locked else { return Ok(()) };
    for key in keys {
        if let Some(lane) = &held[core.lanes.of(key.slot)] {
            may_touch(core, session, spec, lane, key, now)?;
        }
    }
    Ok(())
}

/// Whether this node may run a command on a key: it is the slot's primary and its lease holds, or the exact reason
/// why not. The lane is held, so what is found here stays true while the command runs (►8).
#[inline]
pub(super) fn may_touch(
    core: &NodeCore,
    session: &Session,
    spec: &'static Spec,
    lane: &Lane,
    key: &KeyAt,
    now: Now,
) -> Result<(), Refused> {
    match lane.slot(key.slot).access() {
        Access::Mine if core.serving.covers(now.boot) => {
            core.report.served(now.boot);
            Ok(())
        }
        Access::Mine if !core.env.rules.on(Rule::CheckUnderLaneLock) => Ok(()),
        Access::Mine | Access::Held => Err(not_now(core, now)),
        // Handed over, and where to is not ready for clients yet.
        Access::Replica if core.hold.patience(now.boot) == hold::Patience::Wait => {
            Err(Refused::Stop(Stop::Held))
        }
        access @ (Access::Replica | Access::Elsewhere | Access::Unassigned) => {
            Ok(route::check(core, session, spec, key.slot, access)?)
        }
    }
}

/// A slot of this node's own that it may not serve at this moment: its clients are held, or there is no lease.
#[cold]
fn not_now(core: &NodeCore, now: Now) -> Refused {
    match core.hold.patience(now.boot) {
        hold::Patience::Wait => Refused::Stop(Stop::Held),
        hold::Patience::Over(hold::Until::HandedOver) => Error::TryAgain.into(),
        hold::Patience::Over(hold::Until::FirstLease) | hold::Patience::NoHold => Error::ClusterDown.into(),
    }
}

/// Takes every lane for a command that writes to the whole node, and checks the lease under their locks (►8).
pub(super) fn claim_whole(core: &NodeCore, now: Now, patience: Patience) -> Result<Locked<'_>, Refused> {
    let mut set = LaneSet::NONE;
    (0..core.lanes.count()).for_each(|lane| set.add(lane));
    let locked = claim_set(core, &set, patience)?;
    may_write_whole(core, &locked, now)?;
    Ok(locked)
}

/// Whether a command may write to the whole node: it needs the lease, and no slot may be held.
pub(super) fn may_write_whole(core: &NodeCore, locked: &Locked<'_>, now: Now) -> Result<(), Refused> {
    let held = match locked {
        Locked::Many(lanes) => lanes.iter().flatten().any(|lane| lane.is_held()),
        Locked::One(_) | Locked::Roaming(_) => false,
    };
    if held || !core.serving.covers(now.boot) {
        return Err(not_now(core, now));
    }
    Ok(())
}
