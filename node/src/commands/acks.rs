//! Acknowledgements that a client asks for: WAIT and WAITAOF.
//!
//! Both wait for the newest batch that this connection has written (`Session::written`). Nothing is held meanwhile: the
//! answer comes later, and within a transaction, where nothing may wait, it is what there is at that moment.

use super::{Arg, Args, Ctx, Flags, Outcome, Spec};
use crate::core::Role;
use crate::log::Log;
use crate::resp::{Error, Reply};
use crate::session::Later;
use crate::store::log::logged;
use std::sync::Arc;
use std::time::Duration;

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "wait",
        arity: 3,
        flags: Flags::NOSCRIPT,
        since: "3.0.0",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
        args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: wait,
        ..Spec::DEFAULT
    },
    Spec {
        name: "waitaof",
        arity: 4,
        flags: Flags::NOSCRIPT,
        since: "7.2.0",
        summary: "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the master and/or replicas.",
        args: &[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: waitaof,
        ..Spec::DEFAULT
    },
];

/// How long a client waits: `None` is for ever.
fn timeout(args: Args<'_>, at: usize) -> Result<Option<Duration>, Error> {
    let ms = args.int(at).map_err(|_| Error::err("timeout is not an integer or out of range"))?;
    match u64::try_from(ms) {
        Ok(0) => Ok(None),
        Ok(ms) => Ok(Some(Duration::from_millis(ms))),
        Err(_) => Err(Error::err("timeout is negative")),
    }
}

/// Returns once so many replicas have acknowledged a batch, or the time is up; says how many have.
async fn acknowledged(log: &Log, batch: u64, replicas: usize, limit: Option<Duration>) -> usize {
    let enough =
        log.until_acked(batch, |log| Some(log.count_acked(batch)).filter(|count| *count >= replicas));
    match limit {
        None => enough.await,
        Some(limit) => tokio::time::timeout(limit, enough).await.unwrap_or_else(|_| log.count_acked(batch)),
    }
}

/// `WAIT numreplicas timeout`
fn wait(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if ctx.core.role() != Role::Primary {
        return Err(Error::err(
            "WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let replicas = args.int(1)?;
    let limit = timeout(args, 2)?;
    // A negative number is reached at once.
    let replicas = usize::try_from(replicas.max(0)).unwrap_or(usize::MAX);
    let batch = ctx.session.written.max(logged());
    let count = ctx.core.log.count_acked(batch);
    if count >= replicas || ctx.session.in_exec {
        ctx.out.int(count as i64);
        return Ok(());
    }
    let log = Arc::clone(&ctx.core.log);
    ctx.session.later = Some(Later(Box::pin(async move {
        let count = acknowledged(&log, batch, replicas, limit).await;
        Box::new(move |out: &mut Reply| {
            out.int(count as i64);
            Ok(())
        }) as _
    })));
    Ok(())
}

/// `WAITAOF numlocal numreplicas timeout`: no node has an append-only file, so nothing is ever written to one.
fn waitaof(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let local = args.int(1)?;
    if !(0..=1).contains(&local) {
        return Err(Error::err("value is out of range, value must between 0 and 1"));
    }
    let replicas = args.int(2)?;
    if replicas < 0 {
        return Err(Error::OutOfRangePositive);
    }
    let limit = timeout(args, 3)?;
    if ctx.core.role() != Role::Primary {
        return Err(Error::err(
            "WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        ));
    }
    if local > 0 {
        return Err(Error::err("WAITAOF cannot be used when numlocal is set but appendonly is disabled."));
    }
    if replicas == 0 || ctx.session.in_exec {
        none_written(ctx.out);
        return Ok(());
    }
    ctx.session.later = Some(Later(Box::pin(async move {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
        Box::new(|out: &mut Reply| {
            none_written(out);
            Ok(())
        }) as _
    })));
    Ok(())
}

fn none_written(out: &mut Reply) {
    out.array(2);
    out.int(0);
    out.int(0);
}

#[cfg(test)]
mod tests {
    use super::super::desk::Desk;
    use crate::log::{FollowerOut, Wanted};
    use crate::resp::{Reply, Resp};
    use capstan_proto::ids::{Incarnation, NodeId, ShardEpoch, SpawnToken};

    #[test]
    fn what_is_wrong_is_said_in_redis_words() {
        let mut desk = Desk::new();
        for (text, want) in [
            ("WAIT x 0", "-ERR value is not an integer or out of range"),
            ("WAIT 0 x", "-ERR timeout is not an integer or out of range"),
            ("WAIT 0 -1", "-ERR timeout is negative"),
            ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
            ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive"),
            ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
            ("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
        ] {
            assert_eq!(desk.say(text), format!("{want}\\r\\n"), "{text}");
        }
    }

    #[test]
    fn nobody_is_waited_for_when_nobody_is_asked_for_and_nothing_waits_in_a_transaction() {
        let mut desk = Desk::new();
        assert_eq!(desk.say("WAIT 0 0"), ":0\\r\\n");
        assert_eq!(desk.say("WAIT -1 0"), ":0\\r\\n");
        assert_eq!(desk.say("WAITAOF 0 0 0"), "*2\\r\\n:0\\r\\n:0\\r\\n");
        desk.session.in_exec = true;
        assert_eq!(desk.say("WAIT 5 0"), ":0\\r\\n");
        assert_eq!(desk.say("WAITAOF 0 5 0"), "*2\\r\\n:0\\r\\n:0\\r\\n");
    }

    async fn answer(desk: &mut Desk) -> String {
        let later = desk.session.later.take().expect("it waits");
        let mut out = Reply::over(Vec::new(), Resp::Two);
        later.0.await(&mut out).expect("no error");
        out.bytes().escape_ascii().to_string()
    }

    #[tokio::test]
    async fn wait_answers_when_enough_replicas_have_the_last_write_of_this_connection_or_the_time_is_up() {
        let mut desk = Desk::new();
        let log = desk.core.log.clone();
        log.open_epoch(ShardEpoch(1));
        log.set_wanted(Wanted::Yes);
        let life = Incarnation { counter: 1, token: SpawnToken([0; 16]) };
        let follower = log.follow(NodeId([1; 20]), life, FollowerOut::new(tokio::io::sink()));
        crate::store::log::take_logged();
        assert_eq!(desk.say("SET a 1"), "+OK\\r\\n");
        log.drain();
        assert_eq!(desk.say("WAIT 1 5"), "");
        assert_eq!(answer(&mut desk).await, ":0\\r\\n", "the time is up");
        assert_eq!(desk.say("WAIT 1 0"), "");
        follower.acked(log.last().batch.0, 0);
        assert_eq!(answer(&mut desk).await, ":1\\r\\n");
        assert_eq!(desk.say("WAIT 1 0"), ":1\\r\\n", "at once");
        assert_eq!(desk.say("WAITAOF 0 1 5"), "");
        assert_eq!(answer(&mut desk).await, "*2\\r\\n:0\\r\\n:0\\r\\n");
    }
}
