//! A sequence of byte strings in one buffer, to be walked in both directions: the small form of every collection, and
//! the chunks of a long list.
//!
//! The buffer begins with the number of elements, four bytes, unless it is empty; kept there, it costs small collections
//! nothing beside the buffer. An element is `head | bytes | tail`: head is the length in LEB128, tail is the same
//! backwards, so that the last element is found without walking the others. The buffer is at most a quarter larger than
//! what it holds. Offsets are counted from the first element.

use crate::store::raw::class;

/// Byte strings, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    bytes: Vec<u8>,
}

/// What the number of elements takes.
const COUNT: usize = size_of::<u32>();

/// How many bytes a length takes.
const fn width(len: usize) -> usize {
    let mut width = 1;
    let mut rest = len >> 7;
    while rest > 0 {
        width += 1;
        rest >>= 7;
    }
    width
}

/// How many bytes an element with so many of its own occupies.
#[must_use]
pub const fn span(len: usize) -> usize {
    2 * width(len) + len
}

impl Packed {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.first_chunk().map_or(0, |count| u32::from_le_bytes(*count) as usize)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the elements take.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len().saturating_sub(COUNT)
    }

    /// The elements' bytes.
    fn data(&self) -> &[u8] {
        self.bytes.get(COUNT..).unwrap_or_default()
    }

    /// What the buffer occupies.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The elements, from either end.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { packed: self, front: 0, back: self.size() }
    }

    /// The elements from the one on that begins at `at`.
    #[must_use]
    pub const fn iter_at(&self, at: usize) -> Iter<'_> {
        Iter { packed: self, front: at, back: self.size() }
    }

    /// The elements before the one that begins at `at`.
    #[must_use]
    pub const fn iter_until(&self, at: usize) -> Iter<'_> {
        Iter { packed: self, front: 0, back: at }
    }

    /// The element that begins at `at`, and where the next one does.
    #[must_use]
    pub fn read(&self, at: usize) -> Option<(&[u8], usize)> {
        let data = self.data();
        let (mut len, mut shift, mut from) = (0usize, 0, at);
        loop {
            let byte = *data.get(from)?;
            len |= usize::from(byte & 0x7f) << shift;
            (shift, from) = (shift + 7, from + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let next = from + len + (from - at);
        Some((data.get(from..from + len)?, next))
    }

    /// The element that ends before `end`, and where it begins.
    #[must_use]
    pub fn read_back(&self, end: usize) -> Option<(&[u8], usize)> {
        let data = self.data();
        let (mut len, mut shift, mut from) = (0usize, 0, end);
        loop {
            from = from.checked_sub(1)?;
            let byte = *data.get(from)?;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let begin = from.checked_sub(len)?;
        Some((data.get(begin..from)?, begin.checked_sub(end - from)?))
    }

    /// Where the `index`th element begins; the end of the buffer if there are not so many.
    #[must_use]
    pub fn offset(&self, index: usize) -> usize {
        let (mut at, len) = (0, self.len());
        if index >= len {
            return self.size();
        }
        if index <= len / 2 {
            for _ in 0..index {
                at = self.read(at).map_or(at, |(_, next)| next);
            }
        } else {
            at = self.size();
            for _ in index..len {
                at = self.read_back(at).map_or(at, |(_, begin)| begin);
            }
        }
        at
    }

    /// The `index`th element.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.len()).then(|| self.read(self.offset(index)).map(|(bytes, _)| bytes)).flatten()
    }

    /// Adds an element at the end.
    pub fn push_back(&mut self, bytes: &[u8]) {
        self.insert(self.size(), &[bytes]);
    }

    /// Adds an element at the beginning.
    pub fn push_front(&mut self, bytes: &[u8]) {
        self.insert(0, &[bytes]);
    }

    /// Adds one element, given in parts, before the one that begins at `at`.
    pub fn insert(&mut self, at: usize, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        self.open(at, span(len));
        self.write(at, len, parts);
        self.set_len(self.len() + 1);
    }

    /// Replaces the element that begins at `at`.
    pub fn replace(&mut self, at: usize, parts: &[&[u8]]) {
        let Some((old, next)) = self.read(at) else { return };
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if old.len() != len {
            self.bytes.drain(COUNT + at..COUNT + next);
            self.open(at, span(len));
        }
        self.write(at, len, parts);
        self.shrink();
    }

    /// Removes so many elements from the one that begins at `at` on; returns how many there were.
    pub fn remove(&mut self, at: usize, count: usize) -> usize {
        let (mut end, mut removed) = (at, 0);
        while removed < count
            && let Some((_, next)) = self.read(end)
        {
            end = next;
            removed += 1;
        }
        if removed > 0 {
            self.bytes.drain(COUNT + at..COUNT + end);
            self.set_len(self.len() - removed);
            self.shrink();
        }
        removed
    }

    /// Cuts off what begins at `at`: it becomes a sequence of its own.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::default();
        let (mut from, mut count) = (at, 0);
        while let Some((_, next)) = self.read(from) {
            from = next;
            count += 1;
        }
        if count > 0 {
            rest.grow(self.size() - at);
            rest.bytes.extend_from_slice(&self.data()[at..]);
            rest.set_len(count);
            self.bytes.truncate(COUNT + at);
            self.set_len(self.len() - count);
            self.shrink();
        }
        rest
    }

    /// Adds all elements of another sequence at the end.
    pub fn append(&mut self, other: &Self) {
        self.grow(other.size());
        self.bytes.extend_from_slice(other.data());
        self.set_len(self.len() + other.len());
    }

    fn set_len(&mut self, len: usize) {
        if let Some(count) = self.bytes.first_chunk_mut() {
            *count = (len as u32).to_le_bytes();
        }
    }

    /// Makes room for so many bytes of elements, and for their number if there is none yet.
    fn grow(&mut self, more: usize) {
        let wanted = COUNT + self.size() + more;
        if wanted > self.bytes.capacity() {
            self.bytes.reserve_exact(class(wanted) - self.bytes.len());
        }
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; COUNT]);
        }
    }

    /// Makes room at `at`.
    fn open(&mut self, at: usize, room: usize) {
        self.grow(room);
        let old = self.bytes.len();
        self.bytes.resize(old + room, 0);
        self.bytes.copy_within(COUNT + at..old, COUNT + at + room);
    }

    /// Writes an element where there is room for exactly that.
    fn write(&mut self, at: usize, len: usize, parts: &[&[u8]]) {
        let width = width(len);
        let (mut head, mut rest) = ([0u8; 10], len);
        for (i, byte) in head[..width].iter_mut().enumerate() {
            *byte = (rest & 0x7f) as u8 | if i + 1 < width { 0x80 } else { 0 };
            rest >>= 7;
        }
        let at = COUNT + at;
        self.bytes[at..at + width].copy_from_slice(&head[..width]);
        let mut to = at + width;
        for part in parts {
            self.bytes[to..to + part.len()].copy_from_slice(part);
            to += part.len();
        }
        head[..width].reverse();
        self.bytes[to..to + width].copy_from_slice(&head[..width]);
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() + 64 {
            self.bytes.shrink_to(class(self.bytes.len()));
        }
    }
}

/// Walks a sequence from either end.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    packed: &'a Packed,
    front: usize,
    back: usize,
}

impl Iter<'_> {
    /// Where the next element begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.front
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.front >= self.back {
            return None;
        }
        let (bytes, next) = self.packed.read(self.front)?;
        self.front = next;
        Some(bytes)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let (bytes, begin) = self.packed.read_back(self.back)?;
        self.back = begin;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize, Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
        Split(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let text = || {
            prop_oneof![
                6 => proptest::collection::vec(any::<u8>(), 0..40),
                1 => (120usize..140, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
                1 => (16_380usize..16_390, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
            ]
        };
        prop_oneof![
            5 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Insert(at, text)),
            2 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Replace(at, text)),
            2 => (any::<usize>(), 0usize..4).prop_map(|(at, count)| Step::Remove(at, count)),
            1 => any::<usize>().prop_map(Step::Split),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 128 }, ..Default::default() })]
        #[test]
        fn a_packed_sequence_holds_what_a_vector_would_hold(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut packed, mut model) = (Packed::default(), Vec::<Vec<u8>>::new());
            for step in steps {
                match step {
                    Step::Insert(at, text) => {
                        let at = at % (model.len() + 1);
                        let (one, two) = text.split_at(text.len() / 3);
                        packed.insert(packed.offset(at), &[one, two]);
                        model.insert(at, text);
                    }
                    Step::Replace(at, text) if !model.is_empty() => {
                        let at = at % model.len();
                        packed.replace(packed.offset(at), &[&text]);
                        model[at] = text;
                    }
                    Step::Remove(at, count) => {
                        let at = at % (model.len() + 1);
                        let end = (at + count).min(model.len());
                        prop_assert_eq!(packed.remove(packed.offset(at), count), end - at);
                        model.drain(at..end);
                    }
                    Step::Split(at) => {
                        let at = at % (model.len() + 1);
                        let rest = packed.split_off(packed.offset(at));
                        prop_assert_eq!((packed.len(), rest.len()), (at, model.len() - at));
                        packed.append(&rest);
                    }
                    Step::Replace(..) => {}
                }
                prop_assert!(packed.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert!(packed.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
                prop_assert_eq!(packed.size(), model.iter().map(|text| span(text.len())).sum::<usize>());
                prop_assert!(packed.memory() <= 2 * packed.size() + 80);
                for (i, text) in model.iter().enumerate() {
                    prop_assert_eq!(packed.get(i), Some(&text[..]));
                }
                prop_assert_eq!((packed.len(), packed.get(model.len())), (model.len(), None));
            }
        }
    }
}
