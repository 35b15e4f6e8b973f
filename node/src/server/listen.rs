//! The sockets that clients connect to: every address of `bind`, all on one port, or a message that says what to do.

use crate::config::{Config, Key, Needed};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("{0} is in use: another server listens there. Choose another --port, or stop that one")]
    InUse(SocketAddr),
    /// Only a privileged user may.
    #[error("{0}: this user may not listen there. Ports below 1024 need privileges: choose another --port")]
    Forbidden(SocketAddr),
    /// The machine has no such address.
    #[error("{0} is no address of this machine: correct --bind, or put a '-' before it to go on without it")]
    NotHere(SocketAddr),
    /// A name that stands for no address.
    #[error("bind: '{name}' is no address: {error}")]
    Name {
        /// The name.
        name: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// Nothing of what could have been there was.
    #[error("bind: none of the addresses '{0}' is there")]
    Nothing(String),
    /// Anything else.
    #[error("{address}: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// Listens on all addresses. With port 0 the first address picks the port and the others follow.
pub(super) async fn all(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    let wanted_port = u16::try_from(config.number(Key::Port)).unwrap_or(0);
    let backlog = i32::try_from(config.number(Key::TcpBacklog)).unwrap_or(i32::MAX);
    let mut listeners: Vec<TcpListener> = Vec::new();
    for (name, needed) in config.bind_addresses() {
        for ip in resolve(&name).await? {
            let port = listeners
                .first()
                .and_then(|first| first.local_addr().ok())
                .map_or(wanted_port, |at| at.port());
            let address = SocketAddr::new(ip, port);
            match one(address, backlog) {
                Ok(listener) => listeners.push(listener),
                // A port that the system picked for the first address may be taken on the next.
                Err(error) if needed == Needed::IfThere && (wanted_port == 0 || !is_in_use(&error)) => {
                    tracing::debug!(%address, %error, "not listened on");
                }
                Err(error) => return Err(explain(address, error)),
            }
        }
    }
    if listeners.is_empty() {
        return Err(ListenError::Nothing(config.text(Key::Bind).as_ref().clone()));
    }
    Ok(listeners)
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn explain(address: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::PermissionDenied => ListenError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
        _ => ListenError::Other { address, error },
    }
}

/// `*` is every address of IPv4, `::*` and `::` every one of IPv6; a name is looked up.
async fn resolve(name: &str) -> Result<Vec<IpAddr>, ListenError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare {
        "*" => return Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
        "::*" => return Ok(vec![Ipv6Addr::UNSPECIFIED.into()]),
        _ => {}
    }
    if let Ok(ip) = bare.parse() {
        return Ok(vec![ip]);
    }
    let failed = |error| ListenError::Name { name: name.into(), error };
    let mut found: Vec<IpAddr> =
        tokio::net::lookup_host((bare, 0)).await.map_err(failed)?.map(|address| address.ip()).collect();
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

fn one(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections to be forgotten; two servers on one port stay impossible.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
