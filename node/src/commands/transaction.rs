//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! `dispatch` queues what comes after MULTI, and has every lane locked that the queue and the watched keys live in
//! when [`exec`] runs: nothing else runs on these lanes between the look at the watched keys and the last command. A
//! command that fails does not undo the others, as in Redis.

pub use super::transaction_rows::ROWS;
use super::{Args, Ctx, Flags, Outcome};
use crate::config::Key as Setting;
use crate::resp::Error;
use crate::session::Multi;
use crate::store::Lane;
use crate::store::watch::WatchedKey;
use std::sync::atomic::Ordering;

/// `MULTI`
pub(super) fn multi(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    if ctx.session.multi.is_some() {
        return Err(Error::NestedMulti);
    }
    ctx.session.multi = Some(Box::default());
    ctx.out.ok();
    Ok(())
}

/// `DISCARD`
pub(super) fn discard(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    if ctx.session.multi.take().is_none() {
        return Err(Error::DiscardWithoutMulti);
    }
    ctx.data.unwatch(&mut ctx.session.watched);
    ctx.out.ok();
    Ok(())
}

/// `EXEC`
pub(super) fn exec(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let multi = ctx.session.multi.take().ok_or(Error::ExecWithoutMulti)?;
    let dirty = ctx.data.is_dirty(&ctx.session.watched);
    ctx.data.unwatch(&mut ctx.session.watched);
    if multi.aborted {
        return Err(Error::ExecAborted);
    }
    if ctx.core.is_over_memory_limit() && multi.queue.iter().any(|(c, _)| c.spec.flags.has(Flags::DENYOOM)) {
        let text = format!("EXECABORT Transaction discarded because of: {}", Error::OutOfMemory);
        return Err(Error::Custom(text.into()));
    }
    if dirty {
        ctx.out.null_array();
    } else {
        run_queue(ctx, &multi);
    }
    Ok(())
}

fn run_queue(ctx: &mut Ctx<'_>, multi: &Multi) {
    ctx.out.array(multi.queue.len());
    ctx.session.in_exec = true;
    for (command, args) in &multi.queue {
        // SELECT may have been one of them.
        ctx.data.set_db(ctx.session.db);
        let before = ctx.out.len();
        ctx.session.executing = true;
        let mut outcome = (command.spec.run)(ctx, args.args());
        ctx.session.executing = false;
        if ctx.session.later.take().is_some() {
            // It would answer after it has waited, and nothing waits while lanes are held.
            outcome = Err(Error::NotInMulti);
        }
        let stats = ctx.core.stats.command(command.id);
        stats.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            stats.failed.fetch_add(1, Ordering::Relaxed);
            ctx.core.stats.errors.fetch_add(1, Ordering::Relaxed);
            ctx.out.truncate(before);
            ctx.out.error(&error);
        }
    }
    ctx.session.in_exec = false;
}

/// `WATCH key [key ...]`
pub(super) fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if ctx.session.multi.is_some() {
        return Err(Error::WatchInMulti);
    }
    let db = ctx.data.db();
    let wanted: usize = args.keys().map(|key| key.bytes.len() + size_of::<WatchedKey>()).sum();
    if (ctx.session.watched.bytes() + wanted) as u64 > ctx.core.config.size(Setting::ClientQueryBufferLimit) {
        return Err(Error::err("watched keys exceed client-query-buffer-limit"));
    }
    for key in args.keys() {
        // A primary removes a key that has expired before it is watched: its end is no change.
        ctx.data.peek(key);
        let now = ctx.now;
        let lane = ctx.data.lane(key.slot);
        let expired = lane.find(db, key).is_some_and(|entry| Lane::has_expired(entry, now));
        let watched = WatchedKey { db, slot: key.slot, hash: key.hash, key: key.bytes.into(), expired };
        if let Some(flag) = ctx.session.watched.add(watched) {
            lane.watchers.add(db, key.bytes, flag);
        }
    }
    ctx.out.ok();
    Ok(())
}

/// `UNWATCH`
pub(super) fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    ctx.data.unwatch(&mut ctx.session.watched);
    ctx.out.ok();
    Ok(())
}
