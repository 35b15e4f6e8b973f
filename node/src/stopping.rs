//! The node's way out: who wants it to end says so here, who has something to finish waits for it here.
//!
//! It decides the order: a primary may be asked to hand its slots over first; then it ends. No step is taken back: SHUTDOWN
//! ABORT finds nothing to abort. How long a hand-over may take, and what it is, others know (`cluster/leaving.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// How far the node is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is not.
    Running,
    /// It serves, and ends when somebody else serves in its place, or cannot.
    HandingOver,
    /// It ends.
    Ending,
}

/// Whether SHUTDOWN came with NOW.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// Replicas may catch up first.
    No,
    /// Nothing is waited for.
    Yes,
}

/// Whether the node is ending.
#[derive(Debug)]
pub struct Stopping {
    stage: watch::Sender<Stage>,
    orphaned: AtomicBool,
    shut_down: AtomicBool,
}

impl Default for Stopping {
    fn default() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Running),
            orphaned: AtomicBool::new(false),
            shut_down: AtomicBool::new(false),
        }
    }
}

impl Stopping {
    /// The node is to end now. Again: nothing happens.
    pub fn begin(&self) {
        self.raise(Stage::Ending);
    }

    /// The node is to end when it has handed over what it leads.
    pub fn hand_over_first(&self) {
        self.raise(Stage::HandingOver);
    }

    /// The supervisor has ended: nobody will prove this life's end, so it ends in order while it can.
    pub fn orphan(&self) {
        self.orphaned.store(true, Ordering::Relaxed);
        self.hand_over_first();
    }

    /// A client said SHUTDOWN: the node is to end, and none is to follow it. In a hurry nothing is handed over.
    pub fn shut_down(&self, hurry: Hurry) {
        self.shut_down.store(true, Ordering::Relaxed);
        match hurry {
            Hurry::No => self.hand_over_first(),
            Hurry::Yes => self.begin(),
        }
    }

    /// Whether a client said SHUTDOWN.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Relaxed)
    }

    /// Whether the supervisor has ended.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    fn raise(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let raised = *stage < to;
            if raised {
                *stage = to;
            }
            raised
        });
    }

    /// Whether it is ending.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.stage.borrow() == Stage::Ending
    }

    /// Returns when the node is to end at once.
    pub async fn begun(&self) {
        self.reached(Stage::Ending).await;
    }

    /// Returns when the node is to end, at once or after a hand-over.
    pub async fn wanted(&self) {
        self.reached(Stage::HandingOver).await;
    }

    async fn reached(&self, wanted: Stage) {
        let mut receiver = self.stage.subscribe();
        // The sender lives as long as `self`: an error cannot happen while this is awaited.
        let _ = receiver.wait_for(|stage| *stage >= wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hand_over_comes_before_the_end_and_no_step_is_taken_back() {
        let stopping = Stopping::default();
        stopping.hand_over_first();
        stopping.wanted().await;
        assert!(!stopping.has_begun() && !stopping.is_orphaned());
        stopping.begin();
        stopping.orphan();
        stopping.begun().await;
        stopping.wanted().await;
        assert!(stopping.has_begun() && stopping.is_orphaned());
    }
}
