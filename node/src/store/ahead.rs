//! Memory that new entries will soon be put in, given its pages before a worker touches them.
//!
//! The first touch of a huge page clears 2 MiB in the page fault: some 100 us on a machine of one's own, 4 to 5 ms in
//! a virtual machine that gives free memory back to its host, and every client of that worker waits. An allocator
//! hands addresses out in ascending order, so the part that a first entry is seen in says which comes next; a thread
//! of low priority populates that one meanwhile (`MADV_POPULATE_WRITE`, Linux 5.14 and later; elsewhere nothing
//! happens, and the worker takes the fault as before). The price is one part of 2 MiB that may never be used.
//!
//! What is seen is a property of the process, as its heap is: hence the statics.

use super::raw;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A part of the address space: the size of a huge page.
const PART_BITS: u32 = 21;
const PART_BYTES: usize = 1 << PART_BITS;
/// Parts that are told apart: those of 128 GiB. Farther ones share a bit, and are then not populated.
const PARTS: usize = 1 << 16;
/// Parts waiting to be populated; the worker itself touches what finds no room here.
const WAITING_MAX: usize = 64;

static SEEN: [AtomicU64; PARTS / 64] = [const { AtomicU64::new(0) }; PARTS / 64];
static THREAD: OnceLock<Option<SyncSender<usize>>> = OnceLock::new();

/// Starts the thread of this process, once. Without one (nobody called this, or the system refuses a thread),
/// nothing is populated.
pub fn start() {
    THREAD.get_or_init(|| {
        let (sender, parts) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("ahead".into()).spawn(move || run(&parts));
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for preparing memory in the background");
        }
        thread.is_ok().then_some(sender)
    });
}

/// An entry was put here.
#[inline]
pub(super) fn note(address: usize) {
    let part = address >> PART_BITS;
    if !is_seen(part) {
        first_seen(part);
    }
}

/// Free memory was given back: what is taken next may have no pages again.
pub(super) fn forget() {
    SEEN.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

const fn bit(part: usize) -> (usize, u64) {
    (part % PARTS / 64, 1 << (part % 64))
}

#[inline]
fn is_seen(part: usize) -> bool {
    let (word, bit) = bit(part);
    SEEN[word].load(Ordering::Relaxed) & bit != 0
}

#[cold]
fn first_seen(part: usize) {
    let (word, bit) = bit(part);
    SEEN[word].fetch_or(bit, Ordering::Relaxed);
    if let Some(Some(thread)) = THREAD.get() {
        // A full queue means that the thread is behind already.
        let _ = thread.try_send(part + 1);
    }
}

fn run(parts: &Receiver<usize>) {
    // On Linux a nice value belongs to a thread. Failing to lower it only makes us a less polite neighbour.
    let _ = rustix::process::setpriority_process(None, 19);
    while let Ok(part) = parts.recv() {
        if !is_seen(part) {
            raw::populate(part << PART_BITS, PART_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts that no address of a process has.
    const NOWHERE: usize = 0x7fff_0000_0000_0000 >> PART_BITS;

    #[test]
    fn a_part_is_new_until_it_was_seen_and_again_when_memory_was_given_back() {
        assert!(!is_seen(NOWHERE));
        note(NOWHERE << PART_BITS);
        assert!(is_seen(NOWHERE) && !is_seen(NOWHERE + 1));
        note((NOWHERE << PART_BITS) + PART_BYTES - 1);
        assert!(!is_seen(NOWHERE + 1), "the last byte belongs to the same part");
        // Other tests put entries somewhere meanwhile; nobody but this one calls `forget` or uses these parts.
        forget();
        assert!(!is_seen(NOWHERE));
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn the_part_after_a_first_entry_gets_its_pages_and_keeps_its_content() {
        let resident_kib = || {
            let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("Rss:")).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0)
        };
        let mut memory: Vec<u8> = Vec::with_capacity(64 * PART_BYTES);
        let first = (memory.as_ptr() as usize).next_multiple_of(PART_BYTES);
        memory.push(7);
        let before = resident_kib();
        for part in 0..32 {
            raw::populate(first + part * PART_BYTES, PART_BYTES);
        }
        let gained = resident_kib().saturating_sub(before);
        assert!(gained >= 24 * PART_BYTES / 1024, "32 parts of 2048 KiB were populated: {gained} KiB more");
        assert_eq!(memory, [7]);
        // Where nothing is mapped, nothing happens.
        raw::populate(NOWHERE << PART_BITS, PART_BYTES);
    }
}
