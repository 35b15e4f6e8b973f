//! What meta servers say to each other: one RPC, an envelope with a version, a body by kind.
//!
//! Bodies of Raft's own messages are bincode behind a version byte and name both ends by id and folder, so that a
//! message for a server that has lost its folder is never answered by the empty one in its place. What servers of
//! different versions must understand before they are in one group (status, invitation) is protobuf.

use super::types::StoreToken;
use bytes::Bytes;
use capstan_proto::codec;
use capstan_proto::rpc::v1;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::Status;

/// The version of the envelope that this program writes. It reads this and the one before; there is none before.
pub(crate) const VERSION: u32 = 1;
/// The version byte of Raft bodies.
const BODY: u8 = 1;

/// What an envelope carries. The numbers are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// openraft's AppendEntries.
    Append = 1,
    /// openraft's RequestVote.
    Vote = 2,
    /// openraft's InstallSnapshot, one chunk.
    Snapshot = 3,
    /// Please campaign: the leader is about to stop (CRATES 1.3.7).
    Campaign = 4,
    /// Who is there? A [`v1::ServerStatus`] comes back.
    Status = 5,
    /// Take this seat: a [`v1::Invitation`].
    Invite = 6,
}

impl Kind {
    /// The kind of an envelope, if this program knows its version and its number.
    pub(crate) fn of(envelope: &v1::Envelope) -> Result<Self, Status> {
        if envelope.version != VERSION {
            let text = format!("envelope version {}, this server speaks {VERSION}", envelope.version);
            return Err(Status::unimplemented(text));
        }
        match envelope.kind {
            1 => Ok(Self::Append),
            2 => Ok(Self::Vote),
            3 => Ok(Self::Snapshot),
            4 => Ok(Self::Campaign),
            5 => Ok(Self::Status),
            6 => Ok(Self::Invite),
            other => Err(Status::unimplemented(format!("no message of kind {other} is known"))),
        }
    }
}

/// One end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) id: u64,
    pub(crate) store: StoreToken,
}

/// Who says it to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) from: End,
    pub(crate) to: End,
}

/// An envelope around a body of Raft's own.
pub(crate) fn pack<T: Serialize>(kind: Kind, body: &T) -> Result<v1::Envelope, codec::CodecError> {
    Ok(envelope(kind, codec::encode(BODY, body)?.into()))
}

/// An envelope around bytes.
pub(crate) fn envelope(kind: Kind, body: Bytes) -> v1::Envelope {
    v1::Envelope { version: VERSION, kind: kind as u32, body }
}

/// The body of Raft's own that an envelope carries.
pub(crate) fn unpack<T: DeserializeOwned>(envelope: &v1::Envelope) -> Result<T, Status> {
    codec::decode(BODY, &envelope.body)
        .map_err(|why| Status::invalid_argument(format!("Raft message: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_and_foreign_versions_and_kinds_are_refused() {
        for kind in [Kind::Append, Kind::Vote, Kind::Snapshot, Kind::Campaign, Kind::Status, Kind::Invite] {
            assert_eq!(Kind::of(&envelope(kind, Bytes::new())).expect("known"), kind);
        }
        assert!(Kind::of(&v1::Envelope { version: VERSION + 1, kind: 1, body: Bytes::new() }).is_err());
        assert!(Kind::of(&v1::Envelope { version: VERSION, kind: 77, body: Bytes::new() }).is_err());
    }

    #[test]
    fn a_body_of_garbage_is_an_error() {
        for body in [&b""[..], b"\x01", b"\x02xxxx", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let envelope = envelope(Kind::Append, Bytes::copy_from_slice(body));
            assert!(unpack::<(Ends, Vec<u8>)>(&envelope).is_err(), "{body:?}");
        }
    }
}
