//! The rows of SORT.

use super::sort;
use crate::commands::table::{Arg, ArgKind, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS).and(Flags::LONG),
        keys: Keys::Custom { find: sort::keys, shown: (1, 1, 1) },
        group: Group::Generic,
        complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).",
        summary: "Sorts the elements in a list, set or sorted set.",
        args: &[
            Arg::key("key"),
            Arg::new("pattern", ArgKind::Pattern).with_token("BY").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
            Arg::new("pattern", ArgKind::Pattern).with_token("GET").optional().multiple(),
            Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            Arg::word("sorting", "ALPHA").optional(),
            Arg::key("destination").with_token("STORE").optional(),
        ],
        run: sort::sort,
        ..Spec::DEFAULT
    },
    Spec {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS).and(Flags::LONG),
        keys: Keys::Custom { find: sort::keys, shown: (1, 1, 1) },
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).",
        summary: "Sorts the elements in a list, set or sorted set. Read-only variant of SORT.",
        args: &[
            Arg::key("key"),
            Arg::new("pattern", ArgKind::Pattern).with_token("BY").optional(),
            Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
                .with_token("LIMIT")
                .optional(),
            Arg::new("pattern", ArgKind::Pattern).with_token("GET").optional().multiple(),
            Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            Arg::word("sorting", "ALPHA").optional(),
        ],
        run: sort::sort_ro,
        ..Spec::DEFAULT
    },
];
