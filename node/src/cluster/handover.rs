//! A primary hands its shard over under an attempt: holds its clients, lets the candidate catch up, gives its lease up,
//! and waits for the committed end (►14).
//!
//! `install.rs` has begun the hold and locked every lane once, so what was executed is all that there will be under this
//! epoch. Then, each step once the one before is done: seal it; wait until the candidate has acknowledged it; let the
//! replies go that waited; give the lease up; tell the meta group. Nothing but the committed state ends the attempt, no
//! timer and no error; what waits too long is told TRYAGAIN by the hold itself (`hold.rs`). Clients are released once they
//! can be served: after a promotion when the new primary has taken this node in as its replica, so that it knows its own
//! role and sends nobody back; without one when the lease is back.

pub mod course;

use super::life::Life;
use super::report::{HandedOver, Held};
use super::role::{Attempt, Duty};
use crate::hold::{Patience, Until};
use crate::log::Log;
use capstan_proto::ids::Position;
use course::Course;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often is looked whether clients can be released.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A new primary that has not answered its replica within this may be gone: clients find out for themselves.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// Hands over whenever an attempt is in force. Runs until the life ends.
pub async fn run(life: Arc<Life>) {
    let mut duty = life.duty.subscribe();
    loop {
        let Some(attempt) = duty.borrow_and_update().attempt() else {
            if duty.changed().await.is_err() {
                return;
            }
            continue;
        };
        hand_over(&life, attempt, &mut duty).await;
    }
}

/// One attempt from its hold to its end.
async fn hand_over(life: &Arc<Life>, attempt: Attempt, duty: &mut watch::Receiver<Duty>) {
    let lead = duty.borrow().lead();
    tracing::info!(attempt = %attempt.id, candidate = %attempt.candidate, "clients are held for a planned failover");
    let over = |duty: &Duty| course::of(attempt, lead, duty) != Course::Stands;
    let gave_up = tokio::select! {
        biased;
        // The sender lives in `life`: an error cannot happen while this is awaited.
        _ = duty.wait_for(over) => None,
        position = give_up(life, attempt) => position,
    };
    if let Some(position) = gave_up {
        tracing::info!(attempt = %attempt.id, %position, catch_up = ?attempt.catch_up, "handed over");
        let _ = duty.wait_for(over).await;
        life.core.report.set_handed_over(None);
    }
    let end = course::of(attempt, lead, &duty.borrow_and_update());
    match end {
        Course::Stands | Course::Followed => return,
        Course::Kept => {
            life.urge.notify_one();
            wait_while_held(life, |life| life.core.serving.covers(life.core.env.clock.boot())).await;
        }
        Course::LeadsAnew => {}
        Course::Left => {
            let answered = wait_while_held(life, |life| life.core.replication.link().up);
            let _ = tokio::time::timeout(ANSWER_LIMIT, answered).await;
        }
    }
    let Some(since) = life.core.hold.end(Until::HandedOver) else { return };
    let hold = life.core.env.clock.boot().since(since);
    let promoted = end != Course::Kept;
    tracing::info!(attempt = %attempt.id, promoted, hold_us = hold.as_micros() as u64, "clients are released");
    if let Some(lead) = lead {
        life.core.report.set_held(Held { shard: lead.shard, attempt: attempt.id, hold });
    }
}

/// Seals what was executed, waits for the candidate, and gives the lease up. `None`: the log could not be closed.
async fn give_up(life: &Arc<Life>, attempt: Attempt) -> Option<Position> {
    let core = Arc::clone(&life.core);
    let position = life.offload.run(move || core.log.seal()).await?;
    let log = &life.core.log;
    log.until_acked(position.batch.0, |log| may_give_up(log, attempt, position).then_some(())).await;
    // Everything that waits was sent: it leaves under the lease that is still held.
    life.core.release(log.sent());
    life.with_lease(|lease, _| lease.hand_over(attempt.id));
    life.core.report.set_handed_over(Some(HandedOver { attempt: attempt.id, position }));
    life.urge.notify_one();
    Some(position)
}

/// Whether the candidate has what it must have of the whole log.
fn may_give_up(log: &Log, attempt: Attempt, position: Position) -> bool {
    let followers = log.followers();
    let acked =
        followers.iter().filter(|follower| follower.who == attempt.candidate).map(|follower| follower.acked);
    course::may_give_up(attempt, acked.max(), position.batch.0)
}

/// Waits for what lets clients go on, no longer than they do.
async fn wait_while_held(life: &Life, can_go_on: impl Fn(&Life) -> bool) {
    let core = &life.core;
    while !can_go_on(life) && core.hold.patience(core.env.clock.boot()) == Patience::Wait {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
