//! The rows of the string family.

use super::{counter, longest, range, read, write};
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "append",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        args: &[Arg::key("key"), Arg::string("value")],
        run: range::append,
        ..Spec::DEFAULT
    },
    Spec {
        name: "decr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        args: &[Arg::key("key")],
        run: counter::decr,
        ..Spec::DEFAULT
    },
    Spec {
        name: "decrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        args: &[Arg::key("key"), Arg::integer("decrement")],
        run: counter::decrby,
        ..Spec::DEFAULT
    },
    Spec {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Returns the string value of a key.",
        args: &[Arg::key("key")],
        run: read::get,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        since: "6.2.0",
        summary: "Returns the string value of a key after deleting the key.",
        args: &[Arg::key("key")],
        run: write::getdel,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        since: "6.2.0",
        summary: "Returns the string value of a key after setting its expiration time.",
        args: &[
            Arg::key("key"),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").with_token("EX"),
                    Arg::integer("milliseconds").with_token("PX"),
                    Arg::new("unix-time-seconds", ArgKind::UnixTime).with_token("EXAT"),
                    Arg::new("unix-time-milliseconds", ArgKind::UnixTime).with_token("PXAT"),
                    Arg::word("persist", "PERSIST"),
                ],
            )
            .optional(),
        ],
        run: write::getex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
        summary: "Returns a substring of the string stored at a key.",
        args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
        run: read::getrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getset",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Returns the previous string value of a key after setting it to a new value.",
        args: &[Arg::key("key"), Arg::string("value")],
        run: write::getset,
        ..Spec::DEFAULT
    },
    Spec {
        name: "incr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        args: &[Arg::key("key")],
        run: counter::incr,
        ..Spec::DEFAULT
    },
    Spec {
        name: "incrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        args: &[Arg::key("key"), Arg::integer("increment")],
        run: counter::incrby,
        ..Spec::DEFAULT
    },
    Spec {
        name: "incrbyfloat",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.6.0",
        summary: "Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        args: &[Arg::key("key"), Arg::new("increment", ArgKind::Double)],
        run: counter::incrbyfloat,
        ..Spec::DEFAULT
    },
    Spec {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY.and(Flags::LONG),
        keys: Keys::TWO,
        group: Group::String,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        summary: "Finds the longest common substring.",
        args: &[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::word("len", "LEN").optional(),
            Arg::word("idx", "IDX").optional(),
            Arg::integer("len").with_token("MINMATCHLEN").optional(),
            Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
        ],
        run: longest::lcs,
        ..Spec::DEFAULT
    },
    Spec {
        name: "mget",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ALL,
        group: Group::String,
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Atomically returns the string values of one or more keys.",
        args: &[Arg::key("key").multiple()],
        tips: &["request_policy:multi_shard"],
        run: read::mget,
        ..Spec::DEFAULT
    },
    Spec {
        name: "mset",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::PAIRS,
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        args: &[Arg::block("key_value", &[Arg::key("key"), Arg::string("value")]).multiple()],
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: write::mset,
        ..Spec::DEFAULT
    },
    Spec {
        name: "msetnx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::PAIRS,
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
        args: &[Arg::block("key_value", &[Arg::key("key"), Arg::string("value")]).multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        run: write::msetnx,
        ..Spec::DEFAULT
    },
    Spec {
        name: "psetex",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.6.0",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.",
        args: &[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")],
        run: write::psetex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        args: &[
            Arg::key("key"),
            Arg::string("value"),
            Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")])
                .since("2.6.12")
                .optional(),
            Arg::word("get", "GET").since("6.2.0").optional(),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").with_token("EX").since("2.6.12"),
                    Arg::integer("milliseconds").with_token("PX").since("2.6.12"),
                    Arg::new("unix-time-seconds", ArgKind::UnixTime).with_token("EXAT").since("6.2.0"),
                    Arg::new("unix-time-milliseconds", ArgKind::UnixTime).with_token("PXAT").since("6.2.0"),
                    Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ],
        history: &[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
        ],
        run: write::set,
        ..Spec::DEFAULT
    },
    Spec {
        name: "setex",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.0.0",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        args: &[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")],
        run: write::setex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "setnx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        summary: "Set the string value of a key only when the key doesn't exist.",
        args: &[Arg::key("key"), Arg::string("value")],
        run: write::setnx,
        ..Spec::DEFAULT
    },
    Spec {
        name: "setrange",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        args: &[Arg::key("key"), Arg::integer("offset"), Arg::string("value")],
        run: range::setrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "strlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::String,
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        args: &[Arg::key("key")],
        run: read::strlen,
        ..Spec::DEFAULT
    },
    Spec {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::String,
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
        summary: "Returns a substring from a string value.",
        args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
        run: read::getrange,
        ..Spec::DEFAULT
    },
];
