//! A connection's read buffer: one allocation that is lent to a connection while it has something to read.
//!
//! Buffers are kept by each worker thread and lent out, so an idle connection owns none. A connection keeps its buffer
//! only while an unfinished command fills a good part of it; a small rest is moved into an allocation of its size.
//! Growth follows the bytes that have arrived, never what a header announces (I12).

use crate::resp::parse::Parser;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of a lent buffer: one read can take a pipeline of 16 values of 16 KB (PERFORMANCE A, large values).
pub const BUFFER: usize = 256 * 1024;
/// A worker keeps this many idle buffers.
const KEPT: usize = 4;
/// While a command needs more room than there is, at least this much is reserved at once.
const STEP: usize = 1024 * 1024;

/// So many connections of the process may keep a lent buffer although little is in it, because a command is arriving
/// right now: moving 16 KB aside and back costs more than executing them. All others move their rest (I12).
const UNDERWAY_MAX: usize = 64;

static UNDERWAY: AtomicUsize = AtomicUsize::new(0);

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
    /// Counted in [`UNDERWAY`].
    underway: bool,
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

    /// Nothing more has come yet: gives the buffer back, or keeps only what is needed.
    pub fn idle(&mut self) {
        let len = self.end - self.start;
        if len == 0 {
            self.arrived();
        }
        if self.buffer.is_empty() || (len > 0 && (2 * len >= self.buffer.len() || self.stays_underway())) {
            return;
        }
        self.set_aside();
    }

    /// Others of the worker are served before what was read: keeps only that, and gives the buffer back.
    pub fn set_aside(&mut self) {
        let rest = self.pending().to_vec();
        (self.start, self.end) = (0, rest.len());
        give_back(std::mem::replace(&mut self.buffer, rest));
    }

    /// Whether this connection may keep its buffer while the rest of a command is on its way.
    fn stays_underway(&mut self) -> bool {
        if !self.underway && UNDERWAY.fetch_add(1, Ordering::Relaxed) < UNDERWAY_MAX {
            self.underway = true;
        } else if !self.underway {
            UNDERWAY.fetch_sub(1, Ordering::Relaxed);
        }
        self.underway
    }

    fn arrived(&mut self) {
        if std::mem::take(&mut self.underway) {
            UNDERWAY.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.arrived();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(input: &mut Input, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let len = input.room().len().min(bytes.len());
            input.room()[..len].copy_from_slice(&bytes[..len]);
            input.filled(len);
            bytes = &bytes[len..];
        }
    }

    #[test]
    fn bytes_stay_in_order_through_growth_waiting_and_consumption() {
        let all: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let (mut input, mut at, mut end) = (Input::default(), 0, 0);
        for step in [1, 5000, 100_000, 700_000, 1, 1_500_000, 300_000, 2] {
            arrive(&mut input, &all[end..end + step]);
            end += step;
            input.idle();
            assert_eq!(input.pending(), &all[at..end]);
            let taken = step / 2;
            input.consume(taken);
            at += taken;
            input.idle();
            assert_eq!(input.pending(), &all[at..end]);
        }
        input.consume(end - at);
        input.idle();
        assert_eq!(input.size(), (0, 0), "an idle connection owns no buffer");
    }

    #[test]
    fn an_announced_length_reserves_nothing_before_its_bytes_come() {
        let mut input = Input::default();
        arrive(&mut input, b"*2\r\n$3\r\nGET\r\n$536870912\r\n");
        input.expect(536_870_912 + 100);
        assert!(input.room().len() <= BUFFER);
        arrive(&mut input, &vec![b'x'; BUFFER]);
        input.expect(536_870_912 + 100);
        let (used, free) = (input.room().len(), input.size());
        assert!(used <= STEP && free.0 + free.1 <= 2 * STEP, "{used} {free:?}");
    }

    #[test]
    fn many_connections_with_a_little_of_a_command_occupy_little() {
        let mut all: Vec<Input> = (0..200).map(|_| Input::default()).collect();
        for input in &mut all {
            arrive(input, b"*2\r\n$3\r\nGET\r\n$100\r\nabc");
            input.idle();
        }
        let large = all.iter().filter(|input| input.size().1 > 1000).count();
        assert!(large <= UNDERWAY_MAX, "{large} keep a whole buffer");
    }
}
