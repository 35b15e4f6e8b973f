//! What the leader does: what the planner decides is stopped, looked at again, asked, proposed, and settled (►6).
//!
//! It decides what an outcome means: committed or rejected settles a proposal; unknown keeps its holder stopped, and the
//! same command is proposed again under the same request id until its outcome is known or the leader id changes. It
//! wakes for every change of the state, for heartbeats that somebody waits for, and for the instants at which time alone
//! changes what is due: a proof of death is acted on within milliseconds.

use super::Controller;
use super::book::{Book, Course, Pending};
use crate::planner::{self, Asked, Decision, Promotion};
use crate::state::{Body, Command, Done, Fence, Outcome, Promote, State};
use capstan_proto::env::Boot;
use capstan_proto::ids::{LeaderId, NodeId, RequestId, ShardId};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// The planner looks at everything at least this often.
const TICK: Duration = Duration::from_millis(100);
/// Instants that lie closer together than this are one: a clock that was read a little early does not make a busy loop.
const TICK_MIN: Duration = Duration::from_millis(1);
/// A shard whose promotion was rejected is left alone for so long.
const REJECTED_PAUSE: Duration = Duration::from_secs(1);
/// A shard whose candidates did not answer is left alone for so long: a holder that is back gets its lease.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(200);
/// Commands in one entry of the log.
const BATCH: usize = 256;

/// Something to propose that is decided anew if it comes to nothing.
struct Wish {
    about: About,
    body: Body,
}

enum About {
    Attempt(ShardId),
    News(NodeId),
}

#[derive(Default)]
struct Due {
    ask: Vec<NodeId>,
    promotions: Vec<(ShardId, Command)>,
    wishes: Vec<Wish>,
    next: Option<Boot>,
}

impl Controller {
    /// Does what is due for as long as this server leads under `mine`.
    pub(super) async fn act(&self, mine: LeaderId) {
        // What earlier leaders committed must be seen before anything is decided.
        while self.raft.read_index().await.is_err() {
            tokio::time::sleep(TICK).await;
        }
        self.with_book(mine, |book, _| book.ready = true);
        let mut changes = self.raft.watch();
        loop {
            let Some(due) = self.with_book(mine, |book, now| self.due(mine, book, now)) else { return };
            self.ask(mine, &due.ask);
            for chunk in due.promotions.chunks(BATCH) {
                self.promote(mine, chunk).await;
            }
            for chunk in due.wishes.chunks(BATCH) {
                self.wish(mine, chunk).await;
            }
            let left = due.next.map_or(TICK, |next| next.since(self.env.clock.boot()));
            tokio::select! {
                biased;
                change = changes.recv() => match change {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = self.stirred.notified() => {}
                () = tokio::time::sleep(left.clamp(TICK_MIN, TICK)) => {}
            }
        }
    }

    fn due(&self, mine: LeaderId, book: &mut Book, now: Boot) -> Due {
        let state = self.raft.state();
        book.tidy(&state, now);
        let ttl_max = self.ttl_max(&state);
        let (over, next_end) = book.over(state.topology(), ttl_max, now);
        let (young, next_grown) = book.young(state.topology(), now);
        let busy = book.busy();
        let view = book.view(state.topology(), (&busy, &over, &young), now);
        let decisions = planner::plan(&view);
        let deadline = planner::next_deadline(&view);
        let mut due =
            Due { next: [next_end, next_grown, deadline].into_iter().flatten().min(), ..Due::default() };
        for decision in decisions {
            self.take_up(mine, book, (decision, ttl_max, now), (&state, &mut due));
        }
        due.promotions = book.pending.iter().map(|(shard, p)| (*shard, p.command.clone())).collect();
        due
    }

    fn take_up(
        &self,
        mine: LeaderId,
        book: &mut Book,
        (decision, ttl_max, now): (Decision, Duration, Boot),
        (state, due): (&State, &mut Due),
    ) {
        // ►6: stopped first, then looked at again, both under one lock.
        let stop = |book: &mut Book, old, fence| match fence {
            Fence::ProvenDead | Fence::HandedOver => {
                book.table.stop_ended(old);
                true
            }
            Fence::LeaseOver => book.table.stop(old, ttl_max, now).is_ok(),
        };
        match decision {
            Decision::Ask { old, fence, candidates } => {
                if stop(book, old, fence) {
                    book.asked.insert(old.shard, Asked { old, at: now, after: book.beats });
                    due.ask.extend(candidates);
                }
            }
            Decision::GiveUp(old) => {
                book.asked.remove(&old.shard);
                book.resume(old, state.version());
                book.not_before.insert(old.shard, now.after(UNANSWERED_PAUSE));
            }
            Decision::Stop(old) => {
                book.table.stop_ended(old);
                book.forced.insert(old.shard, old);
            }
            Decision::Promote(promotion) => {
                if stop(book, promotion.old, promotion.fence) {
                    let old = promotion.old;
                    let command = self.command(mine, promote(*promotion));
                    book.pending.insert(old.shard, Pending { command, old });
                    book.proposed.insert(old.shard, now);
                }
            }
            Decision::Attempt { shard, body } => due.wishes.push(Wish { about: About::Attempt(shard), body }),
            Decision::News { node, body } => {
                let refused =
                    book.refused.get(&node).is_some_and(|refused| refused.iter().any(|b| same(b, &body)));
                if refused {
                    return;
                }
                // An earlier leader had it written down.
                if let Body::Note { shard, what, .. } = &body
                    && state.is_noted(*shard, node, *what)
                {
                    return book.refuse(node, body);
                }
                let body = explained(book, body);
                due.wishes.push(Wish { about: About::News(node), body });
            }
        }
    }

    fn command(&self, mine: LeaderId, body: Body) -> Command {
        let mut request = [0; 16];
        self.env.random.fill(&mut request);
        let at = self.env.clock.wall();
        Command { request: RequestId(request), author: "planner".to_owned(), at, leader: Some(mine), body }
    }

    /// Several commands at once go into one entry of the log; each has its own outcome. Nothing if that is not known.
    async fn propose(&self, mine: LeaderId, commands: Vec<Command>) -> Option<Vec<Outcome>> {
        let count = commands.len();
        let command = match <[Command; 1]>::try_from(commands) {
            Ok([one]) => one,
            Err(many) => self.command(mine, Body::Batch(many)),
        };
        match self.raft.propose(command).await {
            Ok(Outcome::Done { done: Done::Batch(outcomes), .. }) => Some(outcomes),
            // One, or refused as a whole: each of them is.
            Ok(outcome) => Some(vec![outcome; count]),
            Err(error) => {
                tracing::warn!(%error, count, "what was proposed is not settled");
                None
            }
        }
    }

    async fn promote(&self, mine: LeaderId, chunk: &[(ShardId, Command)]) {
        let commands = chunk.iter().map(|(_, command)| command.clone()).collect();
        // Not written, or unknown: the holders stay stopped, and the same commands are proposed again.
        let Some(outcomes) = self.propose(mine, commands).await else { return };
        for ((shard, _), outcome) in chunk.iter().zip(outcomes) {
            self.settle(mine, *shard, &outcome);
        }
    }

    fn settle(&self, mine: LeaderId, shard: ShardId, outcome: &Outcome) {
        self.with_book(mine, |book, now| {
            let Some(pending) = book.pending.remove(&shard) else { return };
            let proposed = book.proposed.remove(&shard).unwrap_or(now);
            book.asked.remove(&shard);
            // Read after the outcome was applied: no older state is used for grants from now on.
            book.resume(pending.old, self.raft.state().version());
            match outcome {
                Outcome::Done { version, done } => {
                    tracing::info!(%shard, %version, old = %pending.old, "promoted");
                    if let Done::Promoted { epoch, .. } = done {
                        let course = Course { epoch: *epoch, proposed, committed: now, granted: None };
                        book.courses.insert(shard, course);
                    }
                }
                Outcome::Rejected(rejection) => {
                    tracing::warn!(%shard, %rejection, "a promotion was rejected");
                    book.not_before.insert(shard, now.after(REJECTED_PAUSE));
                }
            }
        });
    }

    async fn wish(&self, mine: LeaderId, wishes: &[Wish]) {
        let commands = wishes.iter().map(|wish| self.command(mine, wish.body.clone())).collect();
        // Decided again at the next look, if it is still due.
        let Some(outcomes) = self.propose(mine, commands).await else { return };
        self.with_book(mine, |book, now| {
            for (Wish { about, body }, outcome) in wishes.iter().zip(outcomes) {
                match (about, outcome) {
                    (About::Attempt(shard), Outcome::Done { done, .. }) => {
                        tracing::info!(%shard, ?done, "a planned failover");
                        // What comes next is decided on a state that shows it; a node that asks again waits a little.
                        if matches!(done, Done::AttemptEnded) {
                            book.not_before.insert(*shard, now.after(REJECTED_PAUSE));
                        }
                    }
                    (About::Attempt(shard), Outcome::Rejected(rejection)) => {
                        tracing::warn!(%shard, %rejection, "a planned failover was rejected");
                        book.not_before.insert(*shard, now.after(REJECTED_PAUSE));
                    }
                    (About::News(node), Outcome::Done { .. }) if matches!(body, Body::Note { .. }) => {
                        book.refuse(*node, body.clone());
                    }
                    (About::News(_), Outcome::Done { .. }) => {}
                    (About::News(node), Outcome::Rejected(rejection)) => {
                        tracing::warn!(%node, %rejection, "what a node said of itself was rejected");
                        book.refuse(*node, body.clone());
                    }
                }
            }
        });
    }
}

/// Whether a node says the same as before: the explanation of a note may differ.
fn same(known: &Body, body: &Body) -> bool {
    match (known, body) {
        (Body::Note { shard, node, what, .. }, Body::Note { shard: s, node: n, what: w, .. }) => {
            (shard, node, what) == (s, n, w)
        }
        (known, body) => known == body,
    }
}

/// A note of the first command with the whole course of the failover, as far as this leader saw it.
fn explained(book: &Book, body: Body) -> Body {
    let Body::Note { shard, node, what, evidence } = body else { return body };
    let evidence = match (book.courses.get(&shard), what, book.said.get(&node)) {
        (Some(course), crate::state::Noted::FirstServed { epoch }, Some(said)) if course.epoch == epoch => {
            let ago = said.first_served.map(|(_, ago)| ago).unwrap_or_default();
            let since = |later: Boot| format!("{:.1} ms", later.since(course.proposed).as_secs_f64() * 1e3);
            let served = Boot(said.received.0.saturating_sub(ago.as_nanos() as u64));
            format!(
                "after the promotion was proposed: committed {}, granted {}, first command {}",
                since(course.committed),
                course.granted.map_or_else(|| "by another leader".to_owned(), since),
                since(served)
            )
        }
        _ => evidence,
    };
    Body::Note { shard, node, what, evidence }
}

fn promote(promotion: Promotion) -> Body {
    let Promotion { old, candidate, incarnation, position, fence, attempt, consent, why, evidence } =
        promotion;
    Body::Promote(Promote {
        shard: old.shard,
        candidate,
        incarnation,
        expected_epoch: old.epoch,
        position,
        fence,
        attempt,
        consent,
        why,
        evidence,
    })
}
