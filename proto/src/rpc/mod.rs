//! The generated messages and services, and how they become domain types.
//!
//! Whatever arrives is checked here once: a message that is short of a field or lies about a length becomes a
//! [`convert::BadMessage`], never a panic (I12).

pub mod channel;
pub mod convert;
pub mod redirect;
pub mod transport;

/// Generated from `capstan/v1/meta.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::disallowed_methods, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("capstan.v1");
}
