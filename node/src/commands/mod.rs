//! The commands: one row in [`table`] and one function each, one file a family (STYLE 2.3).
//!
//! A command gets a [`Ctx`] and its arguments. Reads record no effects; writes change data only through
//! [`crate::store::Data::apply`]. What needs more than the row (arity, keys, routing, queueing in MULTI, memory limit)
//! is done by `dispatch` before the function runs.

pub mod acks;
pub mod args;
pub mod auth;
pub mod bitmap;
pub mod client;
pub mod client_filter;
pub mod cluster;
pub mod command;
pub mod config;
pub mod connection;
pub mod deadline;
pub mod describe;
#[cfg(test)]
pub(crate) mod desk;
pub mod hash;
pub mod help;
mod iterate;
mod key_count;
pub mod keys;
pub mod limits;
pub mod list;
pub mod lookup;
pub mod memory;
mod patience;
pub mod replication;
mod sample;
pub mod server;
pub mod set;
pub mod string;
pub mod table;
pub mod transaction;
mod transaction_rows;
mod typed;
#[cfg(test)]
mod walk;
pub mod zset;

use crate::core::NodeCore;
use crate::resp::{Reply, Resp};
use crate::session::Session;
use crate::store::Data;
use capstan_proto::env::UnixMs;

pub use args::Args;
pub use table::{Arg, Flags, Group, Keys, Spec};

/// What a command function answers: the reply is in `ctx.out`, or the error is written for it.
pub type Outcome = Result<(), crate::resp::Error>;

/// What a command can see and do. The fields are apart so that a value borrowed from `data` can be written to `out`.
#[allow(missing_debug_implementations)]
pub struct Ctx<'a> {
    /// The node.
    pub core: &'a NodeCore,
    /// The connection's state.
    pub session: &'a mut Session,
    /// The reply.
    pub out: &'a mut Reply,
    /// The keyspace: the lanes of the command's keys are locked already; others are visited in turn.
    pub data: Data<'a>,
    /// The wall clock, the same for a whole batch (and so for a whole transaction).
    pub now: UnixMs,
}

impl Ctx<'_> {
    /// Changes the protocol version from the next byte on.
    pub fn set_resp(&mut self, resp: Resp) {
        self.session.resp = resp;
        self.out.set_resp(resp);
    }
}
