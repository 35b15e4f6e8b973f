//! A connection to a meta server: dialled through the net seam, authenticated before its first HTTP/2 byte, and
//! given up when the other end falls silent.
//!
//! It connects when first used and again by itself after a break. It decides nothing about retries: whoever asks
//! treats `Unknown`, `Unavailable`, `Cancelled` and `DeadlineExceeded` alike, as "try the next meta server", see
//! [`try_the_next`] (CRATES 4).

use crate::auth::{Secret, Side, handshake};
use crate::env::Env;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

/// The most bytes of one message, either way: a whole cluster state fits many times over.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// How long a caller waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection, the handshake included.
    pub connect: Duration,
    /// For the answer to one call; an open stream is not cut by it.
    pub call: Duration,
    /// The pause between two signs of life that are asked of a silent server.
    pub keepalive: Duration,
}

impl Patience {
    /// For servers among themselves: a cut is noticed within 1.5 s.
    pub const SERVER: Self = Self {
        connect: Duration::from_secs(1),
        call: Duration::from_secs(5),
        keepalive: Duration::from_secs(1),
    };
    /// For a person who waits at a terminal.
    pub const PERSON: Self = Self {
        connect: Duration::from_secs(2),
        call: Duration::from_secs(10),
        keepalive: Duration::from_secs(2),
    };
}

/// An address that cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no HOST:PORT")]
pub struct BadAddress(pub String);

/// A channel to the meta server at `HOST:PORT`. Nothing is sent before the first call.
pub fn channel(env: &Env, secret: &Secret, address: &str, patience: Patience) -> Result<Channel, BadAddress> {
    let bad = || BadAddress(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(bad());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| bad())?;
    let endpoint = endpoint
        .connect_timeout(patience.connect)
        .timeout(patience.call)
        .http2_keep_alive_interval(patience.keepalive)
        .keep_alive_timeout(patience.keepalive / 2)
        .keep_alive_while_idle(true);
    let (env, secret, address) = (env.clone(), secret.clone(), address.to_owned());
    let connector = tower::service_fn(move |_: Uri| {
        let (env, secret, address) = (env.clone(), secret.clone(), address.clone());
        async move {
            let mut stream = env.net.connect(&address).await?;
            handshake(&mut stream, Side::Dialer, &secret, &*env.random).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Whether an error says nothing about the request but that this server did not answer it: another one may.
/// What was asked may still have been done.
#[must_use]
pub fn try_the_next(status: &Status) -> bool {
    match status.code() {
        Code::Unknown | Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_host_and_port_is_refused_before_anything_is_dialled() {
        for address in ["", "localhost", ":7050", "localhost:", "localhost:99999", "a b:1", "a:1/x"] {
            let made = channel(&Env::real(), &Secret::NONE, address, Patience::PERSON);
            assert!(made.is_err(), "{address}");
        }
        assert!(channel(&Env::real(), &Secret::NONE, "127.0.0.1:7050", Patience::PERSON).is_ok());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_means_try_the_next() {
        use crate::rpc::v1;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = nobody.local_addr().expect("bound").to_string();
        drop(nobody);
        let channel = channel(&Env::real(), &Secret::NONE, &address, Patience::PERSON).expect("an address");
        let mut admin = v1::admin_client::AdminClient::new(channel);
        let status = admin.members(v1::MembersRequest {}).await.expect_err("nobody listens");
        assert!(try_the_next(&status), "{status:?}");
    }
}
