//! Proposals of the leader: what the planner decides is stopped, looked at again, proposed, and settled (►6).
//!
//! It decides what an outcome means: committed or rejected settles a proposal; unknown keeps its holder stopped, and the
//! same command is proposed again under the same request id until its outcome is known or the leader id changes.

use super::{Book, Controller};
use crate::lease::Holder;
use crate::planner::{self, Decision, Promotion, Said, View};
use crate::state::{Body, Command, Done, Fence, NodeUpdate, Outcome, Promote};
use capstan_proto::env::Boot;
use capstan_proto::ids::{Incarnation, LeaderId, NodeId, RequestId, ShardId};
use capstan_proto::topology::{Addresses, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// The planner looks at everything at least this often.
const TICK: Duration = Duration::from_millis(100);
/// A shard whose promotion was rejected is left alone for so long.
const REJECTED_PAUSE: Duration = Duration::from_secs(1);
/// Promotions in one entry of the log.
const BATCH: usize = 256;

/// A promotion that was proposed, or is about to be.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    command: Command,
    old: Holder,
}

struct Update {
    command: Command,
    node: NodeId,
    addresses: Addresses,
}

#[derive(Default)]
struct Due {
    promotions: Vec<(ShardId, Command)>,
    updates: Vec<Update>,
}

impl Controller {
    /// Proposes what is due for as long as this server leads under `mine`.
    pub(super) async fn act(&self, mine: LeaderId) {
        // What earlier leaders committed must be seen before anything is decided.
        while self.raft.read_index().await.is_err() {
            tokio::time::sleep(TICK).await;
        }
        self.with_book(mine, |book, _| book.ready = true);
        let mut changes = self.raft.watch();
        loop {
            let Some(due) = self.with_book(mine, |book, now| self.due(mine, book, now)) else { return };
            for chunk in due.promotions.chunks(BATCH) {
                self.promote(mine, chunk).await;
            }
            for update in due.updates {
                self.update(mine, update).await;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(TICK) => {}
                change = changes.recv() => match change {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn due(&self, mine: LeaderId, book: &mut Book, now: Boot) -> Due {
        let state = self.raft.state();
        let topology = state.topology();
        tidy(book, topology, now);
        let busy: BTreeSet<ShardId> = book.pending.keys().chain(book.not_before.keys()).copied().collect();
        let said = said(book);
        let ttl_max = self.ttl_max(&state);
        let mut due = Due::default();
        for decision in planner::plan(&View { topology, said: &said, busy: &busy }) {
            match decision {
                Decision::Promote(promotion) => {
                    // ►6: stopped first, then looked at again, both under one lock; only then proposed.
                    let over = match promotion.fence {
                        Fence::ProvenDead | Fence::HandedOver => {
                            book.table.stop_ended(promotion.old);
                            true
                        }
                        Fence::LeaseOver => book.table.stop(promotion.old, ttl_max, now).is_ok(),
                    };
                    if over {
                        let old = promotion.old;
                        let command = self.command(mine, promote(*promotion));
                        book.pending.insert(old.shard, Pending { command, old });
                    }
                }
                Decision::Update { node, incarnation, addresses } => {
                    if book.refused_addresses.get(&node) != Some(&addresses) {
                        let command = self.command(mine, update(node, incarnation, &addresses));
                        due.updates.push(Update { command, node, addresses });
                    }
                }
            }
        }
        due.promotions = book.pending.iter().map(|(shard, p)| (*shard, p.command.clone())).collect();
        due
    }

    fn command(&self, mine: LeaderId, body: Body) -> Command {
        let mut request = [0; 16];
        self.env.random.fill(&mut request);
        let at = self.env.clock.wall();
        Command { request: RequestId(request), author: "planner".to_owned(), at, leader: Some(mine), body }
    }

    /// Several shards at once go into one entry of the log.
    async fn promote(&self, mine: LeaderId, chunk: &[(ShardId, Command)]) {
        let outcomes = match chunk {
            [(_, one)] => self.raft.propose(one.clone()).await.map(|outcome| vec![outcome]),
            many => {
                let body = Body::Batch(many.iter().map(|(_, command)| command.clone()).collect());
                self.raft.propose(self.command(mine, body)).await.map(|outcome| match outcome {
                    Outcome::Done { done: Done::Batch(outcomes), .. } => outcomes,
                    // Refused as a whole: each of them is.
                    other => vec![other; many.len()],
                })
            }
        };
        match outcomes {
            Ok(outcomes) => {
                for ((shard, _), outcome) in chunk.iter().zip(outcomes) {
                    self.settle(mine, *shard, &outcome);
                }
            }
            // Not written, or unknown: the holders stay stopped, and the same commands are proposed again.
            Err(error) => tracing::warn!(%error, shards = chunk.len(), "promotions are not settled"),
        }
    }

    fn settle(&self, mine: LeaderId, shard: ShardId, outcome: &Outcome) {
        self.with_book(mine, |book, now| {
            let Some(pending) = book.pending.remove(&shard) else { return };
            // Read after the outcome was applied: no older state is used for grants from now on.
            book.table.resume(pending.old, self.raft.state().version());
            match outcome {
                Outcome::Done { version, .. } => {
                    tracing::info!(%shard, %version, old = %pending.old, "promoted");
                }
                Outcome::Rejected(rejection) => {
                    tracing::warn!(%shard, %rejection, "a promotion was rejected");
                    book.not_before.insert(shard, now.after(REJECTED_PAUSE));
                }
            }
        });
    }

    async fn update(&self, mine: LeaderId, update: Update) {
        match self.raft.propose(update.command).await {
            Ok(Outcome::Done { .. }) => {}
            Ok(Outcome::Rejected(rejection)) => {
                tracing::warn!(node = %update.node, %rejection, "new addresses were rejected");
                self.with_book(mine, |book, _| book.refused_addresses.insert(update.node, update.addresses));
            }
            // Decided again at the next look, if it is still due.
            Err(error) => tracing::debug!(%error, "new addresses are not settled"),
        }
    }
}

/// Drops what the state has overtaken, so that nothing in the book grows beyond the nodes and shards there are.
fn tidy(book: &mut Book, topology: &Topology, now: Boot) {
    book.reports.retain(|node, _| topology.nodes.contains_key(node));
    book.refused_addresses.retain(|node, _| topology.nodes.contains_key(node));
    book.not_before.retain(|shard, until| *until > now && topology.shards.contains_key(shard));
    let present = |node: &NodeId, life: &Incarnation| {
        topology.nodes.get(node).is_some_and(|row| row.incarnation == *life)
    };
    book.registering.retain(|(node, life), _| present(node, life));
    for shard in topology.shards.values() {
        let ended = topology
            .nodes
            .get(&shard.primary)
            .is_some_and(|row| row.dead || row.incarnation.counter > shard.incarnation.counter);
        if ended {
            book.table.life_ended(shard.primary, shard.incarnation);
        }
    }
}

fn said(book: &Book) -> BTreeMap<NodeId, Said> {
    let said = book.reports.iter().map(|(node, report)| {
        (*node, Said { incarnation: report.incarnation, addresses: report.addresses.clone() })
    });
    said.collect()
}

fn promote(promotion: Promotion) -> Body {
    let Promotion { old, candidate, incarnation, position, fence, consent, why, evidence } = promotion;
    Body::Promote(Promote {
        shard: old.shard,
        candidate,
        incarnation,
        expected_epoch: old.epoch,
        position,
        fence,
        attempt: None,
        consent,
        why,
        evidence,
    })
}

fn update(node: NodeId, incarnation: Incarnation, addresses: &Addresses) -> Body {
    Body::Update { node, incarnation, what: NodeUpdate::Addresses(addresses.clone()) }
}
