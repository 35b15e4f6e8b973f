//! What follows from the end of a worker: is it a death to be told, does another one start, and when. Pure.
//!
//! The intuition: a worker that ends by itself is started again, whatever its exit code, unless it has said that it was told to
//! end, or has refused to begin. A refusal (a folder in use, a node that lives elsewhere) would only be repeated.

use super::deaths::Death;
use crate::output::Ended;
use capstan_node::supervised::Word;
use capstan_proto::ids::{NodeId, SpawnToken};
use std::time::Duration;

/// A worker that lived shorter has died young.
const YOUNG: Duration = Duration::from_secs(10);
/// The pause after the second young death; it doubles up to the last one. After the first there is none.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It exited.
    Code(u8),
    /// It was killed, or has aborted.
    Signal(i32),
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What the supervisor was told by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGINT: stop, without anybody taking over. A whole cluster is stopped so.
    Stop,
    /// SIGTERM: hand over first.
    HandOver,
}

/// What a worker has said in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// The node whose life it is; from then on it may be registered.
    pub(super) node: Option<NodeId>,
    pub(super) registered: bool,
    pub(super) ending: bool,
}

impl Heard {
    pub(super) const fn take(&mut self, word: Word) {
        match word {
            Word::Node(node) => self.node = Some(node),
            Word::Registered => self.registered = true,
            Word::Ending => self.ending = true,
        }
    }
}

/// A life that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) how: How,
    pub(super) heard: Heard,
    pub(super) told: Option<Told>,
    pub(super) lived: Duration,
}

/// Whether workers follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Respawn {
    Yes,
    Never,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Start { after: Duration },
    Finish(Ended),
}

impl End {
    /// It ended in order before it was anybody: another try would end the same way.
    fn refused(&self) -> bool {
        matches!(self.how, How::Code(1..)) && !self.heard.registered
    }

    /// The death that the meta group should hear of. Of a stop without a successor it should not: it would look for one.
    pub(super) fn death(&self, token: SpawnToken) -> Option<Death> {
        if self.refused() || self.told == Some(Told::Stop) {
            return None;
        }
        self.heard.node.map(|node| Death { node, token, registered: self.heard.registered })
    }

    /// The supervisor's own end, if it ends with this life. Why was said by the worker itself.
    fn last_word(&self) -> Ended {
        match self.how {
            How::Code(0) => Ended::Well,
            How::Code(code) => Ended::Said { code },
            // Told to stop, and did not survive it.
            How::Signal(signal) => Ended::refused(format!("the worker was ended by signal {signal}")),
        }
    }
}

/// How long to wait before the next start.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pause: Duration,
}

impl Pace {
    pub(super) fn next(&mut self, end: &End, respawn: Respawn) -> Next {
        if end.refused() || end.told.is_some() || end.heard.ending || respawn == Respawn::Never {
            return Next::Finish(end.last_word());
        }
        Next::Start { after: self.after(end.lived) }
    }

    /// The pause after a life of this length.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= YOUNG {
            self.pause = Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: SpawnToken = SpawnToken([3; 16]);
    const NODE: NodeId = NodeId([4; 20]);
    const REGISTERED: Heard = Heard { node: Some(NODE), registered: true, ending: false };
    const KILLED: End =
        End { how: How::Signal(9), heard: REGISTERED, told: None, lived: Duration::from_secs(60) };

    fn next(end: End) -> Next {
        Pace::default().next(&end, Respawn::Yes)
    }

    const AT_ONCE: Next = Next::Start { after: Duration::ZERO };

    #[test]
    fn a_killed_worker_is_a_death_and_the_next_one_starts_at_once() {
        assert_eq!(KILLED.death(TOKEN), Some(Death { node: NODE, token: TOKEN, registered: true }));
        assert_eq!(next(KILLED), AT_ONCE);
        let gone = Pace::default().next(&KILLED, Respawn::Never);
        assert!(matches!(gone, Next::Finish(Ended::Badly { .. })), "{gone:?}");
    }

    #[test]
    fn a_worker_that_hands_over_by_itself_is_followed_by_another() {
        let restarted = End { how: How::Code(0), ..KILLED };
        assert_eq!((next(restarted), restarted.death(TOKEN).is_some()), (AT_ONCE, true));
    }

    #[test]
    fn a_life_that_may_have_been_registered_is_a_death_too_and_one_that_never_asked_is_none() {
        let asked = Heard { registered: false, ..REGISTERED };
        let death = End { heard: asked, ..KILLED }.death(TOKEN);
        assert_eq!(death, Some(Death { node: NODE, token: TOKEN, registered: false }));
        assert_eq!(End { heard: Heard::default(), ..KILLED }.death(TOKEN), None);
    }

    #[test]
    fn a_refusal_to_begin_is_passed_on_and_proves_nothing() {
        for code in [1, 2] {
            let asked = Heard { registered: false, ..REGISTERED };
            let refused = End { how: How::Code(code), heard: asked, ..KILLED };
            assert_eq!((next(refused), refused.death(TOKEN)), (Next::Finish(Ended::Said { code }), None));
        }
        // What ends a registered life, a later life elsewhere for instance, is for the next life to find out.
        assert_eq!(next(End { how: How::Code(1), ..KILLED }), AT_ONCE);
    }

    #[test]
    fn a_stop_without_a_successor_is_kept_quiet_and_one_after_a_hand_over_is_told() {
        let stopped = |told| End { how: How::Code(0), told: Some(told), ..KILLED };
        assert_eq!(stopped(Told::Stop).death(TOKEN), None);
        assert!(stopped(Told::HandOver).death(TOKEN).is_some());
        for told in [Told::Stop, Told::HandOver] {
            assert_eq!(next(stopped(told)), Next::Finish(Ended::Well));
        }
        let shut_down = End { how: How::Code(0), heard: Heard { ending: true, ..REGISTERED }, ..KILLED };
        assert_eq!((next(shut_down), shut_down.death(TOKEN).is_some()), (Next::Finish(Ended::Well), true));
    }

    #[test]
    fn workers_that_die_young_are_started_ever_later_up_to_a_bound() {
        let young = End { lived: Duration::from_secs(1), ..KILLED };
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            match pace.next(&young, Respawn::Yes) {
                Next::Start { after } => pauses.push(after.as_millis()),
                Next::Finish(ended) => panic!("{ended:?}"),
            }
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pace.next(&KILLED, Respawn::Yes), AT_ONCE);
    }
}
