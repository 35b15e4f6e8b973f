//! The client port: takes connections in and gives each a task. Refuses those beyond `maxclients` with Redis' error.
//!
//! The listener itself stays sound whatever happens: what fails is one connection that is gone already, or the limits
//! of the system, which are not helped by asking again at once.

use crate::clients::{Full, Place};
use crate::config::Key;
use crate::connection;
use crate::core::NodeCore;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The first pause after the system had no descriptor or no memory for another connection; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
/// The longest of these pauses.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Accepts clients until it is dropped.
pub async fn clients(core: Arc<NodeCore>, listener: TcpListener) {
    let mut pause = BACK_OFF_FIRST;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = BACK_OFF_FIRST;
                admit(&core, stream);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if pause == BACK_OFF_FIRST {
                    tracing::warn!(%error, "no further client can be accepted now");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF_MAX);
            }
        }
    }
}

/// The connection was gone before it was accepted: nothing is wrong with the node.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Gives a connection its place and its task, or tells it that there is no room.
fn admit(core: &Arc<NodeCore>, stream: TcpStream) {
    if let Err(error) = prepare(core, &stream) {
        tracing::debug!(%error, "a client was gone before it was served");
        return;
    }
    let stream = Arc::new(stream);
    let most = core.config.size(Key::Maxclients);
    let now = core.env.clock.boot();
    match core.clients.enter(stream.clone(), stream.as_raw_fd(), most, now) {
        Ok(place) => start(core, stream, place),
        Err(full @ Full) => {
            core.stats.connections_rejected.fetch_add(1, Relaxed);
            // A fresh socket has room for one line; if not, the client learns it by the close.
            let _ = stream.try_write(format!("-{full}\r\n").as_bytes());
        }
    }
}

fn start(core: &Arc<NodeCore>, stream: Arc<TcpStream>, place: Place) {
    let authenticated = core.config.text(Key::Requirepass).is_empty();
    tokio::spawn(connection::serve(core.clone(), stream, place, authenticated));
}

/// Small replies leave at once; a client whose machine is gone is noticed.
fn prepare(core: &NodeCore, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let seconds = core.config.size(Key::TcpKeepalive);
    if seconds > 0 {
        let socket = socket2::SockRef::from(stream);
        // As Redis: the first probe after the interval, then three more at a third of it.
        let idle = Duration::from_secs(seconds.min(MOST_KEEPALIVE_SECONDS));
        let every = Duration::from_secs((idle.as_secs() / 3).max(1));
        let probes = socket2::TcpKeepalive::new().with_time(idle).with_interval(every).with_retries(3);
        socket.set_tcp_keepalive(&probes)?;
    }
    Ok(())
}

/// The longest idle time that Linux takes.
const MOST_KEEPALIVE_SECONDS: u64 = 32_767;
