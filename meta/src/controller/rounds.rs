//! Quorum-confirmed rounds: the heartbeats that wait are answered together, from the state read after the quorum
//! confirmed this leader.
//!
//! It decides the pace only: one round runs, the next one gathers, at least [`GRANT_ROUND_MIN_MS`] lie between their
//! starts. What each heartbeat is answered is the table's word.

use super::Controller;
use super::book::Book;
use crate::lease::{Answer, Read, RoundId, Standing, Verdict};
use bytes::Bytes;
use capstan_proto::env::Boot;
use capstan_proto::ids::LeaderId;
use capstan_proto::rpc::v1;
use capstan_proto::timing::GRANT_ROUND_MIN_MS;
use std::time::Duration;

impl Controller {
    /// Answers heartbeats for as long as this server leads under `mine`.
    pub(super) async fn answer_rounds(&self, mine: LeaderId) {
        loop {
            self.heartbeat_came.notified().await;
            let pause = tokio::time::sleep(Duration::from_millis(GRANT_ROUND_MIN_MS));
            let Some(started) = self.with_book(mine, |book, _| book.table.start_round()) else { return };
            let Some(round) = started else { continue };
            // Begun after each heartbeat of the round has arrived (DESIGN 5, first row).
            let confirmed = self.raft.read_index().await.is_ok();
            self.finish_round(mine, round, confirmed);
            pause.await;
        }
    }

    fn finish_round(&self, mine: LeaderId, round: RoundId, confirmed: bool) {
        let answered = self.with_book(mine, |book, now| {
            // Read after the confirmation, and under the lock: a stop or an outcome that is known is in it (►6).
            let state = self.raft.state();
            let topology = state.topology();
            let read = Read { version: state.version(), ttl: Duration::from_millis(topology.lease_ttl_ms()) };
            let answers = if confirmed && self.raft.leads() == Some(mine) {
                book.ready = true;
                book.table.round_confirmed(round, read, |node| Standing::of(topology, node), now)
            } else {
                book.table.round_failed(round)
            };
            for answer in &answers {
                note_first_grant(book, &answer.verdict, now);
                if let Some(report) = book.reports.get_mut(&answer.node) {
                    report.refused = refused_why(&answer.verdict);
                }
            }
            (answers, topology.lease_ttl_ms())
        });
        let Some((answers, ttl_ms)) = answered else { return };
        let mut streams = self.streams.lock();
        for answer in answers {
            streams.reply(answer.stream, reply(&answer, ttl_ms));
        }
    }
}

/// For the history: when the holder of an epoch got its first grant.
fn note_first_grant(book: &mut Book, verdict: &Verdict, now: Boot) {
    let Verdict::Granted(grant) = verdict else { return };
    let course =
        book.courses.get_mut(&grant.holder.shard).filter(|course| course.epoch == grant.holder.epoch);
    if let Some(course) = course {
        course.granted.get_or_insert(now);
    }
}

fn refused_why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Refused(refusal) => refusal.to_string(),
        Verdict::Granted(_) | Verdict::NothingClaimed => String::new(),
    }
}

fn reply(answer: &Answer, ttl_ms: u64) -> v1::HeartbeatReply {
    let grant = match &answer.verdict {
        Verdict::Granted(grant) => Some(v1::Grant {
            node: Bytes::copy_from_slice(&grant.holder.node.0),
            incarnation: Some((&grant.holder.incarnation).into()),
            shard: Bytes::copy_from_slice(&grant.holder.shard.0),
            epoch: grant.holder.epoch.0,
            duration_ms: u64::try_from(grant.duration.as_millis()).unwrap_or(u64::MAX),
            version: Some((&grant.version).into()),
        }),
        Verdict::NothingClaimed | Verdict::Refused(_) => None,
    };
    v1::HeartbeatReply {
        sequence: answer.sequence,
        grant,
        refused_why: refused_why(&answer.verdict),
        ttl_ms,
        ask: false,
    }
}
