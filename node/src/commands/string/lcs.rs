//! The longest common subsequence of two strings (LCS): Redis' table and Redis' way back through it, so that of
//! several equally long ones the same is shown. Pure; the caller bounds the table ([`table_size`]).

/// A stretch that both strings have: first and last index in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// In the first string.
    pub a: (usize, usize),
    /// In the second string.
    pub b: (usize, usize),
}

impl Match {
    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.a.1 - self.a.0 + 1
    }
}

/// What two strings have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Common {
    /// The subsequence.
    pub bytes: Vec<u8>,
    /// Its contiguous stretches, from the ends of the strings to their beginnings.
    pub matches: Vec<Match>,
}

/// The bytes of memory that the table of two strings of these lengths takes.
#[must_use]
pub const fn table_size(a: usize, b: usize) -> usize {
    (a + 1).saturating_mul(b + 1).saturating_mul(size_of::<u32>())
}

/// Only how long it is: two rows of the table are enough for that.
#[must_use]
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let mut row = vec![0u32; b.len() + 1];
    for &x in a {
        let mut diagonal = 0;
        for (j, &y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()] as usize
}

/// The subsequence and its stretches.
#[must_use]
pub fn common(a: &[u8], b: &[u8]) -> Common {
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            table[(i + 1) * width + j + 1] = if x == y {
                table[i * width + j] + 1
            } else {
                table[i * width + j + 1].max(table[(i + 1) * width + j])
            };
        }
    }
    let mut found = Common::default();
    let (mut i, mut j) = (a.len(), b.len());
    let mut open: Option<Match> = None;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            found.bytes.push(a[i - 1]);
            i -= 1;
            j -= 1;
            // Contiguous with the open stretch, since every step aside closes it.
            open = Some(match open {
                Some(m) => Match { a: (i, m.a.1), b: (j, m.b.1) },
                None => Match { a: (i, i), b: (j, j) },
            });
        } else {
            if table[(i - 1) * width + j] > table[i * width + j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
            found.matches.extend(open.take());
        }
    }
    found.matches.extend(open);
    found.bytes.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_manual() {
        let found = common(b"ohmytext", b"mynewtext");
        assert_eq!(found.bytes, b"mytext");
        assert_eq!(found.matches, [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }]);
        assert_eq!(length(b"ohmytext", b"mynewtext"), 6);
    }

    proptest! {
        #[test]
        fn the_stretches_make_up_the_subsequence(a in "[ab]{0,12}", b in "[abc]{0,12}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let found = common(a, b);
            prop_assert_eq!(found.bytes.len(), length(a, b));
            let mut joined = Vec::new();
            for m in found.matches.iter().rev() {
                prop_assert_eq!(&a[m.a.0..=m.a.1], &b[m.b.0..=m.b.1]);
                joined.extend_from_slice(&a[m.a.0..=m.a.1]);
            }
            prop_assert_eq!(joined, found.bytes);
        }
    }
}
