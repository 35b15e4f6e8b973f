//! What clients are told about the cluster, to the byte (COMPATIBILITY A.1, A.2, A.12). Pure: a view in, bytes out.

pub mod info;
pub mod nodes;
pub mod topology;
