//! How this server reaches the others: one reconnecting channel a server, every call bounded.
//!
//! Decides nothing about Raft. A server that cannot be reached is logged once when it goes and once when it is back;
//! openraft's own line for every failed heartbeat is switched off ([`super::LOG_DIRECTIVE`]).

use super::types::{MetaNode, TypeConfig};
use super::wire::{self, End, Ends, Kind};
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use capstan_proto::rpc::redirect;
use capstan_proto::rpc::transport::{MESSAGE_MAX, channel};
use capstan_proto::rpc::v1::{self, raft_client::RaftClient};
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How long openraft waits before it tries an unreachable server again.
const BACKOFF: Duration = Duration::from_millis(200);
/// A question to a server outside of Raft (who is there, please campaign) is bounded by this.
pub(crate) const ASK_LIMIT: Duration = Duration::from_millis(1500);

/// The channels to the other servers.
#[derive(Clone)]
pub(crate) struct Links {
    env: Env,
    secret: Secret,
    open: Arc<Mutex<BTreeMap<String, Arc<Peer>>>>,
    /// Set when another member says that this server was removed from the group.
    removed: watch::Sender<bool>,
}

struct Peer {
    client: RaftClient<Channel>,
    reachable: AtomicBool,
}

/// The text of the answer to a member that was removed; its sender stops.
pub(crate) const REMOVED: &str = "this server was removed from the group";

impl Links {
    pub(crate) fn new(env: Env, secret: Secret) -> Self {
        Self { env, secret, open: Arc::default(), removed: watch::channel(false).0 }
    }

    /// Becomes true when another member says that this server was removed.
    pub(crate) fn removed(&self) -> watch::Receiver<bool> {
        self.removed.subscribe()
    }

    fn peer(&self, address: &str) -> Result<Arc<Peer>, Status> {
        let mut open = self.open.lock();
        if let Some(peer) = open.get(address) {
            return Ok(Arc::clone(peer));
        }
        let channel = channel(&self.env, &self.secret, address);
        let channel = channel.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let client = RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        let peer = Arc::new(Peer { client, reachable: AtomicBool::new(true) });
        open.insert(address.to_owned(), Arc::clone(&peer));
        Ok(peer)
    }

    /// Forgets the channels to addresses that nobody has any more.
    pub(crate) fn keep_only(&self, addresses: &[String]) {
        self.open.lock().retain(|address, _| addresses.contains(address));
    }

    async fn call(
        &self,
        address: &str,
        envelope: v1::Envelope,
        limit: Duration,
    ) -> Result<v1::Envelope, Status> {
        let peer = self.peer(address)?;
        let mut client = peer.client.clone();
        let answer = match tokio::time::timeout(limit, client.call(envelope)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} ms", limit.as_millis()))),
        };
        self.note(address, &peer, &answer);
        answer
    }

    fn note(&self, address: &str, peer: &Peer, answer: &Result<v1::Envelope, Status>) {
        let reached = answer.as_ref().err().is_none_or(|status| !redirect::try_the_next(status));
        if peer.reachable.swap(reached, Ordering::Relaxed) != reached {
            match answer {
                Err(status) if !reached => {
                    tracing::warn!(address, why = %redirect::reason(status), "meta server unreachable");
                }
                Ok(_) | Err(_) => tracing::info!(address, "meta server reachable again"),
            }
        }
        if let Err(status) = answer
            && status.code() == Code::PermissionDenied
            && status.message() == REMOVED
        {
            self.removed.send_replace(true);
        }
    }

    /// Asks who is at an address.
    pub(crate) async fn status(&self, address: &str) -> Result<v1::ServerStatus, Status> {
        let asked = wire::envelope(Kind::Status, bytes::Bytes::new());
        read_status(self.call(address, asked, ASK_LIMIT).await?)
    }

    /// Offers a seat to the server at an address.
    pub(crate) async fn invite(
        &self,
        address: &str,
        seat: v1::Invitation,
    ) -> Result<v1::ServerStatus, Status> {
        let asked = wire::envelope(Kind::Invite, seat.encode_to_vec().into());
        read_status(self.call(address, asked, ASK_LIMIT).await?)
    }

    /// Asks a follower to campaign.
    pub(crate) async fn campaign(&self, ends: Ends, address: &str) -> Result<(), Status> {
        let asked = wire::pack(Kind::Campaign, &ends).map_err(|why| Status::internal(why.to_string()))?;
        self.call(address, asked, ASK_LIMIT).await.map(drop)
    }
}

fn read_status(envelope: v1::Envelope) -> Result<v1::ServerStatus, Status> {
    v1::ServerStatus::decode(envelope.body).map_err(|why| Status::internal(format!("status: {why}")))
}

/// Makes openraft's links.
pub(super) struct Factory {
    pub(super) links: Links,
    pub(super) me: End,
}

/// openraft's way to one other server.
pub(super) struct Link {
    links: Links,
    ends: Ends,
    address: String,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &MetaNode) -> Link {
        let to = End { id: target, store: node.store };
        Link { links: self.links.clone(), ends: Ends { from: self.me, to }, address: node.address.clone() }
    }
}

type Failure<E> = RPCError<u64, MetaNode, RaftError<u64, E>>;

impl Link {
    /// Timeouts and refusals alike are "unreachable", so that openraft backs off (CRATES 1.1).
    async fn call<Q, A, E>(&self, kind: Kind, asked: &Q, limit: Duration) -> Result<A, Failure<E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let unreachable = |status: Status| RPCError::Unreachable(Unreachable::new(&status));
        let packed = wire::pack(kind, &(self.ends, asked));
        let packed = packed.map_err(|why| unreachable(Status::internal(why.to_string())))?;
        let answer = self.links.call(&self.address, packed, limit).await.map_err(unreachable)?;
        let answer: Result<A, RaftError<u64, E>> = wire::unpack(&answer).map_err(unreachable)?;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.ends.to.id, error)))
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        self.call(Kind::Append, &rpc, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        self.call(Kind::Snapshot, &rpc, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<openraft::error::Infallible>> {
        self.call(Kind::Vote, &rpc, option.hard_ttl()).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
