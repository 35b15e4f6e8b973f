//! Redis' own replication protocol and the commands that configure it: here the cluster state says who follows whom, and
//! replicas follow by a protocol of their own. Each of these words is known, and answered by what does it here.

use super::{Arg, Args, Ctx, Flags, Group, Outcome, Spec};
use crate::resp::Error;

const BASE: Spec = Spec {
    group: Group::Server,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    ..Spec::DEFAULT
};

const STREAM: Spec =
    Spec { flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_MULTI), run: no_stream, ..BASE };

const FOLLOW: Spec =
    Spec { arity: 3, args: &[Arg::string("host"), Arg::integer("port")], run: not_in_a_cluster, ..BASE };

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "failover",
        arity: -1,
        since: "6.2.0",
        summary: "Starts a coordinated failover from a server to one of its replicas.",
        run: not_in_a_cluster,
        ..BASE
    },
    Spec {
        name: "psync",
        arity: -3,
        since: "2.8.0",
        summary: "An internal command used in replication.",
        args: &[Arg::string("replicationid"), Arg::integer("offset")],
        ..STREAM
    },
    Spec {
        name: "replconf",
        arity: -1,
        flags: BASE.flags.and(Flags::LOADING).and(Flags::ALLOW_BUSY),
        since: "3.0.0",
        summary: "An internal command for configuring the replication stream.",
        ..STREAM
    },
    Spec {
        name: "replicaof",
        since: "5.0.0",
        summary: "Configures a server as replica of another, or promotes it to a master.",
        ..FOLLOW
    },
    Spec {
        name: "slaveof",
        since: "1.0.0",
        summary: "Sets a Redis server as a replica of another, or promotes it to being a master.",
        ..FOLLOW
    },
    Spec {
        name: "sync",
        arity: 1,
        since: "1.0.0",
        summary: "An internal command used in replication.",
        ..STREAM
    },
];

/// As Redis in cluster mode says it.
fn not_in_a_cluster(_: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let name = String::from_utf8_lossy(args.at(0)).to_ascii_uppercase();
    Err(Error::err(format!("{name} not allowed in cluster mode.")))
}

fn no_stream(_: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    Err(Error::err(
        "this node does not speak Redis' replication protocol: a replica is a Capstan node of the same cluster",
    ))
}

#[cfg(test)]
mod tests {
    use crate::commands::desk::Desk;

    #[test]
    fn the_words_of_another_replication_are_known_and_refused() {
        let mut desk = Desk::new();
        for words in ["psync ? -1", "replconf listening-port 1", "sync"] {
            let told = desk.say(words);
            assert!(
                told.starts_with("-ERR this node does not speak Redis\\' replication"),
                "{words}: {told}"
            );
        }
        for (words, name) in
            [("replicaof no one", "REPLICAOF"), ("slaveof h 1", "SLAVEOF"), ("failover", "FAILOVER")]
        {
            assert_eq!(desk.say(words), format!("-ERR {name} not allowed in cluster mode.\\r\\n"));
        }
    }
}
