//! kill -9 of a primary under load: how many of the writes that it acknowledged its replica does not have.
//!
//! Every write has a key of its own, so nothing hides a lost one. What the clients' sockets still hold when the
//! process is gone counts as acknowledged.

use super::{CONNECTIONS, VALUE_BYTES, present};
use crate::commands::{Commands, Keys, Verb};
use crate::engine::{Engine, now};
use crate::pairs::Pair;
use crate::process::kill_9;
use crate::report::Row;
use crate::servers::{Kind, Server};
use crate::stats::median;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

/// When the kill comes, in milliseconds of load.
const KILL_AFTER_MS: Range<u64> = 300..900;
/// Connections of a dead process are closed at once: this is generous.
const CLOSED_MAX: Duration = Duration::from_secs(10);

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Kills of each server at each depth.
    pub(crate) trials: usize,
    /// Draws the moments of the kills.
    pub(crate) seed: u64,
}

/// How one kill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss {
    acknowledged: u64,
    missing: u64,
    /// Missing ones with a later write of the same connection there.
    holes: u64,
}

/// Kills primaries at pipeline 1 and 16, each of a fresh pair.
pub(crate) fn run(kinds: [&Kind; 2], plan: Plan, say: &mut dyn FnMut(String)) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for pipeline in [1, 16] {
        let mut moments = SmallRng::seed_from_u64(plan.seed ^ pipeline as u64);
        let mut losses = <[Vec<Loss>; 2]>::default();
        for trial in 0..plan.trials {
            let after = Duration::from_millis(moments.gen_range(KILL_AFTER_MS));
            for (kind, losses) in kinds.iter().zip(&mut losses) {
                let loss = one(kind, pipeline, after)?;
                say(format!(
                    "kill {} of {:<8} P{pipeline:<3} after {after:?}: {} acknowledged, {} missing at the replica, {} of them holes",
                    trial + 1,
                    kind.name(),
                    loss.acknowledged,
                    loss.missing,
                    loss.holes
                ));
                losses.push(loss);
            }
        }
        rows.push(row(pipeline, &losses));
    }
    Ok(rows)
}

fn row(pipeline: usize, losses: &[Vec<Loss>; 2]) -> Row {
    let missing = losses.each_ref().map(|all| all.iter().map(|l| l.missing as f64).collect::<Vec<_>>());
    let with_loss = losses.each_ref().map(|all| all.iter().filter(|l| l.missing > 0).count());
    let note = |name: &str, at: usize| {
        let sum = |pick: fn(&Loss) -> u64| losses[at].iter().map(pick).sum::<u64>();
        format!(
            "{name}: {} of {} kills lost something, median {:.0}, worst {:.0}; {} of {} writes in all, {} holes",
            with_loss[at],
            losses[at].len(),
            median(&missing[at]),
            missing[at].iter().copied().fold(0.0, f64::max),
            sum(|l| l.missing),
            sum(|l| l.acknowledged),
            sum(|l| l.holes)
        )
    };
    let notes = vec![note("capstan", 0), note("redis  ", 1)];
    let [capstan, redis] = missing;
    Row {
        name: format!("kills that lose, pipeline {pipeline}"),
        unit: "acknowledged writes missing, kill by kill",
        result: with_loss[0] as f64,
        bound: Some(with_loss[1] as f64),
        notes,
        capstan,
        redis,
    }
}

fn one(kind: &Kind, pipeline: usize, after: Duration) -> io::Result<Loss> {
    let pair = Pair::start(kind)?;
    let acknowledged = load_and_kill(&pair.primary, pipeline, after)?;
    pair.take_over()?;
    let mut loss = Loss { acknowledged: 0, missing: 0, holes: 0 };
    let mut admin = pair.replica.admin()?;
    for connection in &acknowledged {
        let there = present(&mut admin, LETTERS, connection)?;
        let (missing, holes) = missing_and_holes(&there);
        loss.acknowledged += connection.len() as u64;
        loss.missing += missing;
        loss.holes += holes;
    }
    Ok(loss)
}

fn missing_and_holes(there: &[bool]) -> (u64, u64) {
    let count = |all: &[bool]| all.iter().filter(|there| !**there).count() as u64;
    let last = there.iter().rposition(|there| *there).unwrap_or(0);
    (count(there), count(&there[..last]))
}

/// Writes until the process is dead and every connection closed; gives the acknowledged keys of each connection.
fn load_and_kill(server: &Server, pipeline: usize, after: Duration) -> io::Result<Vec<Vec<u64>>> {
    let mut engine = Engine::connect(server.address, CONNECTIONS)?;
    let mut writes = Writes {
        commands: Commands::new(&[Verb::Set], LETTERS, Keys::Sequence(0), VALUE_BYTES),
        next: 0,
        owed: vec![VecDeque::new(); CONNECTIONS],
        acknowledged: vec![Vec::new(); CONNECTIONS],
    };
    for at in 0..CONNECTIONS {
        writes.issue(&mut engine, at, pipeline);
    }
    let kill_at = now() + after.as_nanos() as u64;
    let (mut killed, mut open) = (false, CONNECTIONS);
    while open > 0 {
        if !killed && now() >= kill_at {
            kill_9(server.pid)?;
            killed = true;
        }
        let ready = engine.wait(Some(if killed { CLOSED_MAX } else { Duration::from_millis(1) }))?;
        if killed && ready == 0 {
            return Err(io::Error::other(format!("{} is killed and keeps connections open", server.name)));
        }
        for event in 0..ready {
            let (at, writable) = engine.event(event);
            if writable && !killed {
                engine.flush(at)?;
            }
            let received = engine.receive_last(at)?;
            writes.answered(at, received.ended);
            match received.closed {
                Some(why) if !killed => return Err(why),
                Some(_) => {
                    engine.forget(at)?;
                    open -= 1;
                }
                None if engine.conns[at].owed == 0 && !killed => writes.issue(&mut engine, at, pipeline),
                None => {}
            }
        }
    }
    let tally = engine.take_tally();
    match tally.first_error {
        None => Ok(writes.acknowledged),
        Some(error) => Err(io::Error::other(format!("{} answered SET with {error}", server.name))),
    }
}

/// The first letters of every key.
const LETTERS: &str = "kil:";

/// Which keys were written on which connection, and which of them were acknowledged.
struct Writes {
    commands: Commands,
    next: u64,
    owed: Vec<VecDeque<u64>>,
    acknowledged: Vec<Vec<u64>>,
}

impl Writes {
    fn issue(&mut self, engine: &mut Engine, at: usize, pipeline: usize) {
        for _ in 0..pipeline {
            self.commands.append(&mut engine.conns[at].out);
            self.owed[at].push_back(self.next);
            self.next += 1;
        }
        engine.conns[at].owed += pipeline;
        // A connection that cannot be written to may still hold replies: reading finds its end.
        let _ = engine.flush(at);
    }

    fn answered(&mut self, at: usize, count: usize) {
        self.acknowledged[at].extend(self.owed[at].drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_write_before_one_that_is_there_is_a_hole() {
        assert_eq!(missing_and_holes(&[]), (0, 0));
        assert_eq!(missing_and_holes(&[true, true, false, false]), (2, 0));
        assert_eq!(missing_and_holes(&[true, false, true, false]), (2, 1));
        assert_eq!(missing_and_holes(&[false, false]), (2, 0));
    }

    #[test]
    fn as_many_losing_kills_as_redis_has_are_allowed() {
        let loss = |missing| Loss { acknowledged: 10, missing, holes: 0 };
        let row = row(1, &[vec![loss(0), loss(2)], vec![loss(9), loss(0)]]);
        assert!(row.holds());
        assert_eq!((row.capstan, row.redis), (vec![0.0, 2.0], vec![9.0, 0.0]));
    }
}
