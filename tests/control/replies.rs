//! ►9: the lease is looked at once more before replies leave.
//!
//! Either the process is "paused" between execution and reply, by a clock that jumps between the two looks at it; or a
//! transaction goes on for longer than the lease that it began under.

use super::harness::{Metas, Node, until};
use super::leases::{folder, primary_under};
use capstan_node::accept;
use capstan_node::config::load;
use capstan_node::core::NodeCore;
use capstan_node::store::Access;
use capstan_proto::env::{Boot, Clock, Env, RealClock, UnixMs};
use capstan_proto::rules::{Rule, Rules};
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

async fn node(rules: Rules) -> (Arc<NodeCore>, Arc<Pausing>, TcpStream) {
    let clock = Arc::new(Pausing::default());
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, rules, ..Env::real() };
    let flags = [("meta".to_owned(), "127.0.0.1:1".to_owned())];
    let core = NodeCore::new(env, load::load(None, |_| None, flags).expect("good settings"));
    core.lanes.set_access(|_| Access::Mine);
    core.serving.set_until(LEASE_END);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(accept::clients(Arc::clone(&core), listener));
    (core, clock, TcpStream::connect(address).await.expect("it listens"))
}

/// Reads until the bytes end like this; without any, until the connection ends.
async fn all_that_comes(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while !got.ends_with(end) || end.is_empty() {
            match client.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(read) => got.extend_from_slice(&part[..read]),
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), reading).await.is_ok(), "nothing more, no end");
    got
}

#[tokio::test]
async fn a_write_that_executed_before_a_pause_is_not_answered_after_the_lease_and_its_connection_is_closed() {
    let (core, clock, mut client) = node(Rules::ALL).await;
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
async fn without_rule_9_the_same_write_is_answered_after_the_lease() {
    let (_core, clock, mut client) = node(Rules::ALL.without(Rule::CheckBeforeReply)).await;
    client.write_all(b"SET before 1\r\n").await.expect("connected");
    assert_eq!(all_that_comes(&mut client, b"\r\n").await, b"+OK\r\n");
    clock.armed.store(true, Ordering::SeqCst);
    client.write_all(b"SET during 1\r\n").await.expect("connected");
    assert_eq!(all_that_comes(&mut client, b"\r\n").await, b"+OK\r\n");
}

#[tokio::test]
async fn after_the_lease_nothing_is_executed_and_clients_are_told_so() {
    let (core, _clock, mut client) = node(Rules::ALL).await;
    core.serving.set_until(Boot(0));
    client.write_all(b"SET key 1\r\n").await.expect("connected");
    let reply = all_that_comes(&mut client, b"\r\n").await;
    assert!(reply.starts_with(b"-CLUSTERDOWN"), "{}", String::from_utf8_lossy(&reply));
    core.serving.set_until(LEASE_END);
    client.write_all(b"EXISTS key\r\n").await.expect("still connected");
    assert_eq!(all_that_comes(&mut client, b"\r\n").await, b":0\r\n");
}

/// What a command that looks through everything has to look through.
const KEYS: usize = 50_000;
/// So many of them are timed together.
const SAMPLE: usize = 30;
/// Finds nothing, in all of them.
const LONG: &[u8] = b"KEYS nothing*\r\n";

/// How long [`LONG`] takes here at least, as one of many in a transaction: alone it lets the lanes go and has a reply of
/// its own, which takes longer.
async fn long_takes(node: &Node, client: &mut TcpStream) -> Duration {
    let sets: Vec<u8> = (0..KEYS).flat_map(|n| format!("SET key:{n} value\r\n").into_bytes()).collect();
    let (mut reader, mut writer) = client.split();
    let mut replies = vec![0; KEYS * b"+OK\r\n".len()];
    let (sent, read) = tokio::join!(writer.write_all(&sets), reader.read_exact(&mut replies));
    sent.and(read).expect("connected");
    let many = [b"MULTI\r\n".as_slice(), &LONG.repeat(SAMPLE), b"EXEC\r\n"].concat();
    let end = format!("*{SAMPLE}\r\n{}", "*0\r\n".repeat(SAMPLE));
    let mut least = Duration::MAX;
    // The least of some: what else this machine did meanwhile is not the command's own time.
    for _ in 0..3 {
        let begun = node.now();
        client.write_all(&many).await.expect("connected");
        assert!(all_that_comes(client, end.as_bytes()).await.ends_with(end.as_bytes()));
        least = least.min(node.now().since(begun) / SAMPLE as u32);
    }
    least
}

/// Everything that a client hears which sends, under a real lease of real meta servers that are stopped then, a
/// transaction of twice the length of what is left of the lease. Also says whether the transaction was executed.
async fn heard_of_a_transaction_that_outlasts_the_lease(rules: Rules) -> (String, usize, bool) {
    let (mut metas, dir) = (Metas::start(1), folder());
    let node = primary_under(rules, &metas, &dir).await;
    let mut client = node.client().await;
    let each = long_takes(&node, &mut client).await;
    tokio::task::block_in_place(|| metas.stop_all());
    let left = node.core.serving.until().since(node.now());
    let long = (2 * left.as_nanos() / each.as_nanos().max(1)) as usize + 1;
    let transaction = [b"MULTI\r\nSET during 1\r\n".as_slice(), &LONG.repeat(long), b"EXEC\r\n"].concat();
    let begun = node.now();
    client.write_all(&transaction).await.expect("connected");
    let end = format!("*{}\r\n+OK\r\n{}", long + 1, "*0\r\n".repeat(long));
    let heard = all_that_comes(&mut client, end.as_bytes()).await;
    let took = node.now().since(begun);
    assert!(!node.serves() && took > left, "it ended under its lease: {took:?} of {left:?}");
    metas.start_all();
    until("it serves again", || node.serves()).await;
    let mut client = node.client().await;
    client.write_all(b"EXISTS during\r\n").await.expect("connected");
    let executed = all_that_comes(&mut client, b"\r\n").await == b":1\r\n";
    node.stop().await;
    (String::from_utf8_lossy(&heard).into_owned(), long, executed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_outlasts_its_lease_has_executed_and_its_connection_is_closed_without_a_reply() {
    let (heard, long, executed) = heard_of_a_transaction_that_outlasts_the_lease(Rules::ALL).await;
    assert_eq!(heard, format!("+OK\r\n{}", "+QUEUED\r\n".repeat(long + 1)), "only what came before EXEC");
    assert!(executed, "it began under the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rule_9_a_transaction_that_outlasts_its_lease_is_answered() {
    let rules = Rules::ALL.without(Rule::CheckBeforeReply);
    let (heard, long, executed) = heard_of_a_transaction_that_outlasts_the_lease(rules).await;
    assert!(heard.contains(&format!("*{}\r\n+OK\r\n", long + 1)), "the reply was expected");
    assert!(executed);
}
