//! A data node's side of the cluster.

pub mod admin;
