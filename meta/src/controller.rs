//! The part of a meta server that leads: it owns the lease table, runs the rounds that answer heartbeats, and proposes
//! what the planner decides.
//!
//! It decides when a table begins and ends: one belongs to one leader id, is kept while that leader only lacks its
//! quorum for a moment (a proposal of it may still commit, ►6), and is dropped when the id changes (►5). Every proposal
//! names the id (►2). It refuses to hold its lock across an await.
//!
//! [`streams`] are the heartbeats' connections, [`rounds`] the quorum-confirmed answers, [`acting`] the proposals,
//! `asking` what people ask for, `book` what is known and owed.

pub mod acting;
mod asking;
mod book;
pub mod rounds;
pub mod streams;

use crate::lease::{Holder, LeaseTable};
use crate::raft::MetaRaft;
use crate::services::{EndOfLife, FailoverWish, HeartbeatReplies, Heartbeats, NodeLeases};
use crate::state::{Body, Rejection, State};
use book::Book;
use capstan_proto::env::{Boot, BoxFuture, Env, UnixMs};
use capstan_proto::ids::{Incarnation, LeaderId, NodeId};
use capstan_proto::rpc::{redirect, v1};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use streams::Streams;
use tokio::sync::Notify;
use tonic::Status;

/// What this server's wall clock may be ahead of the one that stamped a lowered TTL (►10). An hour costs nothing but a
/// longer grace after an election within an hour of such a change.
const WALL_CLOCK_ERROR_MS: u64 = 3_600_000;
/// A registration that cannot be judged yet is sent again after this.
const JUDGE_LATER: Duration = Duration::from_millis(200);
/// A registration that waits for a lease asks again at least this often.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The leading part of a meta server; idle on the others.
pub struct Controller {
    env: Env,
    raft: MetaRaft,
    book: Mutex<Option<Book>>,
    streams: Mutex<Streams>,
    heartbeat_came: Notify,
    /// A heartbeat came that something waits for.
    stirred: Notify,
    me: Weak<Controller>,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("me", &self.raft.me()).finish_non_exhaustive()
    }
}

impl Controller {
    /// For this server. Nothing happens before [`Controller::run`].
    #[must_use]
    pub fn new(env: &Env, raft: MetaRaft) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            env: env.clone(),
            raft,
            book: Mutex::new(None),
            streams: Mutex::new(Streams::default()),
            heartbeat_came: Notify::new(),
            stirred: Notify::new(),
        })
    }

    /// Leads whenever this server is the leader; ends never by itself.
    pub async fn run(self: Arc<Self>) {
        let mut leader = self.raft.leader();
        loop {
            leader.mark_unchanged();
            if let Some(mine) = self.raft.leads() {
                self.begin(mine);
                tokio::select! {
                    biased;
                    () = self.answer_rounds(mine) => {}
                    () = self.act(mine) => {}
                    () = lost(&self.raft, &mut leader, mine) => {}
                }
                tracing::info!(leader = %mine, "no longer leading");
                // Nodes find the next leader; the book stays, in case that is this very one.
                self.close_streams();
            } else if leader.changed().await.is_err() {
                return;
            }
        }
    }

    /// ►5: a new leader id begins with an empty table. The same one goes on with what it knows.
    fn begin(&self, mine: LeaderId) {
        let mut book = self.book.lock();
        match book.as_mut().filter(|book| book.table.leader() == mine) {
            Some(book) => book.table.abandon_round(),
            None => {
                tracing::info!(leader = %mine, "leading");
                let table = LeaseTable::new(mine, self.env.clock.boot(), self.env.rules);
                *book = Some(Book::new(table));
            }
        }
    }

    /// Works on the book of this leader id, if it is still the book.
    fn with_book<T>(&self, mine: LeaderId, work: impl FnOnce(&mut Book, Boot) -> T) -> Option<T> {
        let mut book = self.book.lock();
        let book = book.as_mut().filter(|book| book.table.leader() == mine)?;
        Some(work(book, self.env.clock.boot()))
    }

    /// ►10: the longest TTL of any lease that an earlier leader can have granted.
    fn ttl_max(&self, state: &State) -> Duration {
        let wall = UnixMs(self.env.clock.wall().0.saturating_sub(WALL_CLOCK_ERROR_MS));
        Duration::from_millis(state.lease_ttl_max_ms(wall))
    }

    fn judge_end(&self, mine: LeaderId, node: NodeId, incarnation: Incarnation) -> Option<EndOfLife> {
        self.with_book(mine, |book, now| {
            let state = self.raft.state();
            if !book.ready {
                return wait(JUDGE_LATER, "the meta leader was only just elected".to_owned());
            }
            let ttl_max = self.ttl_max(&state);
            let left = book.table.left_of_life(node, incarnation, ttl_max, now);
            let led = state.topology().led_by(node).filter(|shard| shard.incarnation == incarnation);
            let holder = led.map(|shard| Holder { node, incarnation, shard: shard.id, epoch: shard.epoch });
            let over = match holder {
                _ if !left.is_zero() => Err(left),
                Some(holder) => book.table.stop(holder, ttl_max, now),
                None => Ok(()),
            };
            match over {
                Err(left) => {
                    wait(left, format!("life {incarnation} may hold a lease for {} ms", left.as_millis()))
                }
                Ok(()) => {
                    book.registering.insert((node, incarnation), holder);
                    let heard = book.said.get(&node).filter(|said| said.incarnation == incarnation);
                    let evidence = match heard {
                        Some(said) => format!(
                            "its last heartbeat came {} ms before, its lease is over",
                            now.since(said.received).as_millis()
                        ),
                        None => {
                            "no heartbeat of it has come to this leader, the grace period is over".to_owned()
                        }
                    };
                    EndOfLife::Over { leader: mine, evidence }
                }
            }
        })
    }
}

fn wait(left: Duration, why: String) -> EndOfLife {
    EndOfLife::Wait { at_least: left.clamp(Duration::from_millis(1), WAIT_MAX), why }
}

/// Returns when this server does not lead under that id any more.
async fn lost(raft: &MetaRaft, leader: &mut tokio::sync::watch::Receiver<Option<LeaderId>>, mine: LeaderId) {
    while raft.leads() == Some(mine) {
        if leader.changed().await.is_err() {
            return;
        }
    }
}

impl NodeLeases for Controller {
    fn heartbeat(&self, heartbeats: Heartbeats) -> BoxFuture<'_, Result<HeartbeatReplies, Status>> {
        Box::pin(async move {
            let not_leader = || redirect::not_leader(self.raft.leader_address().as_deref());
            let mine = self.raft.leads().ok_or_else(not_leader)?;
            self.with_book(mine, |_, _| ()).ok_or_else(not_leader)?;
            self.open_stream(mine, heartbeats)
        })
    }

    fn end_of_life(&self, node: NodeId, incarnation: Incarnation) -> EndOfLife {
        let judged = self.raft.leads().and_then(|mine| self.judge_end(mine, node, incarnation));
        judged.unwrap_or_else(|| wait(JUDGE_LATER, "no meta leader is in office".to_owned()))
    }

    fn settled(&self, node: NodeId, incarnation: Incarnation) {
        let mut book = self.book.lock();
        let Some(book) = book.as_mut() else { return };
        // The outcome is applied, so a state as it is now shows it (►6).
        let version = self.raft.state().version();
        if let Some(Some(holder)) = book.registering.remove(&(node, incarnation)) {
            book.resume(holder, version);
        }
    }

    fn reports(&self) -> Vec<v1::NodeReport> {
        let now = self.env.clock.boot();
        let book = self.book.lock();
        let Some(book) = book.as_ref().filter(|book| self.raft.leads() == Some(book.table.leader())) else {
            return Vec::new();
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let report = |(node, report): (&NodeId, &book::Report)| v1::NodeReport {
            node: report.last.node.clone(),
            heartbeat_age_ms: millis(
                book.said.get(node).map(|said| now.since(said.received)).unwrap_or_default(),
            ),
            last: Some(report.last.clone()),
            lease_left_ms: millis(book.table.granted_left(*node, now)),
            refused_why: report.refused.clone(),
        };
        book.reports.iter().map(report).collect()
    }

    fn failover(&self, wish: &FailoverWish) -> Option<Result<(LeaderId, Body), Rejection>> {
        let mine = self.raft.leads()?;
        self.with_book(mine, |book, now| self.judge_wish(book, wish, now)).map(|body| Ok((mine, body?)))
    }
}
