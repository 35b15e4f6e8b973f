//! RESP2 and RESP3: requests in, replies out. Pure: bytes to values and back, no sockets.

pub mod error;
pub mod inline;
pub mod parse;
pub mod write;

pub use error::Error;
pub use write::{Reply, Resp};
