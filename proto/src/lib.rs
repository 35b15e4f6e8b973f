//! The contract between the parts of Capstan: identities, slots, timing, the rows of the cluster state, the
//! RPC messages, and the four seams (`Env`) through which the servers touch the world.
//!
//! Nothing here decides anything. `meta` decides, `node` serves; both speak in the words of this crate.
#![forbid(unsafe_code)]

pub mod auth;
pub mod codec;
pub mod env;
pub mod ids;
pub mod panics;
pub mod rpc;
pub mod rules;
pub mod settings;
pub mod slot;
pub mod timing;
pub mod topology;
