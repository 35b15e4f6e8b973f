//! MULTI's queue: what may enter it, and the lanes that EXEC needs for all of it at once.
//!
//! The commands of the transaction family (`commands::transaction`) open, run and discard the queue; this file makes
//! sure that EXEC runs with every lane that its commands, and its watched keys, live in.

use super::Now;
use super::execute::{Call, Patience, Refused, may_be_long};
use super::locks::{self, LaneSet};
use crate::commands::lookup::Command;
use crate::commands::{Flags, Spec};
use crate::config::Key;
use crate::core::{Mode, NodeCore};
use crate::resp::{Error, Reply};
use crate::session::Session;
use crate::store::{Data, Locked};

/// Queues a command that has been admitted. Its keys are checked now, and again by EXEC.
pub(super) fn push(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    command: Command,
    now: Now,
) -> Result<(), Refused> {
    for key in call.keys {
        let held = locks::claim(core, core.lanes.of(key.slot), Patience::Worker)?;
        locks::may_touch(core, session, command.spec, &held, key, now)?;
    }
    let most = core.config.size(Key::ClientQueryBufferLimit);
    let args = call.args.to_owned();
    let long = may_be_long(core, session, command.spec.flags, call);
    let Some(multi) = &mut session.multi else { return Ok(()) };
    let size = multi.size + args.size();
    if size as u64 > most {
        return Err(Error::err("transaction exceeds client-query-buffer-limit").into());
    }
    multi.size = size;
    multi.long |= long;
    multi.queue.push((command, args));
    out.simple("QUEUED");
    Ok(())
}

/// Takes the lanes for EXEC and checks the keys of everything that is queued. What may not run here discards the
/// transaction, as in Redis.
pub(super) fn lock<'c>(
    core: &'c NodeCore,
    session: &mut Session,
    now: Now,
    patience: Patience,
) -> Result<Locked<'c>, Refused> {
    let Some(multi) = &session.multi else { return Ok(Locked::Roaming(None)) };
    if multi.aborted {
        return Ok(Locked::Roaming(None));
    }
    let mut set = LaneSet::NONE;
    if multi.queue.iter().any(|(command, _)| command.spec.flags.has(Flags::WHOLE_NODE)) {
        (0..core.lanes.count()).for_each(|lane| set.add(lane));
    }
    for key in multi.queue.iter().flat_map(|(_, args)| args.key_places()) {
        set.add(core.lanes.of(key.slot));
    }
    for key in session.watched.keys() {
        set.add(core.lanes.of(key.slot));
    }
    let locked = locks::claim_set(core, &set, patience)?;
    match check(core, session, &locked, now) {
        Ok(()) => Ok(locked),
        // It runs as a whole once the hold has ended, or is refused as a whole.
        Err(stop @ Refused::Stop(_)) => Err(stop),
        Err(refused @ Refused::Error { .. }) => {
            session.multi = None;
            Data::new(&core.lanes, locked, session.db, now.wall).unwatch(&mut session.watched);
            Err(refused)
        }
    }
}

/// A command that was refused before it ran aborts the transaction that is open; EXEC itself ends it.
#[cold]
pub(super) fn refused(core: &NodeCore, session: &mut Session, spec: &Spec, error: Error, now: Now) -> Error {
    if !spec.flags.has(Flags::EXEC) {
        if let Some(multi) = &mut session.multi {
            multi.aborted = true;
        }
        return error;
    }
    session.multi = None;
    let roaming = Locked::Roaming(None);
    Data::new(&core.lanes, roaming, session.db, now.wall).unwatch(&mut session.watched);
    let text = error.to_string();
    let text = text.strip_prefix("ERR ").unwrap_or(&text);
    Error::Custom(format!("EXECABORT Transaction discarded because of: {text}").into())
}

fn check(core: &NodeCore, session: &Session, locked: &Locked<'_>, now: Now) -> Result<(), Refused> {
    let Some(multi) = &session.multi else { return Ok(()) };
    let mut keys = multi.queue.iter().flat_map(|(_, args)| args.key_places());
    if core.mode == Mode::Cluster
        && let Some(first) = keys.next()
        && keys.any(|key| key.slot != first.slot)
    {
        return Err(Error::CrossSlot.into());
    }
    for (command, args) in &multi.queue {
        locks::may_touch_all(core, session, command.spec, locked, args.key_places(), now)?;
        let flags = command.spec.flags;
        if flags.has(Flags::WHOLE_NODE) && flags.has(Flags::WRITE) {
            locks::may_write_whole(core, locked, now)?;
        }
    }
    Ok(())
}
