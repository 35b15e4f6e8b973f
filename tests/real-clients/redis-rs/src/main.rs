//! redis-rs' cluster client: every key, a pipeline, a transaction, a redirect from a node that is not the owner.

use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{AsyncCommands, RedisResult, Value, cmd, from_redis_value, pipe};
use std::process::ExitCode;

const KEYS: usize = 10_000;
const VERSION: &str = "1.8.1";

type Checked = Result<(), Box<dyn std::error::Error>>;

/// CR LF, NUL and a byte that is no UTF-8: a value is bytes.
fn value(number: usize) -> Vec<u8> {
    let mut bytes = format!("{number}\r\n\0").into_bytes();
    bytes.push(0xff);
    bytes.resize(bytes.len() + number % 100, b'x');
    bytes
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Checked {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, not {want:?}").into()) }
}

async fn every_key(client: &mut ClusterConnection) -> Checked {
    for number in 0..KEYS {
        let () = client.set(format!("redis-rs:{number}"), value(number)).await?;
    }
    for number in 0..KEYS {
        let got: Vec<u8> = client.get(format!("redis-rs:{number}")).await?;
        expect(&format!("key {number}"), got, value(number))?;
    }
    Ok(())
}

/// A cluster pipeline of redis-rs stays in one slot.
async fn pipeline(client: &mut ClusterConnection) -> Checked {
    let mut pipeline = pipe();
    for number in 0..1000 {
        pipeline.set(format!("{{redis-rs}}:{number}"), value(number)).ignore();
    }
    for number in 0..1000 {
        pipeline.get(format!("{{redis-rs}}:{number}"));
    }
    let got: Vec<Vec<u8>> = pipeline.query_async(client).await?;
    expect("pipeline", got, (0..1000).map(value).collect())
}

async fn transaction(client: &mut ClusterConnection) -> Checked {
    let mut pipeline = pipe();
    pipeline.atomic().set("{redis-rs}:a", 41).ignore().incr("{redis-rs}:a", 1).get("{redis-rs}:a");
    let got: (i64, String) = pipeline.query_async(client).await?;
    expect("transaction", got, (42, "42".to_owned()))
}

/// The command is sent to a node that does not own the slot, as from a stale map; the client follows the redirect.
async fn stale_redirect(client: &mut ClusterConnection) -> Checked {
    let () = client.set("redis-rs:stale", "here").await?;
    let slot: i64 = cmd("CLUSTER").arg("KEYSLOT").arg("redis-rs:stale").query_async(client).await?;
    let ranges: Vec<(i64, i64, (String, u16))> = primaries(client).await?;
    let (_, _, (host, port)) = ranges.iter().find(|(from, to, _)| !(from..=to).contains(&&slot)).ok_or("one node only")?;
    let direct = redis::Client::open(format!("redis://{host}:{port}"))?;
    let answer: RedisResult<Value> = direct.get_multiplexed_async_connection().await?.get("redis-rs:stale").await;
    let error = answer.err().ok_or("the node that does not own the slot answered")?;
    expect("redirect", error.redirect_node().map(|(_, slot)| i64::from(slot)), Some(slot))?;
    let wrong = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
    let mut get = cmd("GET");
    get.arg("redis-rs:stale");
    let got = client.route_command(get, RoutingInfo::SingleNode(wrong)).await?;
    expect("value behind a redirect", from_redis_value::<String>(got)?, "here".to_owned())
}

/// The ranges of CLUSTER SLOTS, each with its primary.
async fn primaries(client: &mut ClusterConnection) -> Result<Vec<(i64, i64, (String, u16))>, Box<dyn std::error::Error>> {
    let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    let rows: Vec<Vec<Value>> = from_redis_value(client.route_command(slots, any).await?)?;
    let mut ranges = Vec::new();
    for row in rows {
        let [from, to, node, ..] = row.as_slice() else { return Err("short row of CLUSTER SLOTS".into()) };
        let node: Vec<Value> = from_redis_value(node.clone())?;
        let [host, port, ..] = node.as_slice() else { return Err("short node of CLUSTER SLOTS".into()) };
        let node = (from_redis_value(host.clone())?, from_redis_value(port.clone())?);
        ranges.push((from_redis_value(from.clone())?, from_redis_value(to.clone())?, node));
    }
    Ok(ranges)
}

async fn run(seed: &str) -> Checked {
    let client = ClusterClient::new(vec![format!("redis://{seed}")])?;
    let mut connection = client.get_async_connection().await?;
    every_key(&mut connection).await?;
    pipeline(&mut connection).await?;
    transaction(&mut connection).await?;
    stale_redirect(&mut connection).await
}

#[tokio::main]
async fn main() -> ExitCode {
    let seed = std::env::args().nth(1).unwrap_or_default();
    match run(&seed).await {
        Ok(()) => {
            println!("redis-rs {VERSION}: {KEYS} keys, pipeline, transaction, redirect: ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("redis-rs {VERSION}: {error}");
            ExitCode::FAILURE
        }
    }
}
