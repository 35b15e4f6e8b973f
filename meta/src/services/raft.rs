//! The Raft service: what the other meta servers say to this one.
//!
//! Every message names the folder that it is for; one for another folder is refused before openraft sees it. A vote
//! for a server that was removed is refused, and that server learns that it was removed.

use crate::host::Host;
use crate::raft::wire::{self, Ends, Kind};
use crate::raft::{REMOVED, TypeConfig};
use capstan_proto::rpc::v1;
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};
use prost::Message;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// A snapshot larger than this is refused: a cluster state of all limits is far smaller.
const SNAPSHOT_MAX: u64 = 256 << 20;

pub(crate) struct RaftService(pub(crate) Arc<Host>);

#[tonic::async_trait]
impl v1::raft_server::Raft for RaftService {
    async fn call(&self, request: Request<v1::Envelope>) -> Result<Response<v1::Envelope>, Status> {
        let envelope = request.into_inner();
        let kind = Kind::of(&envelope)?;
        let answer = match kind {
            Kind::Status => self.status().await,
            Kind::Invite => self.invite(&envelope).await?,
            Kind::Append => self.append(&envelope).await?,
            Kind::Vote => self.vote(&envelope).await?,
            Kind::Snapshot => self.snapshot(&envelope).await?,
            Kind::Campaign => self.campaign(&envelope).await?,
        };
        Ok(Response::new(answer))
    }
}

fn packed<T: serde::Serialize>(kind: Kind, body: &T) -> Result<v1::Envelope, Status> {
    wire::pack(kind, body).map_err(|why| Status::internal(why.to_string()))
}

impl RaftService {
    async fn status(&self) -> v1::Envelope {
        wire::envelope(Kind::Status, self.0.status().await.encode_to_vec().into())
    }

    async fn invite(&self, envelope: &v1::Envelope) -> Result<v1::Envelope, Status> {
        let bad = |why: &str| Status::invalid_argument(format!("invitation: {why}"));
        let seat = v1::Invitation::decode(envelope.body.clone()).map_err(|why| bad(&why.to_string()))?;
        if seat.id == 0 {
            return Err(bad("meta servers are numbered from 1"));
        }
        if self.0.identity().await.store.0[..] != seat.store[..] {
            return Err(bad("it is for another folder"));
        }
        self.0.take_seat(seat.id).await.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(self.status().await)
    }

    async fn append(&self, envelope: &v1::Envelope) -> Result<v1::Envelope, Status> {
        let (ends, rpc): (Ends, AppendEntriesRequest<TypeConfig>) = wire::unpack(envelope)?;
        self.0.is_for_me(Kind::Append, ends.to).await?;
        packed(Kind::Append, &self.0.seated()?.raft.raft().append_entries(rpc).await)
    }

    async fn vote(&self, envelope: &v1::Envelope) -> Result<v1::Envelope, Status> {
        let (ends, rpc): (Ends, VoteRequest<u64>) = wire::unpack(envelope)?;
        self.0.is_for_me(Kind::Vote, ends.to).await?;
        let raft = &self.0.seated()?.raft;
        // Only one that is known to have been removed: a newer member may not be known here yet, and may be needed.
        let known = raft.members().into_iter().find(|row| row.id.0 == ends.from.id);
        let stranger = known.is_some_and(|row| row.node.store != ends.from.store);
        if stranger || raft.was_removed(ends.from.id) {
            return Err(Status::permission_denied(REMOVED));
        }
        packed(Kind::Vote, &raft.raft().vote(rpc).await)
    }

    async fn snapshot(&self, envelope: &v1::Envelope) -> Result<v1::Envelope, Status> {
        let (ends, rpc): (Ends, InstallSnapshotRequest<TypeConfig>) = wire::unpack(envelope)?;
        self.0.is_for_me(Kind::Snapshot, ends.to).await?;
        if rpc.offset.saturating_add(rpc.data.len() as u64) > SNAPSHOT_MAX {
            return Err(Status::invalid_argument("the snapshot is larger than any cluster state can be"));
        }
        packed(Kind::Snapshot, &self.0.seated()?.raft.raft().install_snapshot(rpc).await)
    }

    async fn campaign(&self, envelope: &v1::Envelope) -> Result<v1::Envelope, Status> {
        let ends: Ends = wire::unpack(envelope)?;
        self.0.is_for_me(Kind::Campaign, ends.to).await?;
        let raft = &self.0.seated()?.raft;
        if raft.leader_now().0.is_none_or(|leader| leader.node.0 != ends.from.id) {
            return Err(Status::failed_precondition("only the leader may ask for an election"));
        }
        let triggered = raft.raft().trigger().elect().await;
        triggered.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(wire::envelope(Kind::Campaign, bytes::Bytes::new()))
    }
}
