//! The rows of the transaction family.

use super::transaction;
use crate::commands::table::{Arg, Flags, Group, Keys, Spec};

/// The rows.
pub static ROWS: &[Spec] = &[
    Spec {
        name: "discard",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::UNQUEUED),
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Discards a transaction.",
        run: transaction::discard,
        ..Spec::DEFAULT
    },
    Spec {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::SKIP_SLOWLOG)
            .and(Flags::UNQUEUED)
            .and(Flags::EXEC),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all commands in a transaction.",
        run: transaction::exec,
        ..Spec::DEFAULT
    },
    Spec {
        name: "multi",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::UNQUEUED),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction.",
        run: transaction::multi,
        ..Spec::DEFAULT
    },
    Spec {
        name: "unwatch",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        run: transaction::unwatch,
        ..Spec::DEFAULT
    },
    Spec {
        name: "watch",
        arity: -2,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::UNQUEUED),
        keys: Keys::ALL,
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        args: &[Arg::key("key").multiple()],
        run: transaction::watch,
        ..Spec::DEFAULT
    },
];
