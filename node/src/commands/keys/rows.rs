//! The rows of the commands about keys of any type and about whole databases.

use super::{object, place, scan, single, whole};
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::WHOLE_VALUE),
        keys: Keys::TWO,
        since: "6.2.0",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
        summary: "Copies the value of a key to a new key.",
        args: &[
            Arg::key("source"),
            Arg::key("destination"),
            Arg::integer("destination-db").with_token("DB").optional(),
            Arg::word("replace", "REPLACE").optional(),
        ],
        run: place::copy,
        ..Spec::DEFAULT
    },
    Spec {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys::ALL,
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
        summary: "Deletes one or more keys.",
        args: &[Arg::key("key").multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: single::del,
        ..Spec::DEFAULT
    },
    Spec {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ALL,
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Determines whether one or more keys exist.",
        args: &[Arg::key("key").multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        history: &[("3.0.3", "Accepts multiple `key` arguments.")],
        run: single::exists,
        ..Spec::DEFAULT
    },
    Spec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY.and(Flags::LONG).and(Flags::WHOLE_NODE),
        complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.",
        summary: "Returns all key names that match a pattern.",
        args: &[Arg::new("pattern", ArgKind::Pattern)],
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: scan::keys,
        ..Spec::DEFAULT
    },
    Spec {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::WHOLE_VALUE),
        keys: Keys::ONE,
        summary: "Moves a key to another database.",
        args: &[Arg::key("key"), Arg::integer("db")],
        run: place::move_key,
        ..Spec::DEFAULT
    },
    Spec {
        name: "object",
        arity: -2,
        since: "2.2.3",
        complexity: "Depends on subcommand.",
        summary: "A container for object introspection commands.",
        subcommands: &[
            Spec {
                name: "encoding",
                container: "object",
                arity: 3,
                flags: Flags::READONLY,
                keys: Keys::Range { first: 2, last: 2, step: 1 },
                since: "2.2.3",
                summary: "Returns the internal encoding of a Redis object.",
                args: &[Arg::key("key")],
                tips: &["nondeterministic_output"],
                run: object::encoding,
                ..Spec::DEFAULT
            },
            Spec {
                name: "freq",
                container: "object",
                arity: 3,
                flags: Flags::READONLY,
                keys: Keys::Range { first: 2, last: 2, step: 1 },
                since: "4.0.0",
                summary: "Returns the logarithmic access frequency counter of a Redis object.",
                args: &[Arg::key("key")],
                tips: &["nondeterministic_output"],
                run: object::freq,
                ..Spec::DEFAULT
            },
            Spec {
                name: "help",
                container: "object",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "6.2.0",
                summary: "Returns helpful text about the different subcommands.",
                run: object::help,
                ..Spec::DEFAULT
            },
            Spec {
                name: "idletime",
                container: "object",
                arity: 3,
                flags: Flags::READONLY,
                keys: Keys::Range { first: 2, last: 2, step: 1 },
                since: "2.2.3",
                summary: "Returns the time since the last access to a Redis object.",
                args: &[Arg::key("key")],
                tips: &["nondeterministic_output"],
                run: object::idletime,
                ..Spec::DEFAULT
            },
            Spec {
                name: "refcount",
                container: "object",
                arity: 3,
                flags: Flags::READONLY,
                keys: Keys::Range { first: 2, last: 2, step: 1 },
                since: "2.2.3",
                summary: "Returns the reference count of a value of a key.",
                args: &[Arg::key("key")],
                tips: &["nondeterministic_output"],
                run: object::refcount,
                ..Spec::DEFAULT
            },
        ],
        ..Spec::DEFAULT
    },
    Spec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY.and(Flags::WHOLE_NODE),
        summary: "Returns a random key name from the database.",
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        run: scan::randomkey,
        ..Spec::DEFAULT
    },
    Spec {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE.and(Flags::WHOLE_VALUE),
        keys: Keys::TWO,
        summary: "Renames a key and overwrites the destination.",
        args: &[Arg::key("key"), Arg::key("newkey")],
        run: place::rename,
        ..Spec::DEFAULT
    },
    Spec {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::WHOLE_VALUE),
        keys: Keys::TWO,
        summary: "Renames a key only when the target key name doesn't exist.",
        args: &[Arg::key("key"), Arg::key("newkey")],
        history: &[(
            "3.2.0",
            "The command no longer returns an error when source and destination names are the same.",
        )],
        run: place::renamenx,
        ..Spec::DEFAULT
    },
    Spec {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY.and(Flags::WHOLE_NODE),
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over the key names in the database.",
        args: &[
            Arg::integer("cursor"),
            Arg::new("pattern", ArgKind::Pattern).with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
            Arg::string("type").with_token("TYPE").since("6.0.0").optional(),
        ],
        tips: &["nondeterministic_output", "request_policy:special"],
        history: &[("6.0.0", "Added the `TYPE` subcommand.")],
        run: scan::scan,
        ..Spec::DEFAULT
    },
    Spec {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ALL,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys that will be touched.",
        summary: "Returns the number of existing keys out of those specified after updating the time they were last accessed.",
        args: &[Arg::key("key").multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: single::touch,
        ..Spec::DEFAULT
    },
    Spec {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        summary: "Determines the type of value stored at a key.",
        args: &[Arg::key("key")],
        run: single::kind,
        ..Spec::DEFAULT
    },
    Spec {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ALL,
        since: "4.0.0",
        complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
        summary: "Asynchronously deletes one or more keys.",
        args: &[Arg::key("key").multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: single::unlink,
        ..Spec::DEFAULT
    },
    Spec {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::WHOLE_NODE),
        group: Group::Server,
        summary: "Returns the number of keys in the database.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: whole::dbsize,
        ..Spec::DEFAULT
    },
    Spec {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE.and(Flags::WHOLE_NODE),
        group: Group::Server,
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        args: &[Arg::one_of(
            "async",
            &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
        )
        .optional()],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        run: whole::flushall,
        ..Spec::DEFAULT
    },
    Spec {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE.and(Flags::WHOLE_NODE),
        group: Group::Server,
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Remove all keys from the current database.",
        args: &[Arg::one_of(
            "async",
            &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
        )
        .optional()],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        run: whole::flushdb,
        ..Spec::DEFAULT
    },
    Spec {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::WHOLE_NODE),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Swaps two Redis databases.",
        args: &[Arg::integer("index1"), Arg::integer("index2")],
        run: whole::swapdb,
        ..Spec::DEFAULT
    },
];
