//! What a meta server is before and besides its seat in a group: a folder with a token, an address, a list of those it
//! is to found a group with. The Raft service talks to it before there is any Raft.
//!
//! Decides whether a message of the group is for this folder, and takes a seat that is offered. A seat is taken once:
//! only a folder without log and vote takes another.

use crate::raft::wire::{End, Kind};
use crate::raft::{Identity, Links, LogStore, Machine, MetaRaft};
use crate::services::NodeLeases;
use capstan_proto::env::Env;
use capstan_proto::rpc::v1;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Mutex, watch};
use tonic::Status;

/// The version that this program announces.
pub(crate) const SOFTWARE: &str = env!("CARGO_PKG_VERSION");

/// A server that takes part in a group.
pub(crate) struct Seated {
    pub(crate) raft: MetaRaft,
    pub(crate) leases: Arc<dyn NodeLeases>,
}

/// What the services of a meta server stand on.
pub(crate) struct Host {
    pub(crate) env: Env,
    /// How the others reach this server.
    pub(crate) address: String,
    /// `ID@HOST:PORT` of the founders it was started with, sorted.
    pub(crate) peers: Vec<String>,
    pub(crate) log: LogStore,
    pub(crate) machine: Arc<Machine>,
    pub(crate) links: Links,
    identity: Mutex<Identity>,
    /// The seat that this server has, or takes now.
    taken: watch::Sender<Option<u64>>,
    seated: OnceLock<Seated>,
    /// Becomes true when the server stops: open streams end.
    stopping: watch::Sender<bool>,
}

impl Host {
    pub(crate) fn new(
        env: Env,
        (address, peers): (String, Vec<String>),
        (log, machine, links): (LogStore, Arc<Machine>, Links),
        identity: Identity,
    ) -> Self {
        Self {
            env,
            address,
            peers,
            log,
            machine,
            links,
            identity: Mutex::new(identity),
            taken: watch::channel(None).0,
            seated: OnceLock::new(),
            stopping: watch::channel(false).0,
        }
    }

    /// The server as a member, or why it answers nothing yet.
    pub(crate) fn seated(&self) -> Result<&Seated, Status> {
        let waiting =
            || Status::unavailable("this meta server is not in a group yet: it waits for the others");
        self.seated.get().ok_or_else(waiting)
    }

    /// The server as a member of a group that has its identity: before that nobody is answered, so that no command is
    /// rejected, and remembered as such, for coming a moment too early.
    pub(crate) fn in_group(&self) -> Result<&Seated, Status> {
        let seated = self.seated()?;
        match seated.raft.state().group() {
            Some(_) => Ok(seated),
            None => Err(Status::unavailable("this meta server does not know the identity of its group yet")),
        }
    }

    /// From now on this server takes part.
    pub(crate) fn sit(&self, seated: Seated) {
        // Called once, by `server::run`.
        let _ = self.seated.set(seated);
    }

    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    pub(crate) async fn identity(&self) -> Identity {
        *self.identity.lock().await
    }

    pub(crate) fn seat_taken(&self) -> watch::Receiver<Option<u64>> {
        self.taken.subscribe()
    }

    /// Takes a seat, durably. A folder that has taken part under another number refuses.
    pub(crate) async fn take_seat(&self, id: u64) -> io::Result<()> {
        let mut identity = self.identity.lock().await;
        if identity.seat == Some(id) {
            self.taken.send_replace(Some(id));
            return Ok(());
        }
        let held = identity.seat.filter(|_| !self.log.is_pristine() || self.taken.borrow().is_some());
        if let Some(held) = held {
            let text = format!("this folder is meta server {held} already: start again with an empty --dir");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let fresh = Identity { seat: Some(id), ..*identity };
        self.log.save_identity(fresh).await?;
        *identity = fresh;
        self.taken.send_replace(Some(id));
        Ok(())
    }

    /// Whether a message is for this folder. A folder that was offered a seat and restarted before it heard from the
    /// group takes the seat when the group first speaks to it.
    pub(crate) async fn is_for_me(&self, kind: Kind, to: End) -> Result<(), Status> {
        let identity = self.identity().await;
        if identity.store != to.store || identity.seat != Some(to.id) {
            let text = format!(
                "this is not the folder of meta server {}: if that one is lost, take this server in with `capstan \
                 meta members replace`",
                to.id
            );
            return Err(Status::not_found(text));
        }
        if self.seated.get().is_none() {
            self.taken.send_replace(Some(to.id));
            return Err(Status::unavailable(format!("starting; {kind:?} again")));
        }
        Ok(())
    }

    /// Who this server is, for the others.
    pub(crate) async fn status(&self) -> v1::ServerStatus {
        let identity = self.identity().await;
        let mut status = v1::ServerStatus {
            store: identity.store.0.to_vec().into(),
            seat: identity.seat.unwrap_or(0),
            pristine: self.log.is_pristine(),
            peers: self.peers.clone(),
            address: self.address.clone(),
            applied: self.machine.applied(),
            software: SOFTWARE.to_owned(),
            ..v1::ServerStatus::default()
        };
        if let Some(Seated { raft, .. }) = self.seated.get() {
            let metrics = raft.metrics();
            let leader = raft.leader_now().0;
            status.group = raft.state().group().map(|group| group.0.to_vec().into()).unwrap_or_default();
            status.last_log = metrics.last_log_index.unwrap_or(0);
            status.leader = leader.map_or(0, |leader| leader.node.0);
            status.term = metrics.current_term;
            status.quorum = raft.leads().is_some();
            let seated = raft.members().into_iter().map(|row| v1::SeatedServer {
                id: row.id.0,
                address: row.node.address,
                store: row.node.store.0.to_vec().into(),
                voter: row.voter,
            });
            status.members = seated.collect();
        }
        status
    }
}
