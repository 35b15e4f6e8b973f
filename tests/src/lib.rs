//! What tests of the whole product share: servers as processes, and a client that shows the bytes.
#![forbid(unsafe_code)]

pub mod dev;
pub mod process;
pub mod wire;
