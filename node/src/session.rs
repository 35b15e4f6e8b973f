//! What a connection remembers between commands. Pure state: who changes it are the commands and `dispatch`.

use crate::blocking::Blocked;
use crate::clients::Client;
use crate::commands::Outcome;
use crate::commands::args::OwnedArgs;
use crate::commands::lookup::Command;
use crate::resp::{Reply, Resp};
use crate::store::watch::Watched;
use capstan_proto::env::BoxFuture;
use std::sync::Arc;

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Session {
    /// Its record among the clients; nothing for a session without a connection (tests).
    pub client: Option<Arc<Client>>,
    /// The selected database.
    pub db: u8,
    /// The protocol version.
    pub resp: Resp,
    /// It may do more than HELLO and AUTH.
    pub authenticated: bool,
    /// The user it acts as.
    pub user: Box<str>,
    /// READONLY was said: reads may be served from a replica.
    pub readonly: bool,
    /// ASKING was said: holds for the next command.
    pub asking: bool,
    /// MULTI was said.
    pub multi: Option<Box<Multi>>,
    /// EXEC runs its queue: nothing may wait.
    pub in_exec: bool,
    /// The keys under WATCH.
    pub watched: Watched,
    /// CLIENT REPLY.
    pub reply: ReplyMode,
    /// CLIENT NO-TOUCH: reads leave the access clock alone.
    pub no_touch: bool,
    /// The answer of the last command comes later: no command of this connection runs before it is there.
    pub later: Option<Later>,
    /// The last command waits for an element: as with `later`.
    pub blocked: Option<Blocked>,
    /// EXEC runs its queue: nothing waits.
    pub executing: bool,
    /// The newest batch that holds something this connection has written: what WAIT waits for.
    pub written: u64,
    /// Close when the replies written so far have left (QUIT, a protocol error).
    pub closing: bool,
}

/// The commands queued since MULTI.
#[derive(Debug, Default)]
pub struct Multi {
    /// In the order in which they came.
    pub queue: Vec<(Command, OwnedArgs)>,
    /// One may take more than a millisecond: EXEC runs off the I/O workers.
    pub long: bool,
    /// One was refused: EXEC will abort.
    pub aborted: bool,
    /// What the queue occupies.
    pub size: usize,
}

/// What CLIENT REPLY asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Every reply.
    #[default]
    On,
    /// No reply.
    Off,
    /// CLIENT REPLY SKIP was just said: no reply to the next command, then `On`.
    SkipNext,
}

/// An answer that has to be waited for: the future's outcome writes it. Nothing of the data may be held meanwhile.
pub struct Later(pub BoxFuture<'static, Answer>);

/// Writes the reply of a command that answered later.
pub type Answer = Box<dyn FnOnce(&mut Reply) -> Outcome + Send>;

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later(..)")
    }
}
