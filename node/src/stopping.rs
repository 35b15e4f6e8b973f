//! The node's way out: who wants it to end says so here, who has something to finish waits for it here.
//!
//! Once begun it is not taken back: SHUTDOWN ABORT finds nothing to abort, since nothing delays the end.

use tokio::sync::watch;

/// Whether the node is ending.
#[derive(Debug)]
pub struct Stopping {
    begun: watch::Sender<bool>,
}

impl Default for Stopping {
    fn default() -> Self {
        Self { begun: watch::Sender::new(false) }
    }
}

impl Stopping {
    /// The node is to end now. Again: nothing happens.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Whether it is ending.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Returns when the node is to end.
    pub async fn begun(&self) {
        let mut receiver = self.begun.subscribe();
        // The sender lives as long as `self`: an error cannot happen while this is awaited.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}
