//! What a lane has changed since the batcher last came by: the place where effects wait to become a batch.
//!
//! Two buffers, chosen by the parity of the open batch number, so that batch n holds exactly the entries tagged n
//! (DESIGN 7). While nobody wants a log, recording an effect costs one comparison and keeps nothing.

use super::codec;
use super::effect::Effect;

/// The pending buffers of one lane.
#[derive(Debug, Default)]
pub struct PendingLog {
    wanted: bool,
    /// The parity of the open batch number.
    open: usize,
    buffers: [Vec<u8>; 2],
}

impl PendingLog {
    /// Whether effects are recorded from now on. Switching off forgets what waits.
    pub fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted {
            self.buffers = [Vec::new(), Vec::new()];
        }
    }

    /// Notes an effect that was just applied.
    #[inline]
    pub fn record(&mut self, effect: &Effect<'_>) {
        if self.wanted {
            codec::encode(effect, &mut self.buffers[self.open]);
        }
    }

    /// The next batch is open: what was recorded before it, to be copied and cleared.
    pub fn turn(&mut self) -> &mut Vec<u8> {
        let closed = self.open;
        self.open ^= 1;
        &mut self.buffers[closed]
    }
}
