//! A process that writes to the sled store is killed with SIGKILL, again and again: what it said is durable is there,
//! nothing is there by half, and the store opens every time.
//!
//! Longer: `CAPSTAN_KILLS=250 cargo test -p capstan-meta --test kill`.

use capstan_proto::env::{Clock, Disk, Op, RealClock, RealDisk, Store};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Names the folder to the child.
const FOLDER: &str = "CAPSTAN_KILL_FOLDER";
/// How many keys a generation writes in one step.
const KEYS: u64 = 17;
const KILLS_IN_CI: u32 = 12;

fn open(dir: &Path) -> Arc<dyn Store> {
    RealDisk.open_store(dir).expect("a killed writer leaves a store that opens")
}

fn key(n: u64) -> Vec<u8> {
    [b"k", &n.to_be_bytes()[..]].concat()
}

/// Of very different sizes, so that some are cut into parts.
fn value(generation: u64, n: u64) -> Vec<u8> {
    let length = 8 + (n * 631 + generation * 97) % 9000;
    let mut value = generation.to_be_bytes().to_vec();
    value.resize(usize::try_from(length).expect("small"), n as u8);
    value
}

/// The generation that the store holds, which must be one and the same in every key.
fn generation(store: &dyn Store) -> u64 {
    let pairs = store.scan(b"k", b"l", 100).expect("readable");
    let Some((_, first)) = pairs.first() else { return 0 };
    let generation = u64::from_be_bytes(first[..8].try_into().expect("8 bytes"));
    assert_eq!(pairs.len() as u64, KEYS);
    for (n, (found, held)) in (0..).zip(&pairs) {
        assert_eq!((found, held), (&key(n), &value(generation, n)), "a step is there by half");
    }
    generation
}

/// The child: not a test by itself.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let store = open(Path::new(&dir));
    let mut generation = generation(&*store);
    let mut said = std::io::stdout().lock();
    loop {
        generation += 1;
        store.write((0..KEYS).map(|n| Op::Put(key(n), value(generation, n))).collect()).expect("room");
        store.flush().expect("a disk that works");
        writeln!(said, "durable {generation}").expect("the parent reads");
        said.flush().expect("the parent reads");
    }
}

#[test]
fn what_was_durable_survives_kill_9() {
    let kills = std::env::var("CAPSTAN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_IN_CI);
    let dir = tempfile::tempdir().expect("a folder");
    let mut steps = 0;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut durable = 0;
        // At a moment that differs from time to time: after some steps, in the middle of the next.
        let wanted = 3 + u64::from(kill * 7 % 40);
        let begun = RealClock.boot();
        while durable == 0 || steps < wanted {
            assert!(RealClock.boot().since(begun) < Duration::from_secs(60), "the writer does not write");
            let line = lines.next().expect("the child lives").expect("readable");
            if let Some(text) = line.strip_prefix("durable ").or_else(|| line.split("durable ").nth(1)) {
                durable = text.trim().parse().expect("a number");
                steps += 1;
            }
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        // What it said between the last line that was read and the kill.
        let said =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("durable ")?.trim().parse().ok());
        durable = said.max().unwrap_or(durable).max(durable);
        let held = generation(&*open(dir.path()));
        assert!(held >= durable, "kill {kill}: {durable} was durable, {held} is there");
        steps = 0;
    }
    println!("{kills} kills");
}
