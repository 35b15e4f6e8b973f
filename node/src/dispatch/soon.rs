//! Prefetching across connections: what a single command will touch is on its way to the cache while the other ready
//! connections of the worker are read.
//!
//! A lookup waits for memory three times in a row (the table's control bytes, its bucket, the entry), and a pipeline of
//! many commands overlaps those waits. A client that sends one command at a time leaves nothing to overlap them with but
//! the commands of others. So a connection that has read one announces its key and lets the other ready connections
//! of its worker do the same; the first that goes on prefetches for all, and then they execute one after the other,
//! which also keeps the code of each half in the processor's instruction cache. Nothing is decided here: an announced
//! key is a hint, and one that is forgotten costs time only (docs/decisions/0012).

use crate::store::Lanes;
use capstan_proto::slot::Slot;
use std::cell::RefCell;

/// So many keys wait at most: more would push each other out of the cache again.
const MOST: usize = 64;

thread_local! {
    static SOON: RefCell<Vec<(Slot, u64)>> = const { RefCell::new(Vec::new()) };
}

/// Announces the key of a single command. False if these bytes are anything else (a pipeline overlaps its own misses),
/// if no key is to be seen, or if enough are announced already: then waiting for others gains nothing.
pub fn announce(lanes: &Lanes, bytes: &[u8]) -> bool {
    let Some(key) = key_of_single(bytes) else { return false };
    SOON.with_borrow_mut(|soon| {
        let room = soon.len() < MOST;
        if room {
            let slot = Slot::of_key(key);
            lanes.prefetch_slot(slot);
            soon.push((slot, lanes.hash(key)));
        }
        room
    })
}

/// Prefetches what has been announced on this thread and nobody has prefetched yet; says how much that was.
pub fn prefetch(lanes: &Lanes) -> usize {
    SOON.with_borrow_mut(|soon| soon.drain(..).map(|(slot, hash)| lanes.prefetch_entry(slot, hash)).count())
}

/// The argument behind the name, where nearly every command has its first key, if these bytes are one whole command.
#[inline]
fn key_of_single(bytes: &[u8]) -> Option<&[u8]> {
    let (args, mut rest) = number(bytes, b'*')?;
    let mut key = None;
    for arg in 0..args {
        let (len, text) = number(rest, b'$')?;
        rest = text.get(len + 2..)?;
        if arg == 1 {
            key = text.get(..len);
        }
    }
    key.filter(|_| rest.is_empty())
}

/// A number of at most four digits behind its mark, and what follows its line.
#[inline]
fn number(bytes: &[u8], mark: u8) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let mut value = 0;
    for (at, byte) in rest.iter().enumerate().take(5) {
        match byte {
            b'0'..=b'9' => value = value * 10 + usize::from(byte - b'0'),
            b'\r' => {
                return rest.get(at + 2..).filter(|_| *first == mark && at > 0).map(|rest| (value, rest));
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::NodeCore;
    use capstan_proto::env::Env;
    use proptest::prelude::*;

    fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    #[test]
    fn what_is_announced_is_prefetched_once_and_its_number_is_bounded() {
        let core = NodeCore::new(Env::real(), Config::default());
        let get = |key: usize| encoded(&[b"GET".to_vec(), key.to_string().into_bytes()]);
        assert_eq!((0..100).filter(|key| announce(&core.lanes, &get(*key))).count(), MOST);
        assert_eq!((prefetch(&core.lanes), prefetch(&core.lanes)), (MOST, 0));
        assert!(announce(&core.lanes, &get(7)), "there is room again");
        assert_eq!(prefetch(&core.lanes), 1);
    }

    #[test]
    fn what_is_no_single_command_with_a_key_announces_nothing() {
        let core = NodeCore::new(Env::real(), Config::default());
        for bytes in [
            &b"*1\r\n$4\r\nPING\r\n"[..],
            b"PING\r\n",
            b"GET key\r\n",
            b"",
            b"*",
            b"*2\r\n$3\r\nGET\r\n$3\r\nke",
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        ] {
            assert!(!announce(&core.lanes, bytes), "{}", bytes.escape_ascii());
        }
        assert_eq!(prefetch(&core.lanes), 0);
    }

    proptest! {
        #[test]
        fn the_announced_key_is_the_second_argument_of_one_whole_command(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1200), 2..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let (bytes, twice) = (encoded(&words), encoded(&words).repeat(2));
            prop_assert_eq!(key_of_single(&bytes), Some(&words[1][..]));
            // Neither a part of a command nor two are a single one.
            prop_assert_eq!(key_of_single(&bytes[..cut.index(bytes.len())]), None);
            prop_assert_eq!(key_of_single(&twice), None);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(prop::sample::select(b"*$0123456789\r\nGETx".to_vec()), 0..60)) {
            let _ = key_of_single(&bytes);
        }
    }
}
