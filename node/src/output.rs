//! Reply buffers: kept by each worker thread and lent to a connection for the length of a turn.

use crate::dispatch::FLUSH_BYTES;
use std::cell::RefCell;

/// A worker keeps this many idle buffers: only as many as connections that are sending at one moment.
const KEPT: usize = 8;
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
    let _ = IDLE.try_with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut()
            && idle.len() < KEPT
        {
            idle.push(buffer);
        }
    });
}
