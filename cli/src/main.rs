//! The one product binary.
#![forbid(unsafe_code)]
fn main() {}
