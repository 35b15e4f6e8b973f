//! The closed list of errors that a client can see, each with Redis' exact text (DESIGN 13).
//!
//! A command returns one of these; nobody compares texts. What Redis words differently from case to case carries the
//! differing part as a field.

use capstan_proto::slot::Slot;
use std::net::IpAddr;

/// An error reply, and nothing executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The options do not fit together.
    Syntax,
    /// An argument should be an integer of 64 bits.
    NotInteger,
    /// An argument should be a floating point number.
    NotFloat,
    /// The result would not be a number.
    NanOrInfinity,
    /// The result would not fit 64 bits.
    Overflow,
    /// An argument that must be positive is not.
    OutOfRangePositive,
    /// An offset is negative or too large.
    OffsetOutOfRange,
    /// A string would exceed `proto-max-bulk-len`.
    StringTooLong,
    /// The key holds another type.
    WrongType,
    /// No such key (RENAME, OBJECT …).
    NoSuchKey,
    /// An expiry that is zero, negative or too large; names the command.
    InvalidExpire(&'static str),
    /// A database index that is no number or out of range.
    DbIndexOutOfRange,
    /// The source and the destination of a COPY or RENAME are the same.
    SameObject,
    /// A word that the command does not know among its options, as it came.
    UnsupportedOption(Box<[u8]>),
    /// A wrong number of arguments, with the command's full name (`client|kill`).
    WrongArity(Box<str>),
    /// No such command; the name and the first arguments, cut as Redis cuts them.
    UnknownCommand(Box<str>),
    /// No such subcommand: what was asked for, and the container.
    UnknownSubcommand(Box<str>, &'static str),
    /// AUTH or HELLO first.
    NoAuth,
    /// Wrong name or password.
    WrongPass,
    /// The ACL or the state of the connection forbids it.
    NoPerm(Box<str>),
    /// HELLO with a version that does not exist.
    NoProto,
    /// MULTI inside MULTI.
    NestedMulti,
    /// EXEC without MULTI.
    ExecWithoutMulti,
    /// DISCARD without MULTI.
    DiscardWithoutMulti,
    /// WATCH inside MULTI.
    WatchInMulti,
    /// This command cannot be queued.
    NotInMulti,
    /// A command of the transaction was refused when it was queued.
    ExecAborted,
    /// Fewer replicas are there than `min-replicas-to-write` asks for.
    NoReplicas,
    /// `maxmemory` is reached and nothing may be evicted.
    OutOfMemory,
    /// The keys of a command fall into more than one slot.
    CrossSlot,
    /// Another node serves the slot; an empty host means: the one that the client used.
    Moved {
        /// The slot.
        slot: Slot,
        /// Where to go.
        host: Box<str>,
        /// And at which port.
        port: u16,
    },
    /// Another node serves this one key of the slot now.
    Ask {
        /// The slot.
        slot: Slot,
        /// Where to go.
        host: Box<str>,
        /// And at which port.
        port: u16,
    },
    /// Try the same again in a moment.
    TryAgain,
    /// The cluster as a whole does not serve.
    ClusterDown,
    /// The cluster serves reads only.
    ClusterDownReadsOnly,
    /// Nobody owns the slot.
    SlotNotServed,
    /// A write on a replica.
    ReadOnly,
    /// A replica without its primary.
    MasterDown,
    /// The data is still being read in.
    Loading,
    /// A lane is busy in a command that may be killed.
    Busy,
    /// The node is full of clients.
    MaxClients,
    /// A cluster command on a node that is alone.
    ClusterDisabled,
    /// The peer `address` may not do this without a password (DESIGN 14).
    Denied(IpAddr),
    /// Any other error, spelled out with its code (`ERR …`).
    Custom(Box<str>),
}

impl Error {
    /// An error with the code `ERR`.
    #[must_use]
    pub fn err(text: impl AsRef<str>) -> Self {
        Self::Custom(format!("ERR {}", text.as_ref()).into())
    }

    /// Appends the text that follows the `-`.
    pub fn text(&self, out: &mut Vec<u8>) {
        if let Self::UnsupportedOption(option) = self {
            // Redis shows the bytes themselves, up to the first zero.
            out.extend_from_slice(b"ERR Unsupported option ");
            out.extend(option.iter().take_while(|byte| **byte != 0));
            return;
        }
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

impl std::error::Error for Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Moved { slot, host, port } => write!(f, "MOVED {slot} {host}:{port}"),
            Self::Ask { slot, host, port } => write!(f, "ASK {slot} {host}:{port}"),
            Self::InvalidExpire(command) => {
                write!(f, "ERR invalid expire time in '{command}' command")
            }
            Self::UnsupportedOption(option) => {
                write!(f, "ERR Unsupported option {}", String::from_utf8_lossy(option))
            }
            Self::WrongArity(name) => {
                write!(f, "ERR wrong number of arguments for '{name}' command")
            }
            Self::UnknownCommand(text) => write!(f, "ERR unknown command {text}"),
            Self::UnknownSubcommand(sub, container) => {
                write!(f, "ERR unknown subcommand '{sub}'. Try {} HELP.", container.to_uppercase())
            }
            Self::NoPerm(text) => write!(f, "NOPERM {text}"),
            Self::Denied(address) => {
                write!(f, "DENIED no password is set: {address} is not a loopback address")
            }
            Self::Custom(text) => f.write_str(text),
            fixed => f.write_str(fixed.fixed_text()),
        }
    }
}

impl Error {
    /// The text of the errors that always read the same.
    const fn fixed_text(&self) -> &'static str {
        match self {
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::OutOfRangePositive => "ERR value is out of range, must be positive",
            Self::OffsetOutOfRange => "ERR offset is out of range",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NoSuchKey => "ERR no such key",
            Self::DbIndexOutOfRange => "ERR DB index is out of range",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::NoAuth => "NOAUTH Authentication required.",
            Self::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::NoProto => "NOPROTO unsupported protocol version",
            Self::NestedMulti => "ERR MULTI calls can not be nested",
            Self::ExecWithoutMulti => "ERR EXEC without MULTI",
            Self::DiscardWithoutMulti => "ERR DISCARD without MULTI",
            Self::WatchInMulti => "ERR WATCH inside MULTI is not allowed",
            Self::NotInMulti => "ERR Command not allowed inside a transaction",
            Self::ExecAborted => "EXECABORT Transaction discarded because of previous errors.",
            Self::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
            Self::TryAgain => "TRYAGAIN Multiple keys request during rehashing of slot",
            Self::ClusterDown => "CLUSTERDOWN The cluster is down",
            Self::ClusterDownReadsOnly => "CLUSTERDOWN The cluster is down and only accepts read commands",
            Self::SlotNotServed => "CLUSTERDOWN Hash slot not served",
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::Busy => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
            Self::MaxClients => "ERR max number of clients reached",
            Self::ClusterDisabled => "ERR This instance has cluster support disabled",
            Self::Moved { .. }
            | Self::Ask { .. }
            | Self::InvalidExpire(_)
            | Self::UnsupportedOption(_)
            | Self::WrongArity(_)
            | Self::UnknownCommand(_)
            | Self::UnknownSubcommand(..)
            | Self::NoPerm(_)
            | Self::Denied(_)
            | Self::Custom(_) => "ERR",
        }
    }
}
