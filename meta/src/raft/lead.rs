//! Who leads, as far as this server may say so.
//!
//! openraft's leader stays `Leader` for ever when it is cut off from its quorum (CRATES 1.3.3). Here a leader whose
//! last acknowledgement by a quorum is older than an election window counts as none: the others may have elected
//! another by then. Nothing may act on a bare `Leader` state; everything asks this file.

use super::types::{MetaNode, Raft};
use capstan_proto::env::{Boot, Clock};
use capstan_proto::ids::{LeaderId, MetaId};
use capstan_proto::timing::ELECTION_MAX_MS;
use openraft::{RaftMetrics, ServerState};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A leader without a quorum's acknowledgement for so long is none.
pub const QUORUM_WINDOW: Duration = Duration::from_millis(ELECTION_MAX_MS);
/// openraft says nothing while nothing happens: look so often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was last seen of openraft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    /// The leader of the newest committed vote.
    leader: Option<LeaderId>,
    /// It is this server, and a quorum acknowledged it at this instant.
    acked: Option<Boot>,
}

/// A leader, and since when this server has known it as such.
type Shown = Option<(LeaderId, Boot)>;

/// Keeps watch over who leads. Clones share what they see.
#[derive(Clone)]
pub(crate) struct Lead {
    me: MetaId,
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
    shown: watch::Sender<Option<LeaderId>>,
    since: Arc<Mutex<Shown>>,
}

impl Lead {
    pub(crate) fn new(me: MetaId, clock: Arc<dyn Clock>) -> Self {
        Self { me, clock, seen: Arc::default(), shown: watch::channel(None).0, since: Arc::default() }
    }

    /// The leader of the group; none if it is not known, or if it is this server and no quorum has acknowledged it
    /// within [`QUORUM_WINDOW`].
    pub(crate) fn watch(&self) -> watch::Receiver<Option<LeaderId>> {
        self.shown.subscribe()
    }

    /// The same, judged at this instant.
    pub(crate) fn now(&self) -> Option<LeaderId> {
        let seen = *self.seen.lock();
        judge(self.me, seen, self.clock.boot())
    }

    /// The leader id under which this server leads at this instant.
    pub(crate) fn mine(&self) -> Option<LeaderId> {
        self.now().filter(|leader| leader.node == self.me)
    }

    /// How long this server has known the present leader.
    pub(crate) fn age(&self) -> Duration {
        let since = *self.since.lock();
        since.map_or(Duration::ZERO, |(_, since)| self.clock.boot().since(since))
    }

    fn note(&self, now: Option<LeaderId>) {
        let mut since = self.since.lock();
        if since.map(|(leader, _)| leader) != now {
            *since = now.map(|leader| (leader, self.clock.boot()));
            match now {
                Some(leader) if leader.node == self.me => {
                    tracing::info!(%leader, "this server leads the meta group")
                }
                Some(leader) => tracing::info!(%leader, "the meta group has a leader"),
                None => tracing::warn!("the meta group has no leader that hears from a quorum"),
            }
        }
    }

    /// Looks at openraft until it stops.
    pub(crate) async fn run(self, raft: Raft) {
        let mut metrics = raft.metrics();
        drop(raft);
        loop {
            let seen = see(self.me, &metrics.borrow_and_update(), self.clock.boot());
            *self.seen.lock() = seen;
            let now = judge(self.me, seen, self.clock.boot());
            self.note(now);
            self.shown.send_if_modified(|shown| {
                let changed = *shown != now;
                *shown = now;
                changed
            });
            tokio::select! {
                biased;
                changed = metrics.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        *self.seen.lock() = Seen::default();
        self.shown.send_replace(None);
    }
}

fn see(me: MetaId, metrics: &RaftMetrics<u64, MetaNode>, now: Boot) -> Seen {
    if metrics.running_state.is_err() {
        return Seen::default();
    }
    let leader =
        metrics.current_leader.map(|node| LeaderId { term: metrics.current_term, node: MetaId(node) });
    let leads = metrics.state == ServerState::Leader && leader.is_some_and(|leader| leader.node == me);
    let age = metrics.millis_since_quorum_ack.filter(|_| leads);
    // A leader of an older life than this process knows of, or a vote of its own that nobody has confirmed yet.
    let leader = leader.filter(|leader| leads || leader.node != me);
    Seen { leader, acked: age.map(|age| Boot(now.0.saturating_sub(age.saturating_mul(1_000_000)))) }
}

fn judge(me: MetaId, seen: Seen, now: Boot) -> Option<LeaderId> {
    let leader = seen.leader?;
    if leader.node != me {
        return Some(leader);
    }
    let acked = seen.acked?;
    (now.since(acked) <= QUORUM_WINDOW).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: MetaId = MetaId(1);

    fn at(ms: u64) -> Boot {
        Boot(ms * 1_000_000)
    }

    #[test]
    fn a_leader_without_a_quorum_for_an_election_window_is_none() {
        let mine = LeaderId { term: 3, node: ME };
        let seen = Seen { leader: Some(mine), acked: Some(at(1000)) };
        assert_eq!(judge(ME, seen, at(1000 + ELECTION_MAX_MS)), Some(mine));
        assert_eq!(judge(ME, seen, at(1001 + ELECTION_MAX_MS)), None);
        assert_eq!(judge(ME, Seen { acked: None, ..seen }, at(1000)), None, "never acknowledged");
    }

    #[test]
    fn another_server_that_leads_is_named_as_long_as_its_vote_is_the_newest() {
        let other = LeaderId { term: 3, node: MetaId(2) };
        let seen = Seen { leader: Some(other), acked: None };
        assert_eq!(judge(ME, seen, at(9_999_999)), Some(other));
    }
}
