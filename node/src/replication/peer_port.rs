//! The peer port: takes connections of other nodes in, lets them authenticate, and gives each that is a replica a session.
//!
//! Without a cluster secret it listens on loopback only. Whoever is slow or silent is cut off by the handshake's and the
//! session's limits; the listener itself stays sound whatever comes.

use super::session;
use crate::cluster::addresses::PEER_PORT_OFFSET;
use crate::config::Key;
use crate::core::NodeCore;
use capstan_proto::auth::{Secret, Side, handshake};
use capstan_proto::env::{Listener, Stream};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once, those in their handshake included; above it new ones are closed at once.
const CONNECTIONS_MAX: usize = 16_384;
/// Replicas that are served at once.
const SESSIONS_MAX: usize = 64;
/// After a failed accept (out of descriptors) wait so long.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const LOOPBACK: &str = "127.0.0.1";

/// Why peers cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[error("peer port {address}: {error}. Peers use the client port + {PEER_PORT_OFFSET}: choose a client port below {} whose peer port is free", u16::MAX - PEER_PORT_OFFSET + 1)]
pub struct BindError {
    /// Where.
    address: String,
    /// What the system said.
    error: io::Error,
}

/// Listens for peers on the port that belongs to a client port; remembers which it is. A client port that the system has
/// picked may have no free peer port: then that is picked as well.
pub async fn bind(core: &NodeCore, secret: &Secret) -> Result<Vec<Box<dyn Listener>>, BindError> {
    let client = core.port.get().copied().unwrap_or_default();
    let wanted = client.checked_add(PEER_PORT_OFFSET).unwrap_or(0);
    let picked = core.config.number(Key::Port) == 0;
    let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
    for ip in addresses(core, secret) {
        let port = core.replication.peer_port.get().copied().unwrap_or(wanted);
        let first = listeners.is_empty();
        let bound = match core.env.net.listen(&at(&ip, port)).await {
            Err(_) if picked && first => core.env.net.listen(&at(&ip, 0)).await,
            bound => bound,
        };
        let listener = bound.map_err(|error| BindError { address: at(&ip, port), error })?;
        if let Ok(address) = listener.local_addr() {
            // Set once: every address has the same port.
            let _ = core.replication.peer_port.set(address.port());
            tracing::info!(%address, "listening for peers");
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn at(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Where to listen: on the addresses of the client port; without a secret on loopback only.
fn addresses(core: &NodeCore, secret: &Secret) -> Vec<String> {
    let bound = core.config.bind_addresses().into_iter().map(|(name, _)| match name.as_str() {
        "*" => "0.0.0.0".to_owned(),
        "::*" => "::".to_owned(),
        name => name.trim_matches(['[', ']']).to_owned(),
    });
    let loopback = |name: &String| name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let mut chosen: Vec<String> = bound.filter(|name| secret.is_set() || loopback(name)).collect();
    if chosen.iter().any(|name| name == "0.0.0.0") {
        // The other family is there on most machines only.
        chosen = vec!["0.0.0.0".to_owned()];
    }
    if chosen.is_empty() {
        chosen.push(LOOPBACK.to_owned());
    }
    chosen
}

/// Serves peers until it is dropped.
pub async fn run(core: Arc<NodeCore>, mut listener: Box<dyn Listener>, secret: Secret) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sessions = Arc::new(Semaphore::new(SESSIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no further peer can be accepted now");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let (core, secret, sessions) = (core.clone(), secret.clone(), sessions.clone());
        tasks.spawn(async move {
            welcome(&core, &secret, stream, from, &sessions).await;
            drop(place);
        });
    }
}

async fn welcome(
    core: &Arc<NodeCore>,
    secret: &Secret,
    mut stream: Stream,
    from: SocketAddr,
    sessions: &Semaphore,
) {
    if let Err(error) = handshake(&mut stream, Side::Listener, secret, &*core.env.random).await {
        tracing::debug!(%from, %error, "a peer is refused");
        return;
    }
    let ended = session::serve(core, stream, from, sessions).await;
    tracing::debug!(%from, %ended, "a peer's connection has ended");
}
