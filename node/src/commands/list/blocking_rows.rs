//! The rows of the list family that wait for elements.

use super::blocking;
use crate::commands::key_count;
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: Keys::TWO,
        group: Group::List,
        since: "6.2.0",
        summary: "Pops an element from a list, push it to another list and return it; or block until one is available.",
        args: &[
            Arg::key("source"),
            Arg::key("destination"),
            Arg::one_of("wherefrom", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
            Arg::one_of("whereto", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
            Arg::new("timeout", ArgKind::Double),
        ],
        run: blocking::blmove,
        ..Spec::DEFAULT
    },
    Spec {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: Keys::Custom { find: key_count::second, shown: (0, 0, 0) },
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Pops elements from a list, or block until one is available.",
        args: &[
            Arg::new("timeout", ArgKind::Double),
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::one_of("where", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
            Arg::integer("count").with_token("COUNT").optional(),
        ],
        run: blocking::blmpop,
        ..Spec::DEFAULT
    },
    Spec {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and get the first element in a list, or block until one is available.",
        args: &[Arg::key("key").multiple(), Arg::new("timeout", ArgKind::Double)],
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        run: blocking::blpop,
        ..Spec::DEFAULT
    },
    Spec {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and get the last element in a list, or block until one is available.",
        args: &[Arg::key("key").multiple(), Arg::new("timeout", ArgKind::Double)],
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        run: blocking::brpop,
        ..Spec::DEFAULT
    },
    Spec {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: Keys::TWO,
        group: Group::List,
        since: "2.2.0",
        summary: "Pops an element from a list, push it to another list and return it; or block until one is available.",
        args: &[Arg::key("source"), Arg::key("destination"), Arg::new("timeout", ArgKind::Double)],
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        run: blocking::brpoplpush,
        ..Spec::DEFAULT
    },
];
