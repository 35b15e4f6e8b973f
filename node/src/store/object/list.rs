//! Lists: one packed sequence while short, then a deque of them. Both ends cost constant time, a place in the middle a
//! walk over the chunks.

use super::packed::{self, Packed, span};
use std::collections::VecDeque;

/// A chunk holds at most so many bytes, or one element (`list-max-listpack-size -2` of Redis).
const CHUNK_BYTES: usize = 8 * 1024;
/// A list of one chunk becomes short again when no more than this is left in it.
const SHORT_BYTES: usize = CHUNK_BYTES / 2;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

/// A list.
#[derive(Debug)]
pub enum List {
    /// Up to a chunk.
    Short(Packed),
    /// Any length.
    Long(Box<Chunks>),
}

/// The chunks of a long list. None is empty.
#[derive(Debug, Default)]
pub struct Chunks {
    chunks: VecDeque<Packed>,
    len: usize,
    heap: usize,
}

impl Default for List {
    fn default() -> Self {
        Self::Short(Packed::default())
    }
}

impl List {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Short(packed) => packed.len(),
            Self::Long(chunks) => chunks.len,
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
            Self::Short(packed) => packed.memory(),
            Self::Long(chunks) => {
                size_of::<Chunks>() + chunks.chunks.capacity() * size_of::<Packed>() + chunks.heap
            }
        }
    }

    /// As OBJECT ENCODING names it.
    #[must_use]
    pub const fn encoding(&self) -> &'static str {
        match self {
            Self::Short(_) => "listpack",
            Self::Long(_) => "quicklist",
        }
    }

    /// The element at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Short(packed) => packed.get(index),
            Self::Long(chunks) => {
                let (chunk, inside) = chunks.locate(index)?;
                chunks.chunks.get(chunk)?.get(inside)
            }
        }
    }

    /// The elements from an index on.
    #[must_use]
    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        self.iter_between(index, self.len())
    }

    /// The elements from `begin` up to and without `end`, to be walked from either end.
    #[must_use]
    pub fn iter_between(&self, begin: usize, end: usize) -> Iter<'_> {
        let end = end.min(self.len());
        Iter { list: self, begin: begin.min(end), end, front: None, back: None }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, value: &[u8]) {
        match self {
            Self::Short(packed) if packed.is_empty() || packed.size() + span(value.len()) <= CHUNK_BYTES => {
                match end {
                    End::Left => packed.push_front(value),
                    End::Right => packed.push_back(value),
                }
                if packed.size() > CHUNK_BYTES {
                    self.lengthen();
                }
            }
            Self::Short(_) => {
                self.lengthen();
                self.push(end, value);
            }
            Self::Long(chunks) => chunks.push(end, value),
        }
    }

    /// Removes so many elements from an end, or all.
    pub fn pop(&mut self, end: End, count: usize) {
        match self {
            Self::Short(packed) => pop_packed(packed, end, count),
            Self::Long(chunks) => {
                chunks.pop(end, count);
                self.shorten();
            }
        }
    }

    /// The element at an index, if there is one, is another now.
    pub fn set(&mut self, index: usize, value: &[u8]) {
        match self {
            Self::Short(packed) if index < packed.len() => {
                packed.replace(packed.offset(index), &[value]);
                if packed.size() > CHUNK_BYTES {
                    self.lengthen();
                }
            }
            Self::Short(_) => {}
            Self::Long(chunks) => {
                chunks.set(index, value);
                self.shorten();
            }
        }
    }

    /// Adds an element before the one at an index, or at the end.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        if index >= self.len() {
            return self.push(End::Right, value);
        }
        match self {
            Self::Short(packed) => {
                packed.insert(packed.offset(index), &[value]);
                if packed.size() > CHUNK_BYTES {
                    self.lengthen();
                }
            }
            Self::Long(chunks) => chunks.insert(index, value),
        }
    }

    /// Removes the elements at these indices, which ascend.
    pub fn remove(&mut self, indices: impl Iterator<Item = usize>) {
        match self {
            Self::Short(packed) => {
                let kept = without(packed, 0, &mut indices.peekable());
                *packed = kept;
            }
            Self::Long(chunks) => {
                chunks.remove(indices);
                self.shorten();
            }
        }
    }

    fn lengthen(&mut self) {
        if let Self::Short(packed) = self {
            let packed = std::mem::take(packed);
            let mut chunks = Chunks { len: packed.len(), heap: 0, chunks: VecDeque::new() };
            chunks.place(0, packed);
            chunks.divide(0);
            *self = Self::Long(Box::new(chunks));
        }
    }

    fn shorten(&mut self) {
        if let Self::Long(chunks) = self {
            match chunks.chunks.len() {
                0 => *self = Self::default(),
                1 if chunks.chunks[0].size() <= SHORT_BYTES => {
                    let only = chunks.chunks.pop_front().unwrap_or_default();
                    *self = Self::Short(only);
                }
                _ => {}
            }
        }
    }
}

fn pop_packed(packed: &mut Packed, end: End, count: usize) {
    let at = match end {
        End::Left => 0,
        End::Right => packed.offset(packed.len().saturating_sub(count)),
    };
    packed.remove(at, count);
}

/// A copy without the elements at some indices; `base` is the index of its first element.
fn without(
    packed: &Packed,
    base: usize,
    gone: &mut std::iter::Peekable<impl Iterator<Item = usize>>,
) -> Packed {
    let mut kept = Packed::default();
    for (i, element) in packed.iter().enumerate() {
        while gone.next_if(|at| *at < base + i).is_some() {}
        if gone.next_if(|at| *at == base + i).is_none() {
            kept.push_back(element);
        }
    }
    kept
}

impl Chunks {
    /// In which chunk an index lies, and where in it.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut base = 0;
            for (number, chunk) in self.chunks.iter().enumerate() {
                if index < base + chunk.len() {
                    return Some((number, index - base));
                }
                base += chunk.len();
            }
        } else {
            let mut base = self.len;
            for (number, chunk) in self.chunks.iter().enumerate().rev() {
                base -= chunk.len();
                if index >= base {
                    return Some((number, index - base));
                }
            }
        }
        None
    }

    /// Changes a chunk and keeps count of what it occupies.
    fn change<T>(&mut self, number: usize, change: impl FnOnce(&mut Packed) -> T) -> Option<T> {
        let chunk = self.chunks.get_mut(number)?;
        self.heap -= chunk.memory();
        let result = change(chunk);
        self.heap += chunk.memory();
        Some(result)
    }

    fn place(&mut self, number: usize, chunk: Packed) {
        self.heap += chunk.memory();
        self.chunks.insert(number, chunk);
    }

    fn take(&mut self, number: usize) -> Option<Packed> {
        let chunk = self.chunks.remove(number)?;
        self.heap -= chunk.memory();
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 8 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        Some(chunk)
    }

    fn push(&mut self, end: End, value: &[u8]) {
        let number = match end {
            End::Left => 0,
            End::Right => self.chunks.len().saturating_sub(1),
        };
        let fits =
            self.chunks.get(number).is_some_and(|chunk| chunk.size() + span(value.len()) <= CHUNK_BYTES);
        if !fits {
            let at = if end == End::Left { 0 } else { self.chunks.len() };
            let mut chunk = Packed::default();
            chunk.push_back(value);
            self.place(at, chunk);
        } else {
            self.change(number, |chunk| match end {
                End::Left => chunk.push_front(value),
                End::Right => chunk.push_back(value),
            });
        }
        self.len += 1;
    }

    fn pop(&mut self, end: End, count: usize) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 {
            let number = if end == End::Left { 0 } else { self.chunks.len() - 1 };
            let there = self.chunks[number].len();
            if there <= left {
                self.take(number);
                left -= there;
            } else {
                self.change(number, |chunk| pop_packed(chunk, end, left));
                left = 0;
            }
        }
    }

    fn set(&mut self, index: usize, value: &[u8]) {
        let Some((number, inside)) = self.locate(index) else { return };
        self.change(number, |chunk| chunk.replace(chunk.offset(inside), &[value]));
        self.divide(number);
    }

    fn insert(&mut self, index: usize, value: &[u8]) {
        let Some((number, inside)) = self.locate(index) else { return };
        self.change(number, |chunk| chunk.insert(chunk.offset(inside), &[value]));
        self.len += 1;
        self.divide(number);
    }

    /// Halves a chunk that has become too large, until none is.
    fn divide(&mut self, number: usize) {
        let mut left = vec![number];
        while let Some(number) = left.pop() {
            let Some(chunk) = self.chunks.get(number).filter(|c| c.size() > CHUNK_BYTES && c.len() > 1)
            else {
                continue;
            };
            let half = chunk.len() / 2;
            if let Some(rest) = self.change(number, |chunk| chunk.split_off(chunk.offset(half))) {
                self.place(number + 1, rest);
                left.extend([number, number + 1]);
            }
        }
    }

    /// One walk over all chunks; small neighbours are joined on the way.
    fn remove(&mut self, indices: impl Iterator<Item = usize>) {
        let mut gone = indices.peekable();
        let old = std::mem::take(&mut self.chunks);
        (self.heap, self.len) = (0, 0);
        let mut base = 0;
        for chunk in old {
            let next = base + chunk.len();
            while gone.next_if(|at| *at < base).is_some() {}
            let kept = if gone.peek().is_some_and(|at| *at < next) {
                without(&chunk, base, &mut gone)
            } else {
                chunk
            };
            base = next;
            self.len += kept.len();
            let last = self.chunks.len().saturating_sub(1);
            let joins = self.chunks.back().is_some_and(|last| last.size() + kept.size() <= CHUNK_BYTES / 2);
            if joins {
                self.change(last, |last| last.append(&kept));
            } else if !kept.is_empty() {
                self.place(self.chunks.len(), kept);
            }
        }
    }
}

/// Walks a stretch of a list from either end.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    list: &'a List,
    /// The first index that was not shown yet, and the one behind the last.
    begin: usize,
    end: usize,
    front: Option<Place<'a>>,
    back: Option<Place<'a>>,
}

/// A chunk on the way.
#[derive(Debug, Clone)]
struct Place<'a> {
    chunk: usize,
    elements: packed::Iter<'a>,
}

impl<'a> Iter<'a> {
    fn chunk(&self, number: usize) -> Option<&'a Packed> {
        match self.list {
            List::Short(packed) => (number == 0).then_some(packed),
            List::Long(chunks) => chunks.chunks.get(number),
        }
    }

    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        match self.list {
            List::Short(_) => Some((0, index)),
            List::Long(chunks) => chunks.locate(index),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.begin >= self.end {
            return None;
        }
        if self.front.is_none() {
            let (chunk, inside) = self.locate(self.begin)?;
            let packed = self.chunk(chunk)?;
            self.front = Some(Place { chunk, elements: packed.iter_at(packed.offset(inside)) });
        }
        self.begin += 1;
        loop {
            let place = self.front.as_mut()?;
            if let Some(element) = place.elements.next() {
                return Some(element);
            }
            let chunk = place.chunk + 1;
            self.front = Some(Place { chunk, elements: self.chunk(chunk)?.iter() });
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.begin, Some(self.end - self.begin))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.begin >= self.end {
            return None;
        }
        if self.back.is_none() {
            let (chunk, inside) = self.locate(self.end - 1)?;
            let packed = self.chunk(chunk)?;
            self.back = Some(Place { chunk, elements: packed.iter_until(packed.offset(inside + 1)) });
        }
        self.end -= 1;
        loop {
            let place = self.back.as_mut()?;
            if let Some(element) = place.elements.next_back() {
                return Some(element);
            }
            let chunk = place.chunk.checked_sub(1)?;
            self.back = Some(Place { chunk, elements: self.chunk(chunk)?.iter() });
        }
    }
}

#[cfg(test)]
mod tests;
