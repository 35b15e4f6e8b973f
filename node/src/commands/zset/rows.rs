//! The rows of the sorted set family: members.

use super::{add, pick, pop, read, remove};
use crate::commands::key_count;
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "zadd",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a sorted set, or update its score if it already exists.",
        args: &[
            Arg::key("key"),
            Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")])
                .since("3.0.2")
                .optional(),
            Arg::one_of("comparison", &[Arg::word("gt", "GT"), Arg::word("lt", "LT")])
                .since("6.2.0")
                .optional(),
            Arg::word("change", "CH").since("3.0.2").optional(),
            Arg::word("increment", "INCR").since("3.0.2").optional(),
            Arg::block("score_member", &[Arg::new("score", ArgKind::Double), Arg::string("member")])
                .multiple(),
        ],
        history: &[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ],
        run: add::zadd,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zcard",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        summary: "Returns the number of members in a sorted set.",
        args: &[Arg::key("key")],
        run: read::zcard,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zcount",
        arity: 4,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Counts the members in a sorted set with scores within the given values.",
        args: &[Arg::key("key"), Arg::new("min", ArgKind::Double), Arg::new("max", ArgKind::Double)],
        run: read::zcount,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zincrby",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Increments the score of a member in a sorted set.",
        args: &[Arg::key("key"), Arg::integer("increment"), Arg::string("member")],
        run: add::zincrby,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Counts the number of members in a sorted set between a given lexicographical range.",
        args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
        run: read::zlexcount,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        keys: Keys::Custom { find: key_count::first, shown: (0, 0, 0) },
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and return members with scores in a sorted set.",
        args: &[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
            Arg::integer("count").with_token("COUNT").optional(),
        ],
        run: pop::zmpop,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zmscore",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the score associated with the given members in a sorted set.",
        args: &[Arg::key("key"), Arg::string("member").multiple()],
        run: read::zmscore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zpopmax",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and return members with the highest scores in a sorted set.",
        args: &[Arg::key("key"), Arg::integer("count").optional()],
        run: pop::zpopmax,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zpopmin",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and return members with the lowest scores in a sorted set.",
        args: &[Arg::key("key"), Arg::integer("count").optional()],
        run: pop::zpopmin,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrandmember",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements returned",
        summary: "Returns one or multiple random elements from a sorted set.",
        args: &[
            Arg::key("key"),
            Arg::block("options", &[Arg::integer("count"), Arg::word("withscores", "WITHSCORES").optional()])
                .optional(),
        ],
        tips: &["nondeterministic_output"],
        run: pick::zrandmember,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrank",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Determines the index of a member in a sorted set.",
        args: &[
            Arg::key("key"),
            Arg::string("member"),
            Arg::word("withscore", "WITHSCORE").since("7.2.0").optional(),
        ],
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        run: read::zrank,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes one or more members from a sorted set.",
        args: &[Arg::key("key"), Arg::string("member").multiple()],
        history: &[("2.4.0", "Accepts multiple elements.")],
        run: remove::zrem,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes all members in a sorted set between the given lexicographical range.",
        args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
        run: remove::zremrangebylex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes all members in a sorted set within the given indexes.",
        args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
        run: remove::zremrangebyrank,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes all members in a sorted set within the given scores.",
        args: &[Arg::key("key"), Arg::new("min", ArgKind::Double), Arg::new("max", ArgKind::Double)],
        run: remove::zremrangebyscore,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrank",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Determines the index of a member in a sorted set, with scores ordered from high to low.",
        args: &[
            Arg::key("key"),
            Arg::string("member"),
            Arg::word("withscore", "WITHSCORE").since("7.2.0").optional(),
        ],
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        run: read::zrevrank,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zscan",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
        summary: "Incrementally iterate sorted sets elements and associated scores.",
        args: &[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::new("pattern", ArgKind::Pattern).with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
        ],
        tips: &["nondeterministic_output"],
        run: pick::zscan,
        ..Spec::DEFAULT
    },
    Spec {
        name: "zscore",
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        group: Group::SortedSet,
        since: "1.2.0",
        summary: "Returns the score associated with the given member in a sorted set.",
        args: &[Arg::key("key"), Arg::string("member")],
        run: read::zscore,
        ..Spec::DEFAULT
    },
];
