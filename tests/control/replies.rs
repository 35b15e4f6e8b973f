//! ►9: the lease is looked at once more before replies leave.
//!
//! The process is "paused" between execution and reply by a clock that jumps between the two looks at it.

use capstan_node::accept;
use capstan_node::config::load;
use capstan_node::core::NodeCore;
use capstan_node::store::Access;
use capstan_proto::env::{Boot, Clock, Env, RealClock, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const START: u64 = 1_000_000_000;
const LEASE_END: Boot = Boot(2 * START);

/// Stands still; once armed, it jumps past the lease after the next look at it.
#[derive(Default)]
struct Pausing {
    now: AtomicU64,
    armed: AtomicBool,
}

impl Clock for Pausing {
    fn boot(&self) -> Boot {
        let seen = self.now.load(Ordering::SeqCst).max(START);
        if self.armed.load(Ordering::SeqCst) {
            self.now.store(LEASE_END.0, Ordering::SeqCst);
        }
        Boot(seen)
    }

    fn wall(&self) -> UnixMs {
        RealClock.wall()
    }
}

async fn node() -> (Arc<NodeCore>, Arc<Pausing>, TcpStream) {
    let clock = Arc::new(Pausing::default());
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::real() };
    let flags = [("meta".to_owned(), "127.0.0.1:1".to_owned())];
    let core = NodeCore::new(env, load::load(None, |_| None, flags).expect("good settings"));
    core.lanes.set_access(|_| Access::Mine);
    core.serving.set_until(LEASE_END);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(accept::clients(Arc::clone(&core), listener));
    (core, clock, TcpStream::connect(address).await.expect("it listens"))
}

async fn all_that_comes(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    let reading = async {
        let mut part = [0; 512];
        while !got.ends_with(end) || end.is_empty() {
            match client.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(read) => got.extend_from_slice(&part[..read]),
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), reading).await.is_ok(), "nothing more, no end");
    got
}

#[tokio::test]
async fn a_write_that_executed_before_a_pause_is_not_answered_after_the_lease_and_its_connection_is_closed() {
    let (core, clock, mut client) = node().await;
    client.write_all(b"SET before 1\r\n").await.expect("connected");
    assert_eq!(all_that_comes(&mut client, b"\r\n").await, b"+OK\r\n");
    clock.armed.store(true, Ordering::SeqCst);
    client.write_all(b"SET during 1\r\n").await.expect("connected");
    assert_eq!(
        all_that_comes(&mut client, b"").await,
        b"",
        "neither a reply nor an error: the outcome is unknown"
    );
    assert!(core.stats.processed.load(Ordering::SeqCst) >= 2, "it did execute");
}

#[tokio::test]
async fn after_the_lease_nothing_is_executed_and_clients_are_told_so() {
    let (core, _clock, mut client) = node().await;
    core.serving.set_until(Boot(0));
    client.write_all(b"SET key 1\r\n").await.expect("connected");
    let reply = all_that_comes(&mut client, b"\r\n").await;
    assert!(reply.starts_with(b"-CLUSTERDOWN"), "{}", String::from_utf8_lossy(&reply));
    core.serving.set_until(LEASE_END);
    client.write_all(b"EXISTS key\r\n").await.expect("still connected");
    assert_eq!(all_that_comes(&mut client, b"\r\n").await, b":0\r\n");
}
