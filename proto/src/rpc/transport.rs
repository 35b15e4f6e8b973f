//! gRPC over the net seam: how a channel to a meta server is made, and what a meta server accepts connections with.
//!
//! Every connection begins with [`crate::auth::handshake`], on both sides, before the first byte of HTTP/2. Nothing
//! here waits without a bound: dialling, the handshake and the first byte of a peer have limits, silent peers are
//! found by HTTP/2 pings.

use crate::auth::{Secret, Side, handshake};
use crate::env::{Env, Listener, Stream};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

/// The largest message that a client or a server decodes: a whole cluster state with room to spare.
pub const MESSAGE_MAX: usize = 64 << 20;
/// A peer that answers no ping for so long after [`PING_EVERY`] is gone.
pub const PING_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often a silent connection is pinged.
pub const PING_EVERY: Duration = Duration::from_millis(1000);
/// A server that cannot be dialled within this is unreachable.
pub const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// A peer that has authenticated but says nothing for so long is cut off.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(10);
/// Connections at once, those in their handshake included; above it new ones are closed at once.
const CONNECTIONS_MAX: usize = 16_384;
/// Authenticated connections that wait for the server to take them.
const ACCEPT_QUEUE: usize = 64;
/// After a failed accept (out of descriptors) wait so long.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// An address that no channel can be made to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no HOST:PORT")]
pub struct BadAddress(pub String);

/// A channel to one meta server. It dials when it is first used and again after every break; the caller bounds each
/// call by a timeout of its own. Unknown, Unavailable, Cancelled and DeadlineExceeded all mean: try another server.
pub fn channel(env: &Env, secret: &Secret, address: &str) -> Result<Channel, BadAddress> {
    let bad = || BadAddress(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(bad());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| bad())?
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let (env, secret, address) = (env.clone(), secret.clone(), Arc::<str>::from(address));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let (env, secret, address) = (env.clone(), secret.clone(), Arc::clone(&address));
        async move { dial(&env, &secret, &address).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Opens an authenticated connection, within [`DIAL_LIMIT`].
pub async fn dial(env: &Env, secret: &Secret, address: &str) -> io::Result<Stream> {
    let opening = async {
        let mut stream = env.net.connect(address).await?;
        handshake(&mut stream, Side::Dialer, secret, &*env.random).await?;
        Ok(stream)
    };
    match tokio::time::timeout(DIAL_LIMIT, opening).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
    }
}

/// An authenticated connection, as a gRPC server takes it.
pub struct Accepted {
    stream: Stream,
    from: SocketAddr,
    /// Until the first byte came.
    silent_until: Option<Pin<Box<tokio::time::Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Accepted {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.from
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(limit) = &mut self.silent_until {
            if buf.filled().len() > before {
                self.silent_until = None;
            } else if polled.is_pending() && limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer said nothing")));
            }
        }
        polled
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts and authenticates connections until the returned stream is dropped: give it to
/// `tonic::transport::Server::serve_with_incoming`.
pub fn incoming(
    env: Env,
    secret: Secret,
    mut listener: Box<dyn Listener>,
) -> tokio_stream::wrappers::ReceiverStream<io::Result<Accepted>> {
    let (taken, ready) = mpsc::channel(ACCEPT_QUEUE);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = taken.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::debug!(%from, "connection closed: {CONNECTIONS_MAX} are open");
                continue;
            };
            let (env, secret, taken) = (env.clone(), secret.clone(), taken.clone());
            tokio::spawn(async move { welcome(&env, &secret, stream, from, place, taken).await });
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(ready)
}

async fn welcome(
    env: &Env,
    secret: &Secret,
    mut stream: Stream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    taken: mpsc::Sender<io::Result<Accepted>>,
) {
    if let Err(error) = handshake(&mut stream, Side::Listener, secret, &*env.random).await {
        tracing::debug!(%from, %error, "connection refused");
        return;
    }
    let silent_until = Some(Box::pin(tokio::time::sleep(FIRST_BYTE_LIMIT)));
    // If the server has ended meanwhile nobody misses this connection.
    let _ = taken.send(Ok(Accepted { stream, from, silent_until, _place: place })).await;
}
