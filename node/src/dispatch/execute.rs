//! The second half of the hot path: one command at a time, checked in the order in which Redis checks, then run under
//! the locks of its lanes.
//!
//! Order: known, arity, authentication, allowed in MULTI, same slot, memory limit, replicas, queued if MULTI is open, owner
//! and role and lease under the lane lock (►8), run.

use super::{Now, Ran, locks};
use crate::blocking;
use crate::commands::args::{Args, Key, KeyAt, OwnedArgs};
use crate::commands::lookup::Command;
use crate::commands::{Ctx, Flags, Spec};
use crate::core::{Mode, NodeCore};
use crate::resp::{Error, Reply};
use crate::session::{ReplyMode, Session};
use crate::store::log::take_logged;
use crate::store::{Busy, Data, Entry, Locked};
use crate::trace::Touched;
use std::sync::atomic::Ordering;

/// A command that was read.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its row; nothing if there is no such command.
    pub command: Option<Command>,
    /// Its arguments.
    pub args: Args<'a>,
    /// Its keys.
    pub keys: &'a [KeyAt],
}

/// A command that runs off the I/O workers.
#[derive(Debug)]
pub struct LongCall {
    command: Option<Command>,
    args: OwnedArgs,
}

impl Call<'_> {
    /// A copy that outlives the read buffer.
    #[must_use]
    pub fn to_long(&self) -> LongCall {
        LongCall { command: self.command, args: self.args.to_owned() }
    }
}

impl LongCall {
    /// Runs the command on a thread that may block. `None`: its slot is held, and nothing has happened.
    #[must_use]
    pub fn run(&self, core: &NodeCore, session: &mut Session, out: &mut Reply) -> Option<Ran> {
        let mut ran = Ran { epoch: core.serving.epoch(), ..Ran::default() };
        take_logged();
        let call = Call { command: self.command, args: self.args.args(), keys: self.args.key_places() };
        let since = core.env.clock.boot();
        let now = Now::read(core);
        let touched = Touched::begin(core, now.boot);
        ran.under_lease = match guarded(core, session, out, &call, now, Patience::Blocks) {
            Ok(under_lease) => under_lease,
            // Busy is no answer to a thread that may block.
            Err(Stop::Held | Stop::Busy(_)) => return None,
        };
        if let Some(mut touched) = touched.filter(|_| ran.under_lease) {
            touched.add(&core.lanes, call.keys);
            touched.end();
        }
        if let Some(command) = self.command {
            let stats = core.stats.command(command.id);
            stats.calls.fetch_add(1, Ordering::Relaxed);
            let spent = core.env.clock.boot().since(since).as_nanos() as u64;
            stats.nanos.fetch_add(spent, Ordering::Relaxed);
            core.stats.processed.fetch_add(1, Ordering::Relaxed);
        }
        ran.note_logged(session);
        Some(ran)
    }
}

/// Whether the caller may wait for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// An I/O worker: gives up on a lane that a long command holds.
    Worker,
    /// A thread for long commands.
    Blocks,
}

/// Whether a command would run now, rather than be refused or queued, and may take more than a millisecond.
#[inline]
pub(super) fn is_long(core: &NodeCore, session: &Session, call: &Call<'_>, spec: &Spec) -> bool {
    spec.flags.has(Flags::LONG.and(Flags::EXEC).and(Flags::WHOLE_VALUE)) && would_be_long(core, session, call)
}

#[cold]
fn would_be_long(core: &NodeCore, session: &Session, call: &Call<'_>) -> bool {
    let Some(command) = call.command else { return false };
    let flags = command.spec.flags;
    let long = match &session.multi {
        Some(multi) if flags.has(Flags::EXEC) => multi.long,
        Some(_) => flags.has(Flags::LONG) && flags.has(Flags::UNQUEUED),
        None => may_be_long(core, session, flags, call),
    };
    long && admit(core, session, command.spec, call).is_ok()
}

/// So many elements are walked in about a millisecond.
const LARGE: usize = 8192;

/// Whether a command is long by its row, or because it goes through a collection that is large at this moment. It is
/// judged before any lane is held: what a busy lane holds is taken for small, since somebody else works on it.
pub(super) fn may_be_long(core: &NodeCore, session: &Session, flags: Flags, call: &Call<'_>) -> bool {
    let is_large = |key: Key<'_>| {
        let lane = core.lanes.try_lock(core.lanes.of(key.slot));
        lane.is_some_and(|lane| {
            let object = lane.find(session.db, key).and_then(Entry::object);
            object.is_some_and(|object| object.len() > LARGE)
        })
    };
    flags.has(Flags::LONG) || (flags.has(Flags::WHOLE_VALUE) && call.args.keys().any(is_large))
}

/// Executes, queues or refuses one command and writes its reply. Says whether it touched data under the lease.
#[inline]
pub(super) fn one(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    now: Now,
) -> Result<bool, Stop> {
    guarded(core, session, out, call, now, Patience::Worker)
}

/// Writes the error if there is one, and honours CLIENT REPLY and ASKING, which hold for one command.
#[inline]
fn guarded(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    now: Now,
    patience: Patience,
) -> Result<bool, Stop> {
    let before = out.len();
    let (asked, reply) = (session.asking, session.reply);
    if reply == ReplyMode::SkipNext {
        session.reply = ReplyMode::On;
    }
    let under_lease = match attempt(core, session, out, call, now, patience) {
        Ok(under_lease) => under_lease,
        Err(Refused::Stop(stop)) => {
            session.reply = reply;
            return Err(stop);
        }
        Err(Refused::Error { error, under_lease }) => {
            out.truncate(before);
            refuse(core, session, out, call, &error, under_lease);
            under_lease
        }
    };
    if asked {
        session.asking = false;
    }
    if reply == ReplyMode::SkipNext || session.reply != ReplyMode::On {
        out.truncate(before);
    }
    Ok(under_lease)
}

#[cold]
fn refuse(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    error: &Error,
    ran: bool,
) {
    core.note_error(error);
    if let Some(command) = call.command {
        let stats = core.stats.command(command.id);
        let counter = if ran { &stats.failed } else { &stats.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    let unqueued = call.command.is_some_and(|command| command.spec.flags.has(Flags::UNQUEUED));
    if let Some(multi) = &mut session.multi
        && !unqueued
    {
        multi.aborted = true;
    }
    out.error(error);
}

/// What a command has to wait for before it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The lane's turn.
    Busy(Busy),
    /// The end of the hold on its slot.
    Held,
}

/// Why a command did not run, or ran and failed.
pub(super) enum Refused {
    /// Try again when it can run.
    Stop(Stop),
    /// Answer this.
    Error {
        error: Error,
        /// It had touched data before it failed.
        under_lease: bool,
    },
}

impl From<Busy> for Refused {
    fn from(busy: Busy) -> Self {
        Self::Stop(Stop::Busy(busy))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error { error, under_lease: false }
    }
}

/// What can be checked without a lane: known, arity, authentication, allowed in MULTI, same slot, memory.
#[inline]
fn admit(core: &NodeCore, session: &Session, spec: &'static Spec, call: &Call<'_>) -> Result<(), Error> {
    if !spec.fits(call.args.len()) || (!spec.subcommands.is_empty() && !spec.runs_alone(call.args.len())) {
        return Err(misfit(spec, call));
    }
    if !session.authenticated && !spec.flags.has(Flags::NO_AUTH) && core.needs_password() {
        return Err(Error::NoAuth);
    }
    if spec.flags.has(Flags::NO_MULTI) && session.multi.is_some() {
        return Err(Error::NotInMulti);
    }
    if core.mode == Mode::Cluster
        && let [first, rest @ ..] = call.keys
        && rest.iter().any(|key| key.slot != first.slot)
    {
        return Err(Error::CrossSlot);
    }
    if spec.flags.has(Flags::DENYOOM) && core.is_over_memory_limit() {
        return Err(Error::OutOfMemory);
    }
    if spec.flags.has(Flags::WRITE) && core.log.lacks_replicas() {
        return Err(Error::NoReplicas);
    }
    Ok(())
}

/// A wrong number of arguments, or a container without (such) a subcommand.
#[cold]
fn misfit(spec: &'static Spec, call: &Call<'_>) -> Error {
    if !spec.subcommands.is_empty()
        && let Some(name) = call.args.get(1)
    {
        let shown = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
        return Error::UnknownSubcommand(shown.into(), spec.name);
    }
    Error::WrongArity(spec.full_name().into())
}

/// Redis shows the name and the first arguments, 128 bytes of each kind at most.
#[cold]
fn unknown(args: Args<'_>) -> Error {
    let shown =
        |bytes: &[u8], most: usize| String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    let mut text = format!("'{}', with args beginning with: ", shown(args.at(0), 128));
    let mut listed = 0;
    for arg in args.from(1) {
        if listed >= 128 {
            break;
        }
        let arg = shown(arg, 128 - listed);
        listed += arg.len() + 3;
        text.push_str(&format!("'{arg}' "));
    }
    Error::UnknownCommand(text.into())
}

#[inline]
fn attempt(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    now: Now,
    patience: Patience,
) -> Result<bool, Refused> {
    let Some(command) = call.command else { return Err(unknown(call.args).into()) };
    let spec = command.spec;
    if let Err(error) = admit(core, session, spec, call) {
        return Err(super::queue::refused(core, session, spec, error, now).into());
    }
    if session.multi.is_some() && !spec.flags.has(Flags::UNQUEUED) {
        return super::queue::push(core, session, out, call, command, now).map(|()| false);
    }
    if spec.flags.has(Flags::EXEC.and(Flags::WHOLE_NODE)) {
        let locked = if spec.flags.has(Flags::EXEC) {
            super::queue::lock(core, session, now, patience)?
        } else if spec.flags.has(Flags::WRITE) {
            locks::claim_whole(core, now, patience)?
        } else {
            Locked::Roaming(None)
        };
        return invoke(core, session, out, call, locked, now);
    }
    let locked = match call.keys {
        [] => Locked::Roaming(None),
        [key] => {
            let held = locks::claim(core, core.lanes.of(key.slot), patience)?;
            locks::may_touch(core, session, spec, &held, key, now)?;
            Locked::One(held)
        }
        keys => locks::claim_all(core, session, spec, keys, now, patience)?,
    };
    invoke(core, session, out, call, locked, now)
}

/// Runs the command's function with its lanes held.
#[inline]
fn invoke(
    core: &NodeCore,
    session: &mut Session,
    out: &mut Reply,
    call: &Call<'_>,
    locked: Locked<'_>,
    now: Now,
) -> Result<bool, Refused> {
    let Some(Command { spec, .. }) = call.command else { return Ok(false) };
    let touches = !matches!(locked, Locked::Roaming(_)) || spec.flags.has(Flags::WHOLE_NODE);
    // A replica's reads, and INFO of a node without a lease, rest on none: their replies need none to leave.
    let under_lease = touches && core.serving.covers(now.boot);
    let data = Data::new(&core.lanes, locked, session.db, now.wall);
    let mut ctx = Ctx { core, session, out, data, now: now.wall };
    let outcome = (spec.run)(&mut ctx, call.args);
    if ctx.data.has_ready() {
        blocking::serve(&core.lanes, core.serving.epoch(), &mut ctx.data);
    }
    match outcome {
        Ok(()) => Ok(under_lease),
        Err(error) => Err(Refused::Error { error, under_lease }),
    }
}
