//! Bits of strings: counting, searching, combining, integers of any width at any offset. Pure; bit 0 is the highest
//! bit of the first byte. What lies beyond the end of a string reads as zeros.

/// How many bits of these bytes are set.
#[must_use]
pub fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u64 = words.iter().map(|w| u64::from(u64::from_le_bytes(*w).count_ones())).sum();
    words + rest.iter().map(|b| u64::from(b.count_ones())).sum::<u64>()
}

/// How many bits from the bit `first` to the bit `last`, both included, are set. Both lie inside.
#[must_use]
pub fn count_between(bytes: &[u8], first: u64, last: u64) -> u64 {
    let (from, to) = ((first / 8) as usize, (last / 8) as usize);
    let (head, tail) = edges(first, last);
    match bytes.get(from..=to) {
        None | Some([]) => 0,
        Some([only]) => u64::from((only & head & tail).count_ones()),
        Some([a, middle @ .., b]) => {
            u64::from((a & head).count_ones()) + count(middle) + u64::from((b & tail).count_ones())
        }
    }
}

/// The first bit with this value from the bit `first` to the bit `last`, both included. Both lie inside.
#[must_use]
pub fn position(bytes: &[u8], value: bool, first: u64, last: u64) -> Option<u64> {
    let (from, to) = ((first / 8) as usize, (last / 8) as usize);
    let (head, tail) = edges(first, last);
    let stretch = bytes.get(from..=to)?;
    // Where ones are searched the edges are cleared, where zeros are searched they are set.
    let masked = |i: usize, byte: u8| {
        let mask = (if i == 0 { head } else { 0xff }) & (if i == stretch.len() - 1 { tail } else { 0xff });
        if value { byte & mask } else { !byte & mask }
    };
    let skip = if value { 0 } else { 0xff };
    let candidate = |&(i, &byte): &(usize, &u8)| byte != skip && masked(i, byte) != 0;
    let (i, &byte) = stretch.iter().enumerate().find(candidate)?;
    Some((from + i) as u64 * 8 + u64::from(masked(i, byte).leading_zeros()))
}

/// The bits of the first and of the last byte that lie between two bits.
const fn edges(first: u64, last: u64) -> (u8, u8) {
    (0xff >> (first % 8), !(0x7f_u8 >> (last % 8)))
}

/// One bit.
#[must_use]
pub fn get(bytes: &[u8], offset: u64) -> bool {
    bytes.get((offset / 8) as usize).is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

/// What BITOP does with strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the only one.
    Not,
}

/// The combination of strings, as long as the longest.
#[must_use]
pub fn combine(how: Combine, strings: &[&[u8]]) -> Vec<u8> {
    let longest = strings.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut result = strings.first().map(|s| s.to_vec()).unwrap_or_default();
    result.resize(longest, 0);
    if how == Combine::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
        return result;
    }
    for other in strings.iter().skip(1) {
        let padded = other.iter().copied().chain(std::iter::repeat(0));
        for (byte, other) in result.iter_mut().zip(padded) {
            match how {
                Combine::And => *byte &= other,
                Combine::Or => *byte |= other,
                Combine::Xor => *byte ^= other,
                Combine::Not => {}
            }
        }
    }
    result
}

/// An integer type of BITFIELD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Two's complement, or without a sign.
    pub signed: bool,
    /// How many bits: 1 to 64 with a sign, 1 to 63 without.
    pub width: u32,
}

/// What happens to a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Its high bits are cut off.
    #[default]
    Wrap,
    /// It becomes the largest or smallest that fits.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl Field {
    /// Reads it at a bit.
    #[must_use]
    pub fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let from = (offset / 8) as usize;
        let mut wide = 0u128;
        for i in 0..9 {
            wide = wide << 8 | u128::from(bytes.get(from + i).copied().unwrap_or(0));
        }
        let shift = 72 - (offset % 8) as u32 - self.width;
        self.wrap((wide >> shift) as i128)
    }

    /// The bytes that hold it after a write, and where they start: what is in them around it is kept.
    #[must_use]
    pub fn written(self, bytes: &[u8], offset: u64, value: i64) -> (usize, Vec<u8>) {
        let from = (offset / 8) as usize;
        let len = ((offset % 8) as usize + self.width as usize).div_ceil(8);
        let mut wide = 0u128;
        for i in 0..len {
            wide = wide << 8 | u128::from(bytes.get(from + i).copied().unwrap_or(0));
        }
        let shift = (len * 8) as u32 - (offset % 8) as u32 - self.width;
        let mask = (u128::MAX >> (128 - self.width)) << shift;
        wide = wide & !mask | (value as u128) << shift & mask;
        (from, wide.to_be_bytes()[16 - len..].to_vec())
    }

    /// The number as it fits: `None` says that it does not and that nothing is to be written.
    #[must_use]
    pub fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = self.range();
        if (least..=most).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrap(value)),
            Overflow::Saturate => Some(if value < least { least } else { most } as i64),
            Overflow::Fail => None,
        }
    }

    /// A number that a client gave: without a sign its 64 bits are meant, so -1 is the largest there is.
    #[must_use]
    pub fn given(self, number: i64) -> i128 {
        if self.signed { i128::from(number) } else { i128::from(number as u64) }
    }

    /// The smallest and the largest number.
    const fn range(self) -> (i128, i128) {
        if self.signed {
            (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1)
        } else {
            (0, (1 << self.width) - 1)
        }
    }

    /// The low bits as a number of this type.
    const fn wrap(self, value: i128) -> i64 {
        let bits = (value as u128 & (u128::MAX >> (128 - self.width))) as u64;
        if self.signed {
            let unused = 64 - self.width;
            (bits << unused) as i64 >> unused
        } else {
            bits as i64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(bytes: &[u8]) -> Vec<bool> {
        (0..bytes.len() as u64 * 8).map(|i| get(bytes, i)).collect()
    }

    proptest! {
        #[test]
        fn counts_and_positions_agree_with_one_bit_after_the_other(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 1..20),
            a: prop::sample::Index, b: prop::sample::Index, value: bool,
        ) {
            let bits = plain(&bytes);
            let (a, b) = (a.index(bits.len()), b.index(bits.len()));
            let (first, last) = (a.min(b), a.max(b));
            let stretch = &bits[first..=last];
            let ones = stretch.iter().filter(|b| **b).count() as u64;
            prop_assert_eq!(count_between(&bytes, first as u64, last as u64), ones);
            let at = stretch.iter().position(|b| *b == value).map(|i| (first + i) as u64);
            prop_assert_eq!(position(&bytes, value, first as u64, last as u64), at);
            prop_assert_eq!(count(&bytes), bits.iter().filter(|b| **b).count() as u64);
        }

        #[test]
        fn a_field_reads_back_and_leaves_its_neighbours_alone(
            bytes in proptest::collection::vec(any::<u8>(), 0..12),
            offset in 0u64..64, width in 1u32..=64, signed: bool, value: i64,
        ) {
            let field = Field { signed, width: if signed { width } else { width.min(63) } };
            let value = field.fit(i128::from(value), Overflow::Wrap).expect("wrapping never fails");
            let (from, piece) = field.written(&bytes, offset, value);
            let mut after = bytes.clone();
            after.resize(bytes.len().max(from + piece.len()), 0);
            after[from..from + piece.len()].copy_from_slice(&piece);
            prop_assert_eq!(field.read(&after, offset), value);
            for (i, bit) in plain(&after).into_iter().enumerate() {
                let inside = (offset..offset + u64::from(field.width)).contains(&(i as u64));
                prop_assert!(inside || bit == get(&bytes, i as u64));
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        let byte = Field { signed: true, width: 8 };
        assert_eq!(byte.fit(200, Overflow::Wrap), Some(-56));
        assert_eq!(byte.fit(200, Overflow::Saturate), Some(127));
        assert_eq!(byte.fit(-200, Overflow::Saturate), Some(-128));
        assert_eq!(byte.fit(200, Overflow::Fail), None);
        let widest = Field { signed: true, width: 64 };
        assert_eq!(widest.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i64::MIN));
    }

    #[test]
    fn strings_are_combined_as_if_padded_with_zeros() {
        let strings: [&[u8]; 2] = [b"\xff\x0f\x01", b"\x0f"];
        assert_eq!(combine(Combine::And, &strings), b"\x0f\x00\x00");
        assert_eq!(combine(Combine::Or, &strings), b"\xff\x0f\x01");
        assert_eq!(combine(Combine::Xor, &strings), b"\xf0\x0f\x01");
        assert_eq!(combine(Combine::Not, &strings[..1]), b"\x00\xf0\xfe");
    }
}
