//! Resident memory per key: a fresh process, filled; what it then holds more than when it was empty.

use super::load;
use crate::proc::resident_bytes;
use crate::report::Row;
use crate::servers::{Kind, Server};
use capstan_tests::process::wait_until;
use std::io;
use std::time::Duration;

/// The ratio that is asked at 1 and at 5 million keys.
const BOUND: f64 = 0.55;
/// Memory has come to rest when it did not change for so many looks (some 5 ms apart).
const LOOKS: u32 = 100;
/// A table may still be rehashing when the last key is in.
const REST_MAX: Duration = Duration::from_secs(30);

/// Measures each count of keys on servers of its own.
pub(crate) fn run(kinds: [&Kind; 2], counts: &[u64], say: &mut dyn FnMut(String)) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &count in counts {
        let mut bytes_a_key = [0.0; 2];
        for (kind, figure) in kinds.iter().zip(&mut bytes_a_key) {
            let running = kind.start()?;
            let server = &running.server;
            let empty = at_rest(server)?;
            load(server, "key:", count, 32)?;
            let full = at_rest(server)?;
            *figure = full.saturating_sub(empty) as f64 / count as f64;
            say(format!(
                "{:<8} {count} keys: {empty} bytes empty, {full} full, {figure:.1} a key",
                server.name
            ));
        }
        let [ours, theirs] = bytes_a_key;
        rows.push(Row {
            name: format!("memory at {count} keys"),
            unit: "bytes a key (16 of key, 32 of value)",
            capstan: vec![ours],
            redis: vec![theirs],
            result: ours / theirs,
            bound: Some(BOUND),
            notes: vec![],
        });
    }
    Ok(rows)
}

fn at_rest(server: &Server) -> io::Result<u64> {
    let (mut last, mut same) = (resident_bytes(server.pid)?, 0);
    wait_until(REST_MAX, || {
        let now = resident_bytes(server.pid).unwrap_or(0);
        same = if now.abs_diff(last) <= 4096 { same + 1 } else { 0 };
        last = now;
        same >= LOOKS
    });
    resident_bytes(server.pid)
}
