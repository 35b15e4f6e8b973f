//! The client port: takes connections in and gives each a task. Refuses those beyond `maxclients` with Redis' error.

use crate::config::Key;
use crate::connection;
use crate::core::NodeCore;
use crate::resp::{Error, Reply};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long to wait when the system has no descriptor or memory left for another connection.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// Accepts clients until it is dropped.
pub async fn clients(core: Arc<NodeCore>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(&core, stream),
            Err(error) => {
                // The listener itself is sound; what fails is one connection (reset already), or the limits of the
                // system, which are not helped by asking again at once.
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

fn admit(core: &Arc<NodeCore>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = core.config.size(Key::TcpKeepalive);
    if keepalive > 0 {
        let probes = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive))
            .with_interval(Duration::from_secs(keepalive.div_ceil(3)));
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&probes);
    }
    let descriptor = stream.as_raw_fd();
    let stream = Arc::new(stream);
    let most = core.config.size(Key::Maxclients);
    match core.clients.enter(stream.clone(), descriptor, most, core.env.clock.boot()) {
        Ok(place) => {
            let authenticated = core.config.text(Key::Requirepass).is_empty();
            tokio::spawn(connection::serve(core.clone(), stream, place, authenticated));
        }
        Err(crate::clients::Full) => {
            core.stats.connections_rejected.fetch_add(1, Ordering::Relaxed);
            let mut refusal = Reply::default();
            refusal.error(&Error::MaxClients);
            // A fresh socket has room for a line; if not, the client learns it from the close.
            let _ = stream.try_write(refusal.bytes());
        }
    }
}
