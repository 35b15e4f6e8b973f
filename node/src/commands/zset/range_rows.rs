//! The rows of the sorted set family: ranges, and several sets together.

use super::{algebra, range};
use crate::commands::key_count;
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "zdiff",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::first, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Subtracts multiple sorted sets.",
        args: &[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::word("withscores", "WITHSCORES").optional(),
        ],
        run: algebra::zdiff,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zdiffstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::after_destination, shown: (1, 1, 1) },
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Subtracts multiple sorted sets and store the resulting sorted set in a new key.",
        args: &[Arg::key("destination"), Arg::integer("numkeys"), Arg::key("key").multiple()],
        run: algebra::zdiffstore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zinter",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::first, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Intersects multiple sorted sets.",
        args: &[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("weight").with_token("WEIGHTS").optional().multiple(),
            Arg::one_of(
                "aggregate",
                &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")],
            )
            .with_token("AGGREGATE")
            .optional(),
            Arg::word("withscores", "WITHSCORES").optional(),
        ],
        run: algebra::zinter,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zintercard",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::first, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Intersects multiple sorted sets and return the cardinality of the result.",
        args: &[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("limit").with_token("LIMIT").optional(),
        ],
        run: algebra::zintercard,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zinterstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::after_destination, shown: (1, 1, 1) },
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Intersects multiple sorted sets and store the resulting sorted set in a new key.",
        args: &[
            Arg::key("destination"),
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("weight").with_token("WEIGHTS").optional().multiple(),
            Arg::one_of(
                "aggregate",
                &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")],
            )
            .with_token("AGGREGATE")
            .optional(),
        ],
        run: algebra::zinterstore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns a range of members in a sorted set.",
        args: &[
            Arg::key("key"),
            Arg::string("start"),
            Arg::string("stop"),
            Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")])
                .since("6.2.0")
                .optional(),
            Arg::word("rev", "REV").since("6.2.0").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .since("6.2.0")
                .optional(),
            Arg::word("withscores", "WITHSCORES").optional(),
        ],
        history: &[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")],
        run: range::zrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns a range of members in a sorted set, by lexicographical range.",
        args: &[
            Arg::key("key"),
            Arg::string("min"),
            Arg::string("max"),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
        ],
        run: range::zrangebylex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.0.5",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns a range of members in a sorted set, by score.",
        args: &[
            Arg::key("key"),
            Arg::new("min", ArgKind::Double),
            Arg::new("max", ArgKind::Double),
            Arg::word("withscores", "WITHSCORES").since("2.0.0").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
        ],
        history: &[("2.0.0", "Added the `WITHSCORES` modifier.")],
        run: range::zrangebyscore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        summary: "Stores a range of members from sorted set into another key.",
        args: &[
            Arg::key("dst"),
            Arg::key("src"),
            Arg::string("min"),
            Arg::string("max"),
            Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]).optional(),
            Arg::word("rev", "REV").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
        ],
        run: range::zrangestore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns a range of members in a sorted set, by index, with scores ordered from high to low.",
        args: &[
            Arg::key("key"),
            Arg::integer("start"),
            Arg::integer("stop"),
            Arg::word("withscores", "WITHSCORES").optional(),
        ],
        run: range::zrevrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns a range of members in a sorted set, by lexicographical range, ordered from higher to lower strings.",
        args: &[
            Arg::key("key"),
            Arg::string("max"),
            Arg::string("min"),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
        ],
        run: range::zrevrangebylex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns a range of members in a sorted set, by score, with scores ordered from high to low.",
        args: &[
            Arg::key("key"),
            Arg::new("max", ArgKind::Double),
            Arg::new("min", ArgKind::Double),
            Arg::word("withscores", "WITHSCORES").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
        ],
        history: &[("2.1.6", "`min` and `max` can be exclusive.")],
        run: range::zrevrangebyscore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zunion",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::first, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Adds multiple sorted sets.",
        args: &[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("weight").with_token("WEIGHTS").optional().multiple(),
            Arg::one_of(
                "aggregate",
                &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")],
            )
            .with_token("AGGREGATE")
            .optional(),
            Arg::word("withscores", "WITHSCORES").optional(),
        ],
        run: algebra::zunion,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zunionstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS).and(Flags::WHOLE_VALUE),
        keys: Keys::Custom { find: key_count::after_destination, shown: (1, 1, 1) },
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Adds multiple sorted sets and store the resulting sorted set in a new key.",
        args: &[
            Arg::key("destination"),
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("weight").with_token("WEIGHTS").optional().multiple(),
            Arg::one_of(
                "aggregate",
                &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")],
            )
            .with_token("AGGREGATE")
            .optional(),
        ],
        run: algebra::zunionstore,
        ..Spec::DEFAULT
    },
];
