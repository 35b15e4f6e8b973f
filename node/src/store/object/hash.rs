//! Hashes: packed while small, a table from then on. A hash that has become large stays so, as in Redis.

use super::packed::Packed;
use super::table::{Keyed, Table};
use super::{PACKED_ELEMENTS_MAX, PACKED_TEXT_MAX, Places};
use crate::store::hash::Hasher;

/// Fields with values.
#[derive(Debug)]
pub enum Hash {
    /// Fields and values in turn.
    Small(Packed),
    /// Any size.
    Large(Box<Table<Pair>>),
}

/// A field and its value in one allocation.
#[derive(Debug)]
pub struct Pair {
    bytes: Box<[u8]>,
    field: u32,
}

impl Pair {
    fn new(field: &[u8], value: &[u8]) -> Self {
        Self { bytes: [field, value].concat().into(), field: field.len() as u32 }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.field as usize)
    }
}

impl Keyed for Pair {
    fn key(&self) -> &[u8] {
        self.parts().0
    }

    fn heap(&self) -> usize {
        self.bytes.len()
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::Small(Packed::default())
    }
}

impl Hash {
    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len() / 2,
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
            Self::Small(packed) => packed.memory(),
            Self::Large(table) => table.memory(),
        }
    }

    /// As OBJECT ENCODING names it.
    #[must_use]
    pub const fn encoding(&self) -> &'static str {
        match self {
            Self::Small(_) => "listpack",
            Self::Large(_) => "hashtable",
        }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Small(packed) => {
                let at = find(packed, field)?;
                packed.read(packed.read(at)?.1).map(|(value, _)| value)
            }
            Self::Large(table) => table.get(field).map(|pair| pair.parts().1),
        }
    }

    /// The field has this value now.
    pub fn set(&mut self, hasher: &Hasher, field: &[u8], value: &[u8]) {
        if let Self::Small(packed) = self
            && (field.len() > PACKED_TEXT_MAX || value.len() > PACKED_TEXT_MAX)
        {
            *self = Self::Large(Box::new(unpack(packed, hasher)));
        }
        let outgrown = match self {
            Self::Large(table) => return drop(table.put(Pair::new(field, value))),
            Self::Small(packed) => set_packed(packed, field, value),
        };
        if outgrown && let Self::Small(packed) = self {
            *self = Self::Large(Box::new(unpack(packed, hasher)));
        }
    }

    /// The field is gone; says whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Small(packed) => find(packed, field).is_some_and(|at| packed.remove(at, 2) == 2),
            Self::Large(table) => table.take(field).is_some(),
        }
    }

    /// All fields and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (small, large) = match self {
            Self::Small(packed) => (Some(packed.iter()), None),
            Self::Large(table) => (None, Some(table.iter().map(Pair::parts))),
        };
        let small = small
            .into_iter()
            .flat_map(|mut all| std::iter::from_fn(move || Some((all.next()?, all.next()?))));
        small.chain(large.into_iter().flatten())
    }
}

/// Where a field begins.
fn find(packed: &Packed, field: &[u8]) -> Option<usize> {
    let mut all = packed.iter();
    loop {
        let at = all.offset();
        if all.next()? == field {
            return Some(at);
        }
        all.next()?;
    }
}

/// Says whether there are too many fields now.
fn set_packed(packed: &mut Packed, field: &[u8], value: &[u8]) -> bool {
    match find(packed, field) {
        Some(at) => {
            let value_at = packed.read(at).map_or(at, |(_, next)| next);
            packed.replace(value_at, &[value]);
        }
        None => {
            packed.push_back(field);
            packed.push_back(value);
        }
    }
    packed.len() / 2 > PACKED_ELEMENTS_MAX
}

fn unpack(packed: &Packed, hasher: &Hasher) -> Table<Pair> {
    let mut table = Table::new(hasher.clone());
    let mut all = packed.iter();
    while let (Some(field), Some(value)) = (all.next(), all.next()) {
        table.put(Pair::new(field, value));
    }
    table
}

impl Places for Hash {
    type Item<'a> = (&'a [u8], &'a [u8]);

    fn count(&self) -> usize {
        self.len()
    }

    fn places(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len() / 2,
            Self::Large(table) => table.places(),
        }
    }

    fn at_place(&self, place: usize) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Small(packed) => {
                let (field, next) = packed.read(packed.offset(2 * place))?;
                Some((field, packed.read(next)?.0))
            }
            Self::Large(table) => table.at_place(place).map(Pair::parts),
        }
    }

    fn layout_tag(&self) -> Option<u16> {
        match self {
            Self::Small(_) => None,
            Self::Large(table) => table.layout_tag(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 96 }, ..Default::default() })]
        #[test]
        fn a_hash_holds_what_a_map_would_hold(
            steps in proptest::collection::vec((any::<bool>(), 0u16..200, 0usize..70), 0..400)
        ) {
            let hasher = Hasher::seeded(7);
            let (mut hash, mut model) = (Hash::default(), BTreeMap::new());
            for (sets, field, len) in steps {
                let field = field.to_string().into_bytes();
                if sets {
                    hash.set(&hasher, &field, &vec![b'v'; len]);
                    model.insert(field, vec![b'v'; len]);
                } else {
                    prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                }
                prop_assert_eq!(hash.len(), model.len());
            }
            let there: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&there, &model);
            let placed: BTreeMap<_, _> = (0..hash.places()).filter_map(|at| hash.at_place(at))
                .map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&placed, &model);
            prop_assert!(model.iter().all(|(field, value)| hash.get(field) == Some(value)));
        }
    }

    #[test]
    fn a_hash_is_packed_up_to_128_fields_of_64_bytes() {
        let hasher = Hasher::seeded(7);
        let mut hash = Hash::default();
        for i in 0..128 {
            hash.set(&hasher, format!("f{i}").as_bytes(), &[b'v'; 64]);
        }
        assert_eq!(hash.encoding(), "listpack");
        hash.set(&hasher, b"f128", b"v");
        assert_eq!((hash.encoding(), hash.len()), ("hashtable", 129));
        let mut hash = Hash::default();
        hash.set(&hasher, b"f", &[b'v'; 65]);
        assert_eq!(hash.encoding(), "hashtable");
    }
}
