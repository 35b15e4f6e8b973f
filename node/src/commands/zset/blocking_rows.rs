//! The rows of the sorted set family that wait for elements.

use super::blocking;
use crate::commands::key_count;
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: Keys::Custom { find: key_count::second, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and return members with scores in a sorted set or block until one is available.",
        args: &[
            Arg::new("timeout", ArgKind::Double),
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
            Arg::integer("count").with_token("COUNT").optional(),
        ],
        run: blocking::bzmpop,
        ..Spec::DEFAULT
    },
    Spec {
        name: "bzpopmax",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING).and(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and return the member with the highest score from one or more sorted sets, or block until one is available.",
        args: &[Arg::key("key").multiple(), Arg::new("timeout", ArgKind::Double)],
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        run: blocking::bzpopmax,
        ..Spec::DEFAULT
    },
    Spec {
        name: "bzpopmin",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING).and(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and return the member with the lowest score from one or more sorted sets, or block until one is available.",
        args: &[Arg::key("key").multiple(), Arg::new("timeout", ArgKind::Double)],
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        run: blocking::bzpopmin,
        ..Spec::DEFAULT
    },
];
