//! What is measured, scenario by scenario: each takes two running servers in turn and gives rows of a report.

pub(crate) mod kills;
pub(crate) mod memory;
pub(crate) mod ratios;
pub(crate) mod replica;
pub(crate) mod resync;
pub(crate) mod tails;

use crate::admin::Admin;
use crate::commands::{Commands, Keys, Verb};
use crate::engine::{Closed, Engine};
use crate::servers::Server;
use bytes::Bytes;
use capstan_jepsen::resp::Value;
use std::io;

/// Connections of ordinary clients.
pub(crate) const CONNECTIONS: usize = 50;
/// Bytes of an ordinary value.
pub(crate) const VALUE_BYTES: usize = 32;
/// Keys asked for at once.
const CHUNK: usize = 500;

/// Fills a server with keys `from..to`, pipelined, and checks that all are there.
pub(crate) fn load(server: &Server, letters: &str, count: u64, value_bytes: usize) -> io::Result<()> {
    let before = server.admin()?.keys()?;
    let mut engine = Engine::connect(server.address, 16)?;
    let mut commands = Commands::new(&[Verb::Set], letters, Keys::Sequence(0), value_bytes);
    let pipeline = if value_bytes > 1024 { 8 } else { 64 };
    let closed = engine.closed(&mut commands, pipeline, count)?;
    check(server, Verb::Set, &closed, value_bytes)?;
    let there = server.admin()?.keys()? - before;
    if there != count {
        return Err(io::Error::other(format!("{} holds {there} new keys after {count} SETs", server.name)));
    }
    Ok(())
}

/// Every command was answered as it should be: a fast wrong answer is no result.
pub(crate) fn check(server: &Server, verb: Verb, closed: &Closed, value_bytes: usize) -> io::Result<()> {
    let tally = &closed.tally;
    let right = match verb {
        Verb::Set => tally.statuses == closed.ops,
        Verb::Get => tally.bulks == closed.ops && tally.bulk_bytes == closed.ops * value_bytes as u64,
        Verb::Incr => tally.integers == closed.ops,
    };
    if right && tally.errors == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} answered {} {} with {tally:?}", server.name, closed.ops, verb.name())))
}

/// Nothing since the last look was answered by an error.
pub(crate) fn no_errors(server: &Server, engine: &mut Engine) -> io::Result<()> {
    let tally = engine.take_tally();
    match tally.first_error {
        None => Ok(()),
        Some(error) => {
            Err(io::Error::other(format!("{} gave {} errors: {error}", server.name, tally.errors)))
        }
    }
}

/// Which of these keys are there, with a value of the ordinary length.
pub(crate) fn present(admin: &mut Admin, letters: &str, keys: &[u64]) -> io::Result<Vec<bool>> {
    let mut there = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        let names: Vec<String> = chunk.iter().map(|key| format!("{letters}{key:012}")).collect();
        let commands: Vec<[&str; 2]> = names.iter().map(|name| ["GET", name.as_str()]).collect();
        for value in admin.pipeline(&commands)? {
            let length = if value.error().is_none() { value.bytes().map(Bytes::len) } else { None };
            match (length, value) {
                (Some(VALUE_BYTES), _) => there.push(true),
                (_, Value::Null) => there.push(false),
                (_, other) => return Err(io::Error::other(format!("GET gave {other:?}"))),
            }
        }
    }
    Ok(there)
}
