//! Who is connected: one record per client connection, for CLIENT, INFO, the limits and the end of the node.
//!
//! The connection owns its record and writes what it did into it once per read batch, with plain atomic stores: no
//! lock and no shared cache line on the hot path. Everybody else only reads it, or cuts the client off: that marks the
//! record and shuts the socket down, so a connection needs no timer and no wake-up of its own. The list of all
//! records has one lock, taken when a client comes, goes or is listed.

pub mod line;
pub mod sweep;

use crate::resp::Resp;
use crate::session::Session;
use capstan_proto::env::Boot;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What a client calls itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// The user that it acts as.
    pub user: String,
}

/// What a connection tells about itself after a batch of commands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Activity {
    /// When the batch was read.
    pub at: Boot,
    /// The last command, by its number in the table.
    pub command: usize,
    /// The selected database.
    pub db: u8,
    /// The protocol version, 2 or 3.
    pub resp: u8,
    /// Commands that wait for EXEC; -1 outside of MULTI.
    pub multi: i32,
    /// READONLY was said.
    pub readonly: bool,
    /// Bytes of an unfinished request, and room left behind them.
    pub query: (usize, usize),
    /// Bytes of replies that could not be sent yet.
    pub waiting: usize,
}

/// One connected client.
#[derive(Debug)]
pub struct Client {
    /// CLIENT ID: never given twice by one process.
    pub id: u64,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Which of our addresses it reached.
    pub to: SocketAddr,
    /// The descriptor's number, for CLIENT LIST.
    pub descriptor: i32,
    /// When it came.
    pub since: Boot,
    names: Mutex<Names>,
    socket: Option<Arc<TcpStream>>,
    killed: AtomicBool,
    no_evict: AtomicBool,
    no_touch: AtomicBool,
    blocked: AtomicBool,
    readonly: AtomicBool,
    used: AtomicU64,
    command: AtomicUsize,
    db: AtomicU8,
    resp: AtomicU8,
    multi: AtomicI32,
    query: AtomicUsize,
    query_free: AtomicUsize,
    waiting: AtomicUsize,
    /// When the soft output limit was first seen exceeded; `u64::MAX`: it is not. Written by the sweep.
    above_since: AtomicU64,
}

impl Client {
    /// What the connection did last.
    pub fn note(&self, activity: &Activity) {
        self.used.store(activity.at.0, Relaxed);
        self.command.store(activity.command, Relaxed);
        self.db.store(activity.db, Relaxed);
        self.resp.store(activity.resp, Relaxed);
        self.multi.store(activity.multi, Relaxed);
        self.readonly.store(activity.readonly, Relaxed);
        self.query.store(activity.query.0, Relaxed);
        self.query_free.store(activity.query.1, Relaxed);
        self.waiting.store(activity.waiting, Relaxed);
    }

    /// What the session is now, for a client that asks about itself in the middle of a batch.
    pub fn note_session(&self, session: &Session, now: Boot, command: Option<usize>) {
        self.used.store(now.0, Relaxed);
        self.db.store(session.db, Relaxed);
        self.resp.store(if session.resp == Resp::Three { 3 } else { 2 }, Relaxed);
        self.readonly.store(session.readonly, Relaxed);
        if let Some(command) = command {
            self.command.store(command, Relaxed);
        }
    }

    /// Whether it waits for an element.
    pub fn note_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// How many bytes of replies wait, told while the connection waits for the socket.
    pub fn note_waiting(&self, bytes: usize) {
        self.waiting.store(bytes, Relaxed);
    }

    /// Has the client go: it executes nothing more, but the replies to what it has executed still leave.
    pub fn finish(&self) {
        self.killed.store(true, Relaxed);
        if let Some(socket) = &self.socket {
            let _ = socket2::SockRef::from(&**socket).shutdown(std::net::Shutdown::Read);
        }
    }

    /// Cuts the client off: commands that it has sent and that have not begun are not executed any more.
    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
        if let Some(socket) = &self.socket {
            // It may be closed already: then there is nothing left to do.
            let _ = socket2::SockRef::from(&**socket).shutdown(std::net::Shutdown::Both);
        }
    }

    /// Whether it was cut off: the connection asks before each batch.
    #[inline]
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// When it last sent a command.
    #[must_use]
    pub fn last_used(&self) -> Boot {
        Boot(self.used.load(Relaxed))
    }

    /// Bytes of replies that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Bytes that its request buffer occupies.
    #[must_use]
    pub fn query_size(&self) -> usize {
        self.query.load(Relaxed) + self.query_free.load(Relaxed)
    }

    /// What it calls itself.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.lock().clone()
    }

    /// Changes what it calls itself.
    pub fn rename(&self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names.lock());
    }

    /// CLIENT NO-EVICT.
    pub fn set_no_evict(&self, on: bool) {
        self.no_evict.store(on, Relaxed);
    }

    /// CLIENT NO-TOUCH, to be shown; the session obeys it.
    pub fn set_no_touch(&self, on: bool) {
        self.no_touch.store(on, Relaxed);
    }
}

/// The node has as many clients as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ERR max number of clients reached")]
pub struct Full;

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Clients {
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    last: AtomicU64,
    count: AtomicU32,
    left: Notify,
}

/// A connection's place in the list, given up when it is dropped.
#[derive(Debug)]
pub struct Place {
    client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Place {
    /// The record.
    #[must_use]
    pub const fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.all.lock().remove(&self.client.id);
        self.clients.count.fetch_sub(1, Relaxed);
        self.clients.left.notify_waiters();
    }
}

impl Clients {
    /// Takes in a connection unless there are `most` already. `descriptor` is shown to operators only.
    pub fn enter(
        self: &Arc<Self>,
        socket: Arc<TcpStream>,
        descriptor: i32,
        most: u64,
        now: Boot,
    ) -> Result<Place, Full> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let from = socket.peer_addr().unwrap_or(nowhere);
        let to = socket.local_addr().unwrap_or(nowhere);
        self.add(Some(socket), (from, to), descriptor, most, now)
    }

    fn add(
        self: &Arc<Self>,
        socket: Option<Arc<TcpStream>>,
        (from, to): (SocketAddr, SocketAddr),
        descriptor: i32,
        most: u64,
        now: Boot,
    ) -> Result<Place, Full> {
        if u64::from(self.count.fetch_add(1, Relaxed)) >= most {
            self.count.fetch_sub(1, Relaxed);
            return Err(Full);
        }
        let client = Arc::new(Client {
            id: self.last.fetch_add(1, Relaxed) + 1,
            from,
            to,
            descriptor,
            since: now,
            names: Mutex::new(Names { user: "default".into(), ..Names::default() }),
            socket,
            killed: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            readonly: AtomicBool::new(false),
            used: AtomicU64::new(now.0),
            command: AtomicUsize::new(usize::MAX),
            db: AtomicU8::new(0),
            resp: AtomicU8::new(2),
            multi: AtomicI32::new(-1),
            query: AtomicUsize::new(0),
            query_free: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            above_since: AtomicU64::new(u64::MAX),
        });
        self.all.lock().insert(client.id, client.clone());
        Ok(Place { client, clients: self.clone() })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Returns when nobody is connected any more.
    pub async fn all_gone(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Enlist first, then look: one that leaves in between is not missed.
            left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// All of them, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.all.lock().get(&id).cloned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn enter(clients: &Arc<Clients>, most: u64, now: Boot) -> Result<Place, Full> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        clients.add(None, (address(5000), address(6379)), 8, most, now)
    }

    #[test]
    fn clients_beyond_the_limit_are_refused_until_one_leaves() {
        let clients = Arc::new(Clients::default());
        let first = enter(&clients, 2, Boot(0)).expect("room");
        let second = enter(&clients, 2, Boot(0)).expect("room");
        assert!(enter(&clients, 2, Boot(0)).is_err());
        assert_eq!((first.client().id, second.client().id, clients.count()), (1, 2, 2));
        drop(first);
        let third = enter(&clients, 2, Boot(0)).expect("room again");
        assert_eq!(third.client().id, 3, "ids are not given twice");
        assert_eq!(clients.list().iter().map(|c| c.id).collect::<Vec<_>>(), [2, 3]);
        assert!(clients.get(1).is_none());
    }
}
