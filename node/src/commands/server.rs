//! The node as a whole: INFO, TIME, ROLE, SHUTDOWN.

use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec};
use crate::core::Role;
use crate::info::replication::ReplicationFacts;
use crate::info::{self, facts::Facts, text};
use crate::resp::Error;
use crate::stopping::Hurry;
use crate::store::lane::{DatabaseCount, LaneStats};

/// What every row of this family has in common.
const BASE: Spec = Spec { group: Group::Server, ..Spec::DEFAULT };

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "info",
        arity: -1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::WHOLE_NODE),
        summary: "Returns information and statistics about the server.",
        args: &[Arg::string("section").optional().multiple()],
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        history: &[("7.0.0", "Added support for taking multiple section arguments.")],
        run: show_info,
        ..BASE
    },
    Spec {
        name: "role",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ADMIN),
        since: "2.8.12",
        summary: "Returns the replication role.",
        run: role,
        ..BASE
    },
    Spec {
        name: "shutdown",
        arity: -1,
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        summary: "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        args: &[
            Arg::one_of("save-selector", &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")])
                .optional(),
            Arg::word("now", "NOW").since("7.0.0").optional(),
            Arg::word("force", "FORCE").since("7.0.0").optional(),
            Arg::word("abort", "ABORT").since("7.0.0").optional(),
        ],
        history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
        run: shutdown,
        ..BASE
    },
    Spec {
        name: "time",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        since: "2.6.0",
        summary: "Returns the server time.",
        tips: &["nondeterministic_output"],
        run: time,
        ..BASE
    },
];

fn show_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let sections = info::wanted(args.from(1));
    let mut lanes = LaneStats::default();
    let mut databases = vec![DatabaseCount::default(); ctx.core.lanes.databases()];
    ctx.data.each_lane(|lane| {
        lanes.hits += lane.stats.hits;
        lanes.misses += lane.stats.misses;
        lanes.expired += lane.stats.expired;
        for (sum, database) in databases.iter_mut().zip(lane.databases()) {
            sum.keys += database.keys;
            sum.expiring += database.expiring;
        }
    });
    let facts = Facts::collect(ctx.core, lanes, databases);
    ctx.out.verbatim(*b"txt", text::print(&facts, &sections).as_bytes());
    Ok(())
}

fn time(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let micros = ctx.core.env.clock.wall().0 * 1000;
    ctx.out.array(2);
    ctx.out.bulk((micros / 1_000_000).to_string().as_bytes());
    ctx.out.bulk((micros % 1_000_000).to_string().as_bytes());
    Ok(())
}

fn role(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let facts = ReplicationFacts::collect(ctx.core);
    let offset = |batch: u64| i64::try_from(batch).unwrap_or(i64::MAX);
    match &facts.role {
        Role::Primary => {
            ctx.out.array(3);
            ctx.out.bulk(facts.role.word_of_old().as_bytes());
            ctx.out.int(offset(facts.offset));
            ctx.out.array(facts.followers.len());
            for follower in &facts.followers {
                ctx.out.array(3);
                ctx.out.bulk(follower.ip.as_bytes());
                ctx.out.bulk(follower.port.to_string().as_bytes());
                ctx.out.bulk(follower.offset.to_string().as_bytes());
            }
        }
        Role::Replica { host, port } => {
            ctx.out.array(5);
            ctx.out.bulk(facts.role.word_of_old().as_bytes());
            ctx.out.bulk(host.as_bytes());
            ctx.out.int((*port).into());
            ctx.out.bulk(facts.link_state().as_bytes());
            ctx.out.int(offset(facts.offset));
        }
    }
    Ok(())
}

fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
    for at in 1..args.len() {
        match () {
            () if args.is(at, "save") => save = true,
            () if args.is(at, "nosave") => nosave = true,
            () if args.is(at, "now") => now = true,
            // Overrules what would speak against stopping; a node that keeps nothing on disk has no such thing.
            () if args.is(at, "force") => force = true,
            () if args.is(at, "abort") => abort = true,
            () => return Err(Error::Syntax),
        }
    }
    if save && nosave || abort && (save || nosave || now || force) {
        return Err(Error::Syntax);
    }
    if abort {
        return Err(Error::err("No shutdown in progress."));
    }
    if save {
        // Saying yes would promise what cannot be kept: a node keeps no data on disk yet.
        return Err(Error::err(
            "SAVE is not possible: this node keeps no data on disk. Use SHUTDOWN NOSAVE.",
        ));
    }
    tracing::info!(client = ctx.session.client.as_ref().map(|client| client.id), "SHUTDOWN");
    // As in Redis nothing is answered: the connection just ends.
    ctx.session.closing = true;
    ctx.core.stopping.shut_down(if now { Hurry::Yes } else { Hurry::No });
    Ok(())
}
