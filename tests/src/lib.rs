//! What tests of the whole product share: servers as processes, and a client that shows the bytes.

pub mod process;
pub mod wire;
