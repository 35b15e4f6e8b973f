//! Reply buffers: kept by each worker thread and lent to a connection for the length of a turn.

use crate::dispatch::FLUSH_BYTES;
use std::cell::RefCell;

/// A worker keeps this many idle buffers: as many as connections whose replies wait for one batch.
const KEPT: usize = 64;
/// Of buffers beyond this size it keeps only so many.
const SMALL: usize = 4096;
const KEPT_LARGE: usize = 8;
/// Larger buffers than this are freed: a turn ends when [`FLUSH_BYTES`] wait, so they held one huge reply.
const LARGEST: usize = 4 * FLUSH_BYTES;

thread_local! {
    static IDLE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with some room.
#[must_use]
pub fn borrow() -> Vec<u8> {
    IDLE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a buffer back for others to use.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    // The thread may be ending: then there is nothing left to give back to.
    let kept = if buffer.capacity() > SMALL { KEPT_LARGE } else { KEPT };
    let _ = IDLE.try_with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut()
            && idle.len() < kept
        {
            idle.push(buffer);
        }
    });
}
