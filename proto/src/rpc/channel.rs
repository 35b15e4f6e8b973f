//! A connection to a meta server: dialled through the net seam, authenticated before its first HTTP/2 byte, and
//! given up when the other end falls silent.
//!
//! It connects when first used and again by itself after a break. It decides nothing about retries: what an
//! error says about the request stands in [`super::redirect`].

use crate::auth::{Secret, Side, handshake};
use crate::env::Env;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};

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
}
