//! Slots: CRC16 (XMODEM) of a key, or of its hash tag, modulo 16384.
//!
//! The tables of the fast path come from the `crc16` crate itself, so the two cannot disagree. Eight bytes are
//! folded at a time because a bytewise CRC costs four times as much (19 against 4 ns for a key of 16 bytes).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::LazyLock;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

/// One of the 16384 hash slots: the unit of ownership, of migration and of snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// The slot's number, below [`SLOTS`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as an index into a table of [`SLOTS`] rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot of a key: its hash tag counts if it has one that is not empty, else all of it.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOTS)
    }

    /// All slots, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.0)
    }
}

/// The part of a key that is hashed: what stands between the first `{` and the first `}` after it, unless empty.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    match key[open + 1..].iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// `TABLES[k][b]`: what byte `b` with `k` bytes after it contributes to the CRC.
static TABLES: LazyLock<[[u16; 256]; 8]> = LazyLock::new(|| {
    let mut tables = [[0; 256]; 8];
    for (k, table) in tables.iter_mut().enumerate() {
        for (byte, cell) in table.iter_mut().enumerate() {
            let mut message = [0u8; 8];
            message[7 - k] = byte as u8;
            *cell = crc16::State::<crc16::XMODEM>::calculate(&message);
        }
    }
    tables
});

/// CRC16/XMODEM by slices of eight. Exact: property-tested against the `crc16` crate.
fn crc16(bytes: &[u8]) -> u16 {
    let t = &*TABLES;
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        let [hi, lo] = crc.to_be_bytes();
        crc = t[7][usize::from(c[0] ^ hi)]
            ^ t[6][usize::from(c[1] ^ lo)]
            ^ t[5][usize::from(c[2])]
            ^ t[4][usize::from(c[3])]
            ^ t[3][usize::from(c[4])]
            ^ t[2][usize::from(c[5])]
            ^ t[1][usize::from(c[6])]
            ^ t[0][usize::from(c[7])];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ t[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_keys_fall_into_the_slots_that_redis_gives_them() {
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("", 0), ("123456789", 0x31c3)] {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn a_hash_tag_that_is_empty_or_open_does_not_count() {
        let of = |k: &str| Slot::of_key(k.as_bytes());
        assert_eq!(of("{user1000}.following"), of("user1000"));
        assert_eq!(of("foo{{bar}}zap"), of("{bar"));
        assert_eq!(of("foo{bar}{zap}"), of("bar"));
        assert_ne!(of("foo{}{bar}"), of("bar"));
        assert_ne!(of("{foo"), of("foo"));
    }

    proptest! {
        #[test]
        fn slicing_by_eight_equals_the_crate(bytes: Vec<u8>) {
            prop_assert_eq!(crc16(&bytes), crc16::State::<crc16::XMODEM>::calculate(&bytes));
        }
    }
}
