//! The command table: one static row per command, and the lookup by name.
//!
//! Everything that is said about a command in more than one place (arity checks, key extraction, COMMAND DOCS, ACL
//! categories, metrics) derives from its row. Families are slices of rows, listed once in [`FAMILIES`].

use super::{Args, Ctx, Outcome};

/// All families. A new family is one line here.
pub static FAMILIES: &[&[Spec]] = &[
    super::acks::ROWS,
    super::bitmap::ROWS,
    super::client::ROWS,
    super::cluster::ROWS,
    super::command::ROWS,
    super::config::ROWS,
    super::connection::ROWS,
    super::hash::ROWS,
    super::keys::EXPIRY_ROWS,
    super::keys::ROWS,
    super::keys::SORT_ROWS,
    super::list::BLOCKING_ROWS,
    super::list::ROWS,
    super::memory::ROWS,
    super::replication::ROWS,
    super::server::ROWS,
    super::set::ROWS,
    super::string::ROWS,
    super::transaction::ROWS,
    super::zset::BLOCKING_ROWS,
    super::zset::RANGE_ROWS,
    super::zset::ROWS,
];

/// One command, or one subcommand of a container.
#[derive(Debug)]
pub struct Spec {
    /// Lower case; a subcommand's own name without its container.
    pub name: &'static str,
    /// The container of a subcommand, else empty.
    pub container: &'static str,
    /// The number of arguments with the name (and the container); negative: at least that many.
    pub arity: i32,
    /// What kind of command it is.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// The family as COMMAND DOCS names it.
    pub group: Group,
    /// The Redis version that introduced it.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Its arguments, for COMMAND DOCS.
    pub args: &'static [Arg],
    /// Command tips as Redis lists them (`request_policy:all_shards` …).
    pub tips: &'static [&'static str],
    /// What changed since, as (version, change).
    pub history: &'static [(&'static str, &'static str)],
    /// The rows of a container's subcommands.
    pub subcommands: &'static [Spec],
    /// What it does.
    pub run: fn(&mut Ctx<'_>, Args<'_>) -> Outcome,
}

impl Spec {
    /// For `..Spec::DEFAULT` in rows.
    pub const DEFAULT: Self = Self {
        name: "",
        container: "",
        arity: 1,
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        args: &[],
        tips: &[],
        history: &[],
        subcommands: &[],
        run: container_itself,
    };

    /// `get`, or `client|kill`.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.container.is_empty() { self.name.into() } else { format!("{}|{}", self.container, self.name) }
    }

    /// Whether so many arguments (with the name) are right.
    #[inline]
    #[must_use]
    pub const fn fits(&self, argc: usize) -> bool {
        if self.arity >= 0 { argc == self.arity as usize } else { argc >= self.arity.unsigned_abs() as usize }
    }
}

impl Spec {
    /// Whether a container is a command of its own when it stands alone (COMMAND).
    #[must_use]
    pub const fn runs_alone(&self, argc: usize) -> bool {
        argc == 1 && self.arity == -1
    }
}

/// A container without a subcommand never runs: its arity asks for one.
fn container_itself(_: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    Err(crate::resp::Error::Syntax)
}

/// Where the keys of a command stand among its arguments (0 is the name).
#[derive(Clone, Copy)]
pub enum Keys {
    /// It has none.
    None,
    /// From `first` to `last` (negative: counted from the end) in steps.
    Range {
        /// The first key.
        first: u16,
        /// The last key.
        last: i16,
        /// How far apart.
        step: u16,
    },
    /// Found by looking at the arguments.
    Custom {
        /// Pushes the index of each key.
        find: fn(Args<'_>, &mut Vec<u32>) -> Outcome,
        /// What COMMAND INFO shows as (first, last, step).
        shown: (i32, i32, i32),
    },
}

impl Keys {
    /// One key, the first argument.
    pub const ONE: Self = Self::Range { first: 1, last: 1, step: 1 };
    /// All arguments are keys.
    pub const ALL: Self = Self::Range { first: 1, last: -1, step: 1 };
    /// Keys and values in turn.
    pub const PAIRS: Self = Self::Range { first: 1, last: -1, step: 2 };
    /// The first two arguments.
    pub const TWO: Self = Self::Range { first: 1, last: 2, step: 1 };
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Range { first, last, step } => write!(f, "Range({first}, {last}, {step})"),
            Self::Custom { shown, .. } => write!(f, "Custom{shown:?}"),
        }
    }
}

/// A set of command flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Changes data.
    pub const WRITE: Self = Self(1);
    /// Reads data only.
    pub const READONLY: Self = Self(1 << 1);
    /// Refused above `maxmemory`.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 3);
    /// About channels.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not from scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 6);
    /// Also while data is loaded.
    pub const LOADING: Self = Self(1 << 7);
    /// Also on a replica without its primary.
    pub const STALE: Self = Self(1 << 8);
    /// Not shown to MONITOR.
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    /// Not in the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Serves an importing slot without ASKING.
    pub const ASKING: Self = Self(1 << 11);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 12);
    /// Before authentication.
    pub const NO_AUTH: Self = Self(1 << 13);
    /// Refused inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 14);
    /// Its keys cannot be told from the row alone.
    pub const MOVABLEKEYS: Self = Self(1 << 15);
    /// Also while a script is busy.
    pub const ALLOW_BUSY: Self = Self(1 << 16);
    /// Runs at once inside MULTI instead of being queued (EXEC, DISCARD, MULTI, WATCH, QUIT, RESET). Not shown.
    pub const UNQUEUED: Self = Self(1 << 24);
    /// May need more than a millisecond: runs off the I/O workers (DESIGN 12). Not shown.
    pub const LONG: Self = Self(1 << 25);
    /// Looks at the whole node: inside EXEC every lane is locked for it. Not shown.
    pub const WHOLE_NODE: Self = Self(1 << 26);
    /// EXEC itself: the lanes of everything that is queued are locked for it. Not shown.
    pub const EXEC: Self = Self(1 << 27);

    /// Goes through a whole collection, however large: runs as [`Self::LONG`] if a key of it has a large one. Not shown.
    pub const WHOLE_VALUE: Self = Self(1 << 28);

    /// Flags as COMMAND INFO spells them.
    pub const SHOWN: [(Self, &'static str); 17] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_MONITOR, "skip_monitor"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::ASKING, "asking"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLEKEYS, "movablekeys"),
        (Self::ALLOW_BUSY, "allow_busy"),
    ];

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of these flags is in this set.
    #[inline]
    #[must_use]
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

/// The family of a command, as COMMAND DOCS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Hyperloglog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    /// As COMMAND DOCS spells it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::Pubsub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::Hyperloglog => "hyperloglog",
            Self::Cluster => "cluster",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
        }
    }
}

/// What an argument is, as COMMAND DOCS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// As COMMAND DOCS spells it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// An argument, for COMMAND DOCS.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word that stands before it, or that it is.
    pub token: &'static str,
    /// The version that introduced it, if later than the command.
    pub since: &'static str,
    /// It can be left out.
    pub optional: bool,
    /// It can be repeated.
    pub multiple: bool,
    /// Its token is repeated with it.
    pub multiple_token: bool,
    /// The parts of a `OneOf` or a `Block`.
    pub args: &'static [Arg],
}

impl Arg {
    /// An argument of some kind.
    #[must_use]
    pub const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            kind,
            token: "",
            since: "",
            optional: false,
            multiple: false,
            multiple_token: false,
            args: &[],
        }
    }

    /// A key.
    #[must_use]
    pub const fn key(name: &'static str) -> Self {
        Self::new(name, ArgKind::Key)
    }

    /// A string.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    /// An integer.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    /// A word that stands for itself.
    #[must_use]
    pub const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::PureToken).with_token(token)
    }

    /// One of several.
    #[must_use]
    pub const fn one_of(name: &'static str, args: &'static [Self]) -> Self {
        Self { args, ..Self::new(name, ArgKind::OneOf) }
    }

    /// Several that belong together.
    #[must_use]
    pub const fn block(name: &'static str, args: &'static [Self]) -> Self {
        Self { args, ..Self::new(name, ArgKind::Block) }
    }

    /// Stands after this word.
    #[must_use]
    pub const fn with_token(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    /// Introduced later than the command.
    #[must_use]
    pub const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    /// Can be left out.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Can be repeated.
    #[must_use]
    pub const fn multiple(self) -> Self {
        Self { multiple: true, ..self }
    }
}
