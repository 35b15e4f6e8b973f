//! Sorted sets: members with scores, in the order of (score, member). Packed while small; then a table by member and
//! a tree by rank, which share the members' texts.

use super::packed::{self, Packed};
use super::ranked::Ranked;
use super::score::Score;
use super::table::{Keyed, Table};
use super::{PACKED_ELEMENTS_MAX, PACKED_TEXT_MAX, Places};
use crate::store::hash::Hasher;
use std::cmp::Ordering;
use std::sync::Arc;

/// A packed element begins with its score.
const SCORE: usize = 8;

/// A sorted set.
#[derive(Debug)]
pub enum Zset {
    /// Sorted elements: the score's eight bytes, then the member.
    Small(Packed),
    /// Any size.
    Large(Box<Indexed>),
}

/// Members by their names and by their ranks.
#[derive(Debug)]
pub struct Indexed {
    members: Table<Scored>,
    ranks: Ranked<Scored>,
}

/// A member with its score.
#[derive(Debug, Clone)]
pub struct Scored {
    member: Arc<[u8]>,
    score: Score,
}

impl Keyed for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }

    /// The text has two counters before it.
    fn heap(&self) -> usize {
        self.member.len() + 16
    }
}

/// An element as it is shown.
pub type Element<'a> = (&'a [u8], Score);

fn unpacked(bytes: &[u8]) -> Element<'_> {
    let (score, member) = bytes.split_first_chunk::<SCORE>().unwrap_or((&[0; SCORE], b""));
    // Always a score: nothing else is packed.
    (member, Score::new(f64::from_le_bytes(*score)).unwrap_or(Score::ONE))
}

/// The order of a sorted set.
fn order(a: Element<'_>, b: Element<'_>) -> Ordering {
    a.1.cmp(&b.1).then_with(|| a.0.cmp(b.0))
}

impl Default for Zset {
    fn default() -> Self {
        Self::Small(Packed::default())
    }
}

impl Zset {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len(),
            Self::Large(large) => large.ranks.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it occupies beyond itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        match self {
            Self::Small(packed) => packed.memory(),
            Self::Large(large) => size_of::<Indexed>() + large.members.memory() + large.ranks.memory(),
        }
    }

    /// As OBJECT ENCODING names it.
    #[must_use]
    pub const fn encoding(&self) -> &'static str {
        match self {
            Self::Small(_) => "listpack",
            Self::Large(_) => "skiplist",
        }
    }

    /// A member's score.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<Score> {
        match self {
            Self::Small(packed) => {
                packed.iter().map(unpacked).find(|(there, _)| *there == member).map(|(_, score)| score)
            }
            Self::Large(large) => large.members.get(member).map(|there| there.score),
        }
    }

    /// A member's rank, counted from the lowest score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self {
            Self::Small(packed) => packed.iter().map(unpacked).position(|(there, _)| there == member),
            Self::Large(large) => {
                let score = large.members.get(member)?.score;
                Some(large.find((member, score)))
            }
        }
    }

    /// How many elements from the lowest on satisfy a condition that a prefix of them satisfies.
    pub fn partition(&self, mut before: impl FnMut(Element<'_>) -> bool) -> usize {
        match self {
            Self::Small(packed) => packed.iter().map(unpacked).take_while(|element| before(*element)).count(),
            Self::Large(large) => large.ranks.partition(|there| before((&there.member, there.score))),
        }
    }

    /// The elements of the ranks from `begin` up to and without `end`, to be walked from either end.
    #[must_use]
    pub fn range(&self, begin: usize, end: usize) -> Range<'_> {
        let end = end.min(self.len());
        let begin = begin.min(end);
        match self {
            Self::Small(packed) => {
                let mut all = packed.iter_at(packed.offset(begin));
                // Cut off behind `end`, so that a walk from there begins at the right place.
                for _ in end..packed.len() {
                    all.next_back();
                }
                Range::Small(all)
            }
            Self::Large(large) => Range::Large { large, begin, end, front: &[], back: &[] },
        }
    }

    /// All elements in their order.
    #[must_use]
    pub fn iter(&self) -> Range<'_> {
        self.range(0, self.len())
    }

    /// The member has this score now.
    pub fn set(&mut self, hasher: &Hasher, member: &[u8], score: Score) {
        match self {
            Self::Small(packed) => {
                remove_packed(packed, member);
                if packed.len() >= PACKED_ELEMENTS_MAX || member.len() > PACKED_TEXT_MAX {
                    *self = Self::Large(Box::new(index(packed, hasher)));
                    return self.set(hasher, member, score);
                }
                let mut all = packed.iter();
                let mut at = all.offset();
                while all.next().is_some_and(|there| order(unpacked(there), (member, score)).is_lt()) {
                    at = all.offset();
                }
                packed.insert(at, &[&score.value().to_le_bytes(), member]);
            }
            Self::Large(large) => {
                large.take(member);
                large.put(Scored { member: member.into(), score });
            }
        }
    }

    /// The member is gone; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Small(packed) => remove_packed(packed, member),
            Self::Large(large) => large.take(member).is_some(),
        }
    }
}

fn remove_packed(packed: &mut Packed, member: &[u8]) -> bool {
    let mut all = packed.iter();
    loop {
        let at = all.offset();
        match all.next() {
            Some(there) if unpacked(there).0 == member => return packed.remove(at, 1) == 1,
            Some(_) => {}
            None => return false,
        }
    }
}

fn index(packed: &Packed, hasher: &Hasher) -> Indexed {
    let mut large = Indexed { members: Table::new(hasher.clone()), ranks: Ranked::default() };
    for (member, score) in packed.iter().map(unpacked) {
        large.put(Scored { member: member.into(), score });
    }
    large
}

impl Indexed {
    fn find(&self, element: Element<'_>) -> usize {
        self.ranks.find(|there| order((&there.member, there.score), element))
    }

    /// Adds a member that is not there.
    fn put(&mut self, element: Scored) {
        let at = self.find((&element.member, element.score));
        self.ranks.insert(at, element.clone());
        self.members.put(element);
    }

    fn take(&mut self, member: &[u8]) -> Option<Scored> {
        let element = self.members.take(member)?;
        let at = self.find((member, element.score));
        self.ranks.remove(at);
        Some(element)
    }
}

/// Walks a stretch of a sorted set from either end, but not from both.
#[derive(Debug, Clone)]
pub enum Range<'a> {
    /// Of a packed one.
    Small(packed::Iter<'a>),
    /// Of a large one.
    Large {
        /// The set.
        large: &'a Indexed,
        /// The first rank that was not shown yet.
        begin: usize,
        /// And the one behind the last.
        end: usize,
        /// What is left of the leaf at the front.
        front: &'a [Scored],
        /// And of the one at the back.
        back: &'a [Scored],
    },
}

fn shown(scored: &Scored) -> Element<'_> {
    (&scored.member, scored.score)
}

impl<'a> Iterator for Range<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Self::Small(all) => all.next().map(unpacked),
            Self::Large { begin, end, .. } if *begin >= *end => None,
            Self::Large { large, begin, front, .. } => {
                if front.is_empty() {
                    let (leaf, at) = large.ranks.leaf(*begin)?;
                    *front = leaf.get(at..)?;
                }
                let (first, rest) = front.split_first()?;
                *begin += 1;
                *front = rest;
                Some(shown(first))
            }
        }
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Small(all) => all.next_back().map(unpacked),
            Self::Large { begin, end, .. } if *begin >= *end => None,
            Self::Large { large, end, back, .. } => {
                if back.is_empty() {
                    let (leaf, at) = large.ranks.leaf(*end - 1)?;
                    *back = leaf.get(..=at)?;
                }
                let (last, rest) = back.split_last()?;
                *end -= 1;
                *back = rest;
                Some(shown(last))
            }
        }
    }
}

impl Places for Zset {
    type Item<'a> = Element<'a>;

    fn count(&self) -> usize {
        self.len()
    }

    fn places(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len(),
            Self::Large(large) => large.members.places(),
        }
    }

    fn at_place(&self, place: usize) -> Option<Element<'_>> {
        match self {
            Self::Small(packed) => packed.get(place).map(unpacked),
            Self::Large(large) => large.members.at_place(place).map(shown),
        }
    }

    fn layout_tag(&self) -> Option<u16> {
        match self {
            Self::Small(_) => None,
            Self::Large(large) => large.members.layout_tag(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn score(value: i32) -> Score {
        Score::new(f64::from(value)).expect("a number")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 96 }, ..Default::default() })]
        #[test]
        fn a_sorted_set_holds_what_a_sorted_map_would_hold(
            members in 1u16..400, steps in proptest::collection::vec((0u8..5, any::<u16>(), -9i32..9), 0..700)
        ) {
            let hasher = Hasher::seeded(7);
            let (mut zset, mut model) = (Zset::default(), BTreeMap::new());
            for (what, member, value) in steps {
                let member = format!("m{}", member % members).into_bytes();
                if what > 0 {
                    zset.set(&hasher, &member, score(value));
                    model.insert(member, score(value));
                } else {
                    prop_assert_eq!(zset.remove(&member), model.remove(&member).is_some());
                }
                prop_assert_eq!(zset.len(), model.len());
            }
            let mut sorted: Vec<Element<'_>> = model.iter().map(|(m, s)| (&m[..], *s)).collect();
            sorted.sort_by(|a, b| order(*a, *b));
            prop_assert!(zset.iter().eq(sorted.iter().copied()));
            prop_assert!(zset.iter().rev().eq(sorted.iter().rev().copied()));
            let (third, two) = (sorted.len() / 3, sorted.len() * 2 / 3);
            prop_assert!(zset.range(third, two).eq(sorted[third..two].iter().copied()));
            prop_assert!(zset.range(third, two).rev().eq(sorted[third..two].iter().rev().copied()));
            for (rank, (member, score)) in sorted.iter().enumerate() {
                prop_assert_eq!(zset.rank(member), Some(rank));
                prop_assert_eq!(zset.score(member), Some(*score));
            }
            for value in -10..10 {
                let before = sorted.partition_point(|(_, there)| *there < score(value));
                prop_assert_eq!(zset.partition(|(_, there)| there < score(value)), before);
            }
            let placed = (0..zset.places()).filter_map(|at| zset.at_place(at)).count();
            prop_assert_eq!(placed, model.len());
        }
    }

    #[test]
    fn a_sorted_set_is_packed_up_to_128_members_of_64_bytes() {
        let hasher = Hasher::seeded(7);
        let mut zset = Zset::default();
        for i in 0..128 {
            zset.set(&hasher, format!("m{i}").as_bytes(), score(i));
        }
        assert_eq!(zset.encoding(), "listpack");
        zset.set(&hasher, b"m5", score(-1));
        assert_eq!((zset.encoding(), zset.rank(b"m5")), ("listpack", Some(0)));
        zset.set(&hasher, b"more", score(0));
        assert_eq!((zset.encoding(), zset.len()), ("skiplist", 129));
        let mut zset = Zset::default();
        zset.set(&hasher, &[b'm'; 65], score(0));
        assert_eq!(zset.encoding(), "skiplist");
    }
}
