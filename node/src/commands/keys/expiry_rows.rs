//! The rows of the commands about when keys expire.

use super::expire;
use crate::commands::table::{Arg, ArgKind, Flags, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        summary: "Sets the expiration time of a key in seconds.",
        args: &[
            Arg::key("key"),
            Arg::integer("seconds"),
            Arg::one_of(
                "condition",
                &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ],
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        run: expire::expire,
        ..Spec::DEFAULT
    },
    Spec {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        since: "1.2.0",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        args: &[
            Arg::key("key"),
            Arg::new("unix-time-seconds", ArgKind::UnixTime),
            Arg::one_of(
                "condition",
                &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ],
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        run: expire::expireat,
        ..Spec::DEFAULT
    },
    Spec {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        args: &[Arg::key("key")],
        run: expire::expiretime,
        ..Spec::DEFAULT
    },
    Spec {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        since: "2.2.0",
        summary: "Removes the expiration time of a key.",
        args: &[Arg::key("key")],
        run: expire::persist,
        ..Spec::DEFAULT
    },
    Spec {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        since: "2.6.0",
        summary: "Sets the expiration time of a key in milliseconds.",
        args: &[
            Arg::key("key"),
            Arg::integer("milliseconds"),
            Arg::one_of(
                "condition",
                &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ],
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        run: expire::pexpire,
        ..Spec::DEFAULT
    },
    Spec {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        since: "2.6.0",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        args: &[
            Arg::key("key"),
            Arg::new("unix-time-milliseconds", ArgKind::UnixTime),
            Arg::one_of(
                "condition",
                &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ],
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        run: expire::pexpireat,
        ..Spec::DEFAULT
    },
    Spec {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        args: &[Arg::key("key")],
        run: expire::pexpiretime,
        ..Spec::DEFAULT
    },
    Spec {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        since: "2.6.0",
        summary: "Returns the expiration time in milliseconds of a key.",
        args: &[Arg::key("key")],
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "Added the -2 reply.")],
        run: expire::pttl,
        ..Spec::DEFAULT
    },
    Spec {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        summary: "Returns the expiration time in seconds of a key.",
        args: &[Arg::key("key")],
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "Added the -2 reply.")],
        run: expire::ttl,
        ..Spec::DEFAULT
    },
];
