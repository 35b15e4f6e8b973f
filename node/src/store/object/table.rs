//! A hash table of elements that know their keys: the large form of hashes and sets, and the members of sorted sets.

use super::Places;
use crate::store::hash::Hasher;
use hashbrown::HashTable;

/// An element of a [`Table`].
pub trait Keyed {
    /// What it is found by.
    fn key(&self) -> &[u8];

    /// What it owns beside its own bytes in the table.
    fn heap(&self) -> usize;
}

impl Keyed for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }

    fn heap(&self) -> usize {
        self.len()
    }
}

/// Elements by their keys, in no order.
#[derive(Debug)]
pub struct Table<T> {
    entries: HashTable<T>,
    hasher: Hasher,
    heap: usize,
    /// How often elements have changed their buckets.
    moves: u32,
}

impl<T: Keyed> Table<T> {
    /// An empty one.
    #[must_use]
    pub const fn new(hasher: Hasher) -> Self {
        Self { entries: HashTable::new(), hasher, heap: 0, moves: 0 }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it occupies, itself included.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.allocation_size() + self.heap
    }

    /// The element with a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        self.entries.find(self.hasher.hash(key), |there| there.key() == key)
    }

    /// Puts an element in the place of the one with the same key, which is returned.
    pub fn put(&mut self, element: T) -> Option<T> {
        let hash = self.hasher.hash(element.key());
        self.heap += element.heap();
        if let Some(there) = self.entries.find_mut(hash, |there| there.key() == element.key()) {
            let old = std::mem::replace(there, element);
            self.heap -= old.heap();
            return Some(old);
        }
        let (capacity, hasher) = (self.entries.capacity(), &self.hasher);
        let full = capacity == self.entries.len();
        self.entries.insert_unique(hash, element, |there| hasher.hash(there.key()));
        if full && self.entries.capacity() > self.entries.len() {
            self.moves = self.moves.wrapping_add(1);
        }
        None
    }

    /// Takes the element with a key out.
    pub fn take(&mut self, key: &[u8]) -> Option<T> {
        let found = self.entries.find_entry(self.hasher.hash(key), |there| there.key() == key).ok()?;
        let (element, _) = found.remove();
        self.heap -= element.heap();
        let (len, buckets) = (self.entries.len(), self.entries.num_buckets());
        if buckets > 64 && len < buckets / 8 {
            let hasher = &self.hasher;
            self.entries.shrink_to(len * 2, |there| hasher.hash(there.key()));
            self.moves = self.moves.wrapping_add(1);
        }
        Some(element)
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }
}

impl<T: Keyed> Places for Table<T> {
    type Item<'a>
        = &'a T
    where
        T: 'a;

    fn count(&self) -> usize {
        self.len()
    }

    fn places(&self) -> usize {
        self.entries.num_buckets()
    }

    fn at_place(&self, place: usize) -> Option<&T> {
        self.entries.get_bucket(place)
    }

    /// Differs from process to process, too: a cursor may be continued at the next primary.
    fn layout_tag(&self) -> Option<u16> {
        Some(self.hasher.hash(&self.moves.to_le_bytes()) as u16)
    }
}
