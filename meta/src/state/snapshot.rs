//! The cluster state as bytes: Raft snapshots and exports. A version byte, then bincode (CRATES 3).
//!
//! Rows instead of tables, so that 16384 owners cost a few runs. Equal states have equal bytes (I1). Bytes that are
//! no well-formed state are refused: a server must not start from a damaged one.

use super::State;
use super::apply::Switches;
use super::history::History;
use super::invariants::{self, Broken};
use super::planted::Bug;
use super::requests::Requests;
use super::settings::LoweredTtl;
use capstan_proto::codec::{self, CodecError};
use capstan_proto::env::UnixMs;
use capstan_proto::ids::Version;
use capstan_proto::topology::{Row, Topology};
use serde::{Deserialize, Serialize};

/// The version of the format. A change gets a new one, and a decoder for the old one stays.
pub const SNAPSHOT_FORMAT: u8 = 1;

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Not the format.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The format, but not a state that `apply` could have made.
    #[error("a snapshot that breaks an invariant: {0}")]
    Broken(#[from] Broken),
}

/// As it stands in the bytes. Fields are for ever; their order is the format.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: Version,
    rows: Vec<Row>,
    requests: Requests,
    history: History,
    lowered: Option<LoweredTtl>,
    latest: UnixMs,
    shards_founded: u32,
}

impl State {
    /// All of it as bytes.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        self.encode_with(Switches::default())
    }

    /// [`State::encode`] with bugs planted: for tests.
    pub(super) fn encode_with(&self, switches: Switches) -> Result<Vec<u8>, CodecError> {
        let mut requests = self.requests.clone();
        if switches.planted.has(Bug::RequestsNotInSnapshot) {
            requests.forget_all();
        }
        let stored = Stored {
            version: self.topology.version,
            rows: self.topology.rows(),
            requests,
            history: self.history.clone(),
            lowered: self.lowered,
            latest: self.latest,
            shards_founded: self.shards_founded,
        };
        codec::encode(SNAPSHOT_FORMAT, &stored)
    }

    /// The state that [`State::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        let stored: Stored = codec::decode(SNAPSHOT_FORMAT, bytes)?;
        let mut topology = Topology::default();
        stored.rows.into_iter().for_each(|row| topology.set(row));
        topology.version = stored.version;
        let state = Self {
            topology,
            requests: stored.requests,
            history: stored.history,
            lowered: stored.lowered,
            latest: stored.latest,
            shards_founded: stored.shards_founded,
        };
        invariants::well_formed(&state)?;
        Ok(state)
    }
}
