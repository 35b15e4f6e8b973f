//! A store that fails when it is told to: shows what a server does about a disk that breaks.

use super::disk::{Op, Pace, Pair, Store};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which calls of a [`FaultyStore`] fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The nth write (1 is the first) and every later one; nothing of them is stored.
    Write(u64),
    /// The nth flush (1 is the first) and every later one; what was written may or may not survive.
    Flush(u64),
}

/// Another store, until the fault comes; from then on every write or flush is an error, as with a dead drive.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Fault,
    writes: AtomicU64,
    flushes: AtomicU64,
}

impl FaultyStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, fault: Fault) -> Self {
        Self { inner, fault, writes: AtomicU64::new(0), flushes: AtomicU64::new(0) }
    }

    /// How many writes and flushes were asked for so far.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        (self.writes.load(Ordering::Relaxed), self.flushes.load(Ordering::Relaxed))
    }
}

fn dead() -> io::Error {
    io::Error::other("injected fault: the drive answers no more")
}

impl Store for FaultyStore {
    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Pair>> {
        self.inner.scan(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<Pair>> {
        self.inner.last(from, to)
    }

    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let n = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Fault::Write(at) if n >= at => Err(dead()),
            Fault::Write(_) | Fault::Flush(_) => self.inner.write(ops),
        }
    }

    fn flush(&self) -> io::Result<()> {
        let n = self.flushes.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Fault::Flush(at) if n >= at => Err(dead()),
            Fault::Write(_) | Fault::Flush(_) => self.inner.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mem_store::MemStore;
    use super::*;

    #[test]
    fn the_nth_call_and_every_later_one_fails() {
        let store = FaultyStore::new(Arc::new(MemStore::new()), Fault::Flush(2));
        assert!(store.flush().is_ok());
        assert!(store.write(vec![Op::Del(b"x".to_vec())]).is_ok());
        assert!(store.flush().is_err());
        assert!(store.flush().is_err());
        assert_eq!(store.calls(), (1, 3));
    }
}
