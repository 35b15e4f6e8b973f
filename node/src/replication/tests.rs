//! Two or three nodes in one process, a primary and its replicas, over a network that can be cut.

mod copies;
mod links;
mod pair;
