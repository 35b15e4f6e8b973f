//! Cursors of SCAN: where in the keyspace the next call goes on. Pure.
//!
//! Slots are visited in the order of their reversed bits: slots of one lane are neighbours then, for any number of
//! lanes. A small slot is always visited whole. In a large one the cursor remembers a bucket; entries stay in their
//! buckets until the table grows, shrinks or is cleaned up, and then the slot is begun again, so whoever is there
//! during the whole iteration is seen. After [`RESTARTS_MAX`] such restarts the rest of the slot is visited at once,
//! so every iteration ends.
//!
//! ```text
//! bits 0..31 bucket | 31..47 tag of the table's layout | 47..49 restarts | 49..63 place of the slot
//! ```

use capstan_proto::slot::{SLOTS, Slot};

/// After so many restarts a slot is visited whole.
pub(in crate::commands) const RESTARTS_MAX: u8 = 3;
const BUCKET_BITS: u32 = 31;
const TAG_BITS: u32 = 16;
const RESTART_BITS: u32 = 2;
const PLACE_BITS: u32 = 14;
const _: () = assert!(SLOTS == 1 << PLACE_BITS);
const _: () = assert!((RESTARTS_MAX as u32) < 1 << RESTART_BITS);

/// Where an iteration goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::commands) struct Cursor {
    /// Which slot, counted in the order of visits.
    pub(in crate::commands) place: u16,
    /// How often this slot was begun again.
    pub(in crate::commands) restarts: u8,
    /// The layout of the slot's table when it was left.
    pub(in crate::commands) tag: u16,
    /// The first bucket not yet visited.
    pub(in crate::commands) bucket: u32,
}

impl Cursor {
    /// The slot, unless the iteration is over.
    pub(in crate::commands) fn slot(self) -> Option<Slot> {
        let reversed = self.place.reverse_bits() >> (u16::BITS - PLACE_BITS);
        (self.place < SLOTS).then(|| Slot::new(reversed)).flatten()
    }

    /// The beginning of a slot, by its place in the order of visits.
    pub(in crate::commands) const fn at(place: u16) -> Self {
        Self { place, restarts: 0, tag: 0, bucket: 0 }
    }

    /// What the client is shown: 0 at the beginning and at the end, never else.
    pub(in crate::commands) fn encode(self) -> u64 {
        if self.place >= SLOTS {
            return 0;
        }
        u64::from(self.bucket) & ((1 << BUCKET_BITS) - 1)
            | u64::from(self.tag) << BUCKET_BITS
            | u64::from(self.restarts) << (BUCKET_BITS + TAG_BITS)
            | u64::from(self.place) << (BUCKET_BITS + TAG_BITS + RESTART_BITS)
    }

    /// What the client showed. Any number is a cursor: a made-up one begins somewhere.
    pub(in crate::commands) fn decode(number: u64) -> Self {
        let cut = |from: u32, bits: u32| number >> from & ((1 << bits) - 1);
        Self {
            place: cut(BUCKET_BITS + TAG_BITS + RESTART_BITS, PLACE_BITS) as u16,
            restarts: cut(BUCKET_BITS + TAG_BITS, RESTART_BITS) as u8,
            tag: cut(BUCKET_BITS, TAG_BITS) as u16,
            bucket: cut(0, BUCKET_BITS) as u32,
        }
    }

    /// As C's `strtoul` reads it, since that is what Redis does: an optional sign, digits, nothing before or after.
    /// An empty text is 0, a negative number wraps around.
    pub(in crate::commands) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        if digits.is_empty() && !text.is_empty() {
            return None;
        }
        let number = digits.iter().try_fold(0u64, |number, digit| {
            digit.is_ascii_digit().then_some(())?;
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })?;
        Some(Self::decode(if negative { number.wrapping_neg() } else { number }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_slot_is_visited_once_and_lane_after_lane() {
        let order: Vec<_> = (0..SLOTS).filter_map(|place| Cursor::at(place).slot()).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), usize::from(SLOTS));
        for lanes in [1, 64, 1024] {
            let mut visited: Vec<_> = order.iter().map(|slot| slot.index() % lanes).collect();
            visited.dedup();
            assert_eq!(visited.len(), lanes, "each of {lanes} lanes is visited in one go");
        }
        assert_eq!(Cursor::at(SLOTS).slot(), None);
    }

    #[test]
    fn the_beginning_and_the_end_are_0_and_nothing_else_is() {
        assert_eq!(Cursor::default().encode(), 0);
        assert_eq!(Cursor::at(SLOTS).encode(), 0);
        assert_ne!(Cursor::at(1).encode(), 0);
        assert_ne!(Cursor { bucket: 1, ..Cursor::default() }.encode(), 0);
    }

    #[test]
    fn texts_are_read_as_strtoul_reads_them() {
        assert_eq!(Cursor::parse(b""), Some(Cursor::default()));
        assert_eq!(Cursor::parse(b"+0"), Some(Cursor::default()));
        assert!(Cursor::parse(b"-1").is_some());
        for text in [" 1", "1 ", "a", "1.5", "-", "18446744073709551616"] {
            assert_eq!(Cursor::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn cursors_read_back(place in 0..SLOTS, restarts in 0..=RESTARTS_MAX, tag: u16, bucket in 0u32..1 << 31) {
            let cursor = Cursor { place, restarts, tag, bucket };
            prop_assert_eq!(Cursor::parse(cursor.encode().to_string().as_bytes()), Some(cursor));
        }
    }
}
