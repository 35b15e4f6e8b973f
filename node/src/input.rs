//! A connection's read buffer: one allocation that is lent to a connection while it has something to read.
//!
//! Buffers are kept by each worker thread and lent out, so an idle connection owns none. A connection keeps its buffer
//! only while an unfinished command fills a good part of it; a small rest is moved into an allocation of its size.
//! Growth follows the bytes that have arrived, never what a header announces (I12).

use crate::resp::parse::Parser;
use std::cell::RefCell;

/// The size of a lent buffer: one read can take a pipeline of 16 values of 16 KB (PERFORMANCE A, large values).
pub const BUFFER: usize = 256 * 1024;
/// A worker keeps this many idle buffers.
const KEPT: usize = 4;
/// While a command needs more room than there is, at least this much is reserved at once.
const STEP: usize = 1024 * 1024;

thread_local! {
    static IDLE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet executed.
#[derive(Debug, Default)]
pub struct Input {
    /// All initialised; its length is its capacity for our purposes.
    buffer: Vec<u8>,
    /// The first byte that has not been executed.
    start: usize,
    /// Behind the last byte that was read.
    end: usize,
    /// How long the unfinished command is at least, counted from `start`.
    needs: usize,
    /// The state of the unfinished command.
    pub parser: Parser,
}

impl Input {
    /// What has been read and not executed.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The parser, and what it is to read.
    pub fn parts(&mut self) -> (&mut Parser, &[u8]) {
        (&mut self.parser, &self.buffer[self.start..self.end])
    }

    /// What the buffer occupies, and how much of that is used.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.end - self.start, self.buffer.len() - (self.end - self.start))
    }

    /// So many bytes at the start have been executed.
    pub fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
        self.needs = 0;
    }

    /// The command at the start is unfinished; it will be at least so long.
    pub const fn expect(&mut self, needs: usize) {
        self.needs = needs;
    }

    /// Room to read into; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        self.make_room();
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read into the room.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.buffer.len());
    }

    fn make_room(&mut self) {
        let len = self.end - self.start;
        if len == 0 {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() < BUFFER {
            // Nothing, or a rest that was put aside: continue in a lent buffer.
            let mut lent = borrow();
            lent[..len].copy_from_slice(&self.buffer[self.start..self.end]);
            (self.buffer, self.start, self.end) = (lent, 0, len);
        }
        let fits = self.start + self.needs <= self.buffer.len();
        if self.end < self.buffer.len() && (fits || self.buffer.len() - self.end >= BUFFER / 4) {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, len);
        }
        if self.end == self.buffer.len() {
            let wanted = self.needs.max(len + 1).min((2 * len).max(STEP));
            self.buffer.resize(wanted.max(len + 4096), 0);
        }
    }

    /// Nothing more will come for a while: gives the buffer back, or keeps only what is needed.
    pub fn idle(&mut self) {
        let len = self.end - self.start;
        if self.buffer.is_empty() || (len > 0 && 2 * len >= self.buffer.len()) {
            return;
        }
        let rest = self.pending().to_vec();
        give_back(std::mem::replace(&mut self.buffer, rest));
        (self.start, self.end) = (0, len);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.buffer));
    }
}

/// A buffer of [`BUFFER`] bytes, from the worker's own or a fresh one.
fn borrow() -> Vec<u8> {
    IDLE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER])
}

fn give_back(buffer: Vec<u8>) {
    if buffer.len() == BUFFER {
        // The thread may be ending: then there is nothing left to give back to.
        let _ = IDLE.try_with(|idle| {
            if let Ok(mut idle) = idle.try_borrow_mut()
                && idle.len() < KEPT
            {
                idle.push(buffer);
            }
        });
    }
}
