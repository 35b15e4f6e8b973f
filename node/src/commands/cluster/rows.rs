//! The rows of CLUSTER's subcommands and of READONLY, READWRITE and ASKING.

use super::super::table::ArgKind;
use super::super::{Arg, Flags, Group, Spec};

const STALE: Flags = Flags::STALE;
const ADMIN: Flags = Flags::STALE.and(Flags::ADMIN);
/// Looks into one slot that no argument names as a key.
const PEEK: Flags = Flags::STALE.and(Flags::WHOLE_NODE);
const VARIES: &[&str] = &["nondeterministic_output"];
const NODE_ID: &[Arg] = &[Arg::string("node-id")];
const SLOT_LIST: &[Arg] = &[Arg::integer("slot").multiple()];
const RANGE_LIST: &[Arg] =
    &[Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()];

const BASE: Spec = Spec {
    container: "cluster",
    arity: 2,
    flags: STALE,
    group: Group::Cluster,
    since: "3.0.0",
    ..Spec::DEFAULT
};

/// A verb that changes the cluster.
const CHANGE: Spec = Spec { flags: ADMIN, run: super::admin_only, ..BASE };

const WORD: Spec = Spec {
    container: "",
    arity: 1,
    flags: Flags::FAST,
    group: Group::Connection,
    since: "3.0.0",
    ..Spec::DEFAULT
};

/// The family.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "asking",
        group: Group::Cluster,
        summary: "Signals that a cluster client is following an -ASK redirect.",
        run: super::asking,
        ..WORD
    },
    Spec {
        name: "cluster",
        container: "",
        arity: -2,
        flags: Flags::NONE,
        complexity: "Depends on subcommand.",
        summary: "A container for Redis Cluster commands.",
        subcommands: SUBCOMMANDS,
        ..BASE
    },
    Spec {
        name: "readonly",
        group: Group::Cluster,
        flags: Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        summary: "Enables read-only queries for a connection to a Redis Cluster replica node.",
        run: super::readonly,
        ..WORD
    },
    Spec {
        name: "readwrite",
        group: Group::Cluster,
        flags: Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        summary: "Enables read-write queries for a connection to a Redis Cluster replica node.",
        run: super::readwrite,
        ..WORD
    },
];

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "addslots",
        arity: -3,
        complexity: "O(N) where N is the total number of hash slot arguments",
        summary: "Assigns new hash slots to a node.",
        args: SLOT_LIST,
        ..CHANGE
    },
    Spec {
        name: "addslotsrange",
        arity: -4,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        summary: "Assigns new hash slot ranges to a node.",
        args: RANGE_LIST,
        ..CHANGE
    },
    Spec { name: "bumpepoch", summary: "Advances the cluster config epoch.", tips: VARIES, ..CHANGE },
    Spec {
        name: "count-failure-reports",
        arity: 3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of failure reports",
        summary: "Returns the number of active failure reports active for a node.",
        args: NODE_ID,
        tips: VARIES,
        run: super::count_failure_reports,
        ..BASE
    },
    Spec {
        name: "countkeysinslot",
        arity: 3,
        flags: PEEK,
        summary: "Returns the number of keys in a hash slot.",
        args: &[Arg::integer("slot")],
        run: super::countkeysinslot,
        ..BASE
    },
    Spec {
        name: "delslots",
        arity: -3,
        complexity: "O(N) where N is the total number of hash slot arguments",
        summary: "Sets hash slots as unbound for a node.",
        args: SLOT_LIST,
        ..CHANGE
    },
    Spec {
        name: "delslotsrange",
        arity: -4,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        summary: "Sets hash slot ranges as unbound for a node.",
        args: RANGE_LIST,
        ..CHANGE
    },
    Spec {
        name: "failover",
        arity: -2,
        summary: "Forces a replica to perform a manual failover of its master.",
        args: &[Arg::one_of("options", &[Arg::word("force", "FORCE"), Arg::word("takeover", "TAKEOVER")])
            .optional()],
        run: super::failover::run,
        ..CHANGE
    },
    Spec { name: "flushslots", summary: "Deletes all slots information from a node.", ..CHANGE },
    Spec {
        name: "forget",
        arity: 3,
        summary: "Removes a node from the nodes table.",
        args: NODE_ID,
        ..CHANGE
    },
    Spec {
        name: "getkeysinslot",
        arity: 4,
        flags: PEEK,
        complexity: "O(N) where N is the number of requested keys",
        summary: "Returns the key names in a hash slot.",
        args: &[Arg::integer("slot"), Arg::integer("count")],
        tips: VARIES,
        run: super::getkeysinslot,
        ..BASE
    },
    Spec {
        name: "help",
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        run: super::show_help,
        ..BASE
    },
    Spec {
        name: "info",
        summary: "Returns information about the state of a node.",
        tips: VARIES,
        run: super::info,
        ..BASE
    },
    Spec {
        name: "keyslot",
        arity: 3,
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the hash slot for a key.",
        args: &[Arg::string("key")],
        run: super::keyslot,
        ..BASE
    },
    Spec {
        name: "links",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns a list of all TCP links to and from peer nodes.",
        tips: VARIES,
        run: super::links,
        ..BASE
    },
    Spec {
        name: "meet",
        arity: -4,
        summary: "Forces a node to handshake with another node.",
        args: &[
            Arg::string("ip"),
            Arg::integer("port"),
            Arg::integer("cluster-bus-port").since("4.0.0").optional(),
        ],
        history: &[("4.0.0", "Added the optional `cluster_bus_port` argument.")],
        ..CHANGE
    },
    Spec { name: "myid", summary: "Returns the ID of a node.", run: super::myid, ..BASE },
    Spec {
        name: "myshardid",
        since: "7.2.0",
        summary: "Returns the shard ID of a node.",
        tips: VARIES,
        run: super::myshardid,
        ..BASE
    },
    Spec {
        name: "nodes",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the cluster configuration for a node.",
        tips: VARIES,
        run: super::nodes,
        ..BASE
    },
    Spec {
        name: "replicas",
        arity: 3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(N) where N is the number of replicas.",
        summary: "Lists the replica nodes of a master node.",
        args: NODE_ID,
        tips: VARIES,
        run: super::replicas,
        ..BASE
    },
    Spec {
        name: "replicate",
        arity: 3,
        summary: "Configure a node as replica of a master node.",
        args: NODE_ID,
        run: super::replicate::run,
        ..CHANGE
    },
    Spec {
        name: "reset",
        arity: -2,
        flags: ADMIN.and(Flags::NOSCRIPT),
        complexity: "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        summary: "Resets a node.",
        args: &[Arg::one_of("reset-type", &[Arg::word("hard", "HARD"), Arg::word("soft", "SOFT")]).optional()],
        ..CHANGE
    },
    Spec {
        name: "saveconfig",
        flags: ADMIN,
        summary: "Forces a node to save the cluster configuration to disk.",
        run: super::ok,
        ..BASE
    },
    Spec {
        name: "set-config-epoch",
        arity: 3,
        summary: "Sets the configuration epoch for a new node.",
        args: &[Arg::integer("config-epoch")],
        ..CHANGE
    },
    Spec {
        name: "setslot",
        arity: -4,
        summary: "Binds a hash slot to a node.",
        args: &[
            Arg::integer("slot"),
            Arg::one_of(
                "subcommand",
                &[
                    Arg::string("importing").with_token("IMPORTING"),
                    Arg::string("migrating").with_token("MIGRATING"),
                    Arg::string("node").with_token("NODE"),
                    Arg::new("stable", ArgKind::PureToken).with_token("STABLE"),
                ],
            ),
        ],
        ..CHANGE
    },
    Spec {
        name: "shards",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of cluster nodes",
        summary: "Returns the mapping of cluster slots to shards.",
        tips: VARIES,
        run: super::shards,
        ..BASE
    },
    Spec {
        name: "slaves",
        arity: 3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of replicas.",
        summary: "Lists the replica nodes of a master node.",
        args: NODE_ID,
        tips: VARIES,
        run: super::replicas,
        ..BASE
    },
    Spec {
        name: "slots",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns the mapping of cluster slots to nodes.",
        tips: VARIES,
        history: &[("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")],
        run: super::slots,
        ..BASE
    },
];
