//! Sets: sorted integers while all members are some, packed while small, else a table.

use super::packed::Packed;
use super::table::Table;
use super::{PACKED_ELEMENTS_MAX, PACKED_TEXT_MAX, Places};
use crate::commands::args::parse_int;
use crate::store::hash::Hasher;
use std::ops::Deref;

/// So many integers are kept sorted (`set-max-intset-entries` of Redis).
const INTEGERS_MAX: usize = 512;

/// A set.
#[derive(Debug)]
pub enum Set {
    /// Integers only, sorted.
    Integers(Vec<i64>),
    /// Members in the order in which they came.
    Small(Packed),
    /// Any size.
    Large(Box<Table<Box<[u8]>>>),
}

/// A member as text.
#[derive(Debug, Clone, Copy)]
pub enum Member<'a> {
    /// Kept as text.
    Text(&'a [u8]),
    /// Kept as a number: its digits, and how many there are.
    Digits([u8; 20], u8),
}

impl Member<'_> {
    fn integer(value: i64) -> Self {
        let (mut digits, mut buffer) = ([0; 20], itoa::Buffer::new());
        let text = buffer.format(value).as_bytes();
        digits[..text.len()].copy_from_slice(text);
        Self::Digits(digits, text.len() as u8)
    }
}

impl Deref for Member<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Digits(digits, len) => &digits[..usize::from(*len)],
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::Integers(Vec::new())
    }
}

impl Set {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(integers) => integers.len(),
            Self::Small(packed) => packed.len(),
            Self::Large(table) => table.len(),
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
            Self::Integers(integers) => integers.capacity() * size_of::<i64>(),
            Self::Small(packed) => packed.memory(),
            Self::Large(table) => table.memory(),
        }
    }

    /// As OBJECT ENCODING names it.
    #[must_use]
    pub const fn encoding(&self) -> &'static str {
        match self {
            Self::Integers(_) => "intset",
            Self::Small(_) => "listpack",
            Self::Large(_) => "hashtable",
        }
    }

    /// Whether something is a member.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Integers(integers) => {
                parse_int(member).is_some_and(|value| integers.binary_search(&value).is_ok())
            }
            Self::Small(packed) => packed.iter().any(|there| there == member),
            Self::Large(table) => table.get(member).is_some(),
        }
    }

    /// It is a member now; says whether it was none before.
    pub fn add(&mut self, hasher: &Hasher, member: &[u8]) -> bool {
        let added = match self {
            Self::Integers(integers) => match parse_int(member) {
                Some(value) => match integers.binary_search(&value) {
                    Ok(_) => false,
                    Err(at) => {
                        if integers.len() == integers.capacity() {
                            // A quarter more, not twice as much.
                            integers.reserve_exact(1 + integers.len() / 4);
                        }
                        integers.insert(at, value);
                        true
                    }
                },
                None => {
                    self.admit_text(hasher, member);
                    return self.add(hasher, member);
                }
            },
            Self::Small(packed) => {
                if packed.iter().any(|there| there == member) {
                    return false;
                }
                if packed.len() >= PACKED_ELEMENTS_MAX || member.len() > PACKED_TEXT_MAX {
                    self.enlarge(hasher);
                    return self.add(hasher, member);
                }
                packed.push_back(member);
                true
            }
            Self::Large(table) => return table.put(member.into()).is_none(),
        };
        if matches!(self, Self::Integers(integers) if integers.len() > INTEGERS_MAX) {
            self.enlarge(hasher);
        }
        added
    }

    /// Gives up being integers, for a member that is none.
    fn admit_text(&mut self, hasher: &Hasher, member: &[u8]) {
        if self.len() >= PACKED_ELEMENTS_MAX || member.len() > PACKED_TEXT_MAX {
            return self.enlarge(hasher);
        }
        let mut packed = Packed::default();
        self.iter().for_each(|member| packed.push_back(&member));
        *self = Self::Small(packed);
    }

    fn enlarge(&mut self, hasher: &Hasher) {
        let mut table = Table::new(hasher.clone());
        for member in self.iter() {
            table.put((*member).into());
        }
        *self = Self::Large(Box::new(table));
    }

    /// It is no member any more; says whether it was one.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Integers(integers) => {
                let at = parse_int(member).and_then(|value| integers.binary_search(&value).ok());
                if let Some(at) = at {
                    integers.remove(at);
                    if integers.capacity() > 2 * integers.len() + 8 {
                        integers.shrink_to(integers.len());
                    }
                }
                at.is_some()
            }
            Self::Small(packed) => {
                let mut all = packed.iter();
                loop {
                    let at = all.offset();
                    match all.next() {
                        Some(there) if there == member => return packed.remove(at, 1) == 1,
                        Some(_) => {}
                        None => return false,
                    }
                }
            }
            Self::Large(table) => table.take(member).is_some(),
        }
    }

    /// All members; integers ascend, others have no order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        let (integers, small, large) = match self {
            Self::Integers(integers) => (Some(integers.iter()), None, None),
            Self::Small(packed) => (None, Some(packed.iter()), None),
            Self::Large(table) => (None, None, Some(table.iter())),
        };
        let integers = integers.into_iter().flatten().map(|value| Member::integer(*value));
        let small = small.into_iter().flatten().map(Member::Text);
        let large = large.into_iter().flatten().map(|text| Member::Text(text));
        integers.chain(small).chain(large)
    }
}

impl Places for Set {
    type Item<'a> = Member<'a>;

    fn count(&self) -> usize {
        self.len()
    }

    fn places(&self) -> usize {
        match self {
            Self::Integers(_) | Self::Small(_) => self.len(),
            Self::Large(table) => table.places(),
        }
    }

    fn at_place(&self, place: usize) -> Option<Member<'_>> {
        match self {
            Self::Integers(integers) => integers.get(place).map(|value| Member::integer(*value)),
            Self::Small(packed) => packed.get(place).map(Member::Text),
            Self::Large(table) => table.at_place(place).map(|text| Member::Text(text)),
        }
    }

    fn layout_tag(&self) -> Option<u16> {
        match self {
            Self::Integers(_) | Self::Small(_) => None,
            Self::Large(table) => table.layout_tag(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn member(kind: u8, number: i64) -> Vec<u8> {
        match kind {
            0..=5 => number.to_string().into_bytes(),
            6..=8 => format!("m{number}").into_bytes(),
            _ => vec![b'x'; 60 + number.unsigned_abs() as usize % 10],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 96 }, ..Default::default() })]
        #[test]
        fn a_set_holds_what_a_tree_would_hold(
            kinds in 1u8..11,
            steps in proptest::collection::vec((0u8..4, any::<u8>(), -400i64..400), 0..900)
        ) {
            let hasher = Hasher::seeded(7);
            let (mut set, mut model) = (Set::default(), BTreeSet::new());
            for (what, kind, number) in steps {
                let member = member(kind % kinds, number);
                if what > 0 {
                    prop_assert_eq!(set.add(&hasher, &member), model.insert(member));
                } else {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                prop_assert_eq!(set.len(), model.len());
            }
            let there: BTreeSet<Vec<u8>> = set.iter().map(|m| m.to_vec()).collect();
            prop_assert_eq!(&there, &model);
            let placed: BTreeSet<_> = (0..set.places()).filter_map(|at| set.at_place(at)).map(|m| m.to_vec()).collect();
            prop_assert_eq!(&placed, &model);
            prop_assert!(model.iter().all(|m| set.contains(m)) && !set.contains(b"none"));
        }
    }

    #[test]
    fn a_set_changes_its_form_where_redis_does() {
        let hasher = Hasher::seeded(7);
        let mut set = Set::default();
        for i in 0..512 {
            set.add(&hasher, i.to_string().as_bytes());
        }
        assert_eq!(set.encoding(), "intset");
        set.add(&hasher, b"512");
        assert_eq!(set.encoding(), "hashtable");
        let mut set = Set::default();
        set.add(&hasher, b"1");
        for i in 0..127 {
            set.add(&hasher, format!("m{i}").as_bytes());
        }
        assert_eq!((set.encoding(), set.len()), ("listpack", 128));
        set.add(&hasher, b"more");
        assert_eq!(set.encoding(), "hashtable");
    }
}
