//! Entries: a key and its value in one allocation behind one thin pointer, and the prefetch hint. The only file of
//! the project with `unsafe` in it; everything it offers is safe to call.
//!
//! Layout of an allocation, aligned to 8 bytes:
//!
//! ```text
//! 0   klen u16 | vlen u16 | kind u8 | db u8 | access u16      the header
//! 8   expiry u64, milliseconds since 1970                     if kind has EXPIRES
//! +   klen u32 | vlen u32                                     if kind has WIDE (the header's lengths are 0 then)
//! +   the key's bytes, the value's bytes
//! ```
//!
//! A key of 16 and a value of 32 bytes occupy 56 bytes, 64 with an expiry: one size class of 64 in both cases. The
//! size of an allocation is always [`class`] of what it holds, so no capacity is stored, a value is overwritten in
//! place while the class stays the same, and growing by appends reallocates a logarithmic number of times.
//!
//! `access` is room for the clock of an eviction policy. The upper bits of `kind` tell the type of the value: all
//! values are strings so far; a collection keeps a pointer in the value's place.
//!
//! # Invariants
//!
//! * The pointer comes from `alloc` with the layout `(class(self.size()), 8)` and is owned by this `Entry` alone.
//! * The first `self.size()` bytes are initialised and consistent with the header.
#![allow(unsafe_code)]

use capstan_proto::env::UnixMs;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const EXPIRES: u8 = 1;
const WIDE: u8 = 1 << 1;
const HEADER: usize = 8;
const ALIGN: usize = 8;
/// The longest key or value whose length fits the header.
const NARROW_MAX: usize = u16::MAX as usize;
/// The longest key and the longest value of an entry.
pub const LENGTH_MAX: usize = u32::MAX as usize >> 1;

#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    klen: u16,
    vlen: u16,
    kind: u8,
    db: u8,
    access: u16,
}

const _: () = assert!(size_of::<Header>() == HEADER && align_of::<Header>() <= ALIGN);

/// A key with its database, its expiry and its value.
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its allocation, holds plain bytes and no thread-bound state.
unsafe impl Send for Entry {}
// SAFETY: `&Entry` only reads; every change needs `&mut Entry`.
unsafe impl Sync for Entry {}

/// Where the parts of an entry begin.
#[derive(Clone, Copy)]
struct Shape {
    kind: u8,
    klen: usize,
    vlen: usize,
}

impl Shape {
    fn new(klen: usize, vlen: usize, expires: bool) -> Self {
        assert!(klen <= LENGTH_MAX && vlen <= LENGTH_MAX, "the parser admits no longer argument");
        let wide = klen > NARROW_MAX || vlen > NARROW_MAX;
        let kind = (u8::from(expires) * EXPIRES) | (u8::from(wide) * WIDE);
        Self { kind, klen, vlen }
    }

    const fn key_at(self) -> usize {
        HEADER + 8 * (self.kind & EXPIRES != 0) as usize + 8 * (self.kind & WIDE != 0) as usize
    }

    const fn value_at(self) -> usize {
        self.key_at() + self.klen
    }

    const fn size(self) -> usize {
        self.value_at() + self.vlen
    }
}

/// The size that is allocated for `size` bytes: steps of 16 up to 128, then four steps a doubling. These are the size
/// classes of mimalloc and jemalloc, so rounding up here costs nothing there.
const fn class(size: usize) -> usize {
    if size <= 128 {
        (size + 15) & !15
    } else {
        let step = 1 << ((size - 1).ilog2() - 2);
        (size + step - 1) & !(step - 1)
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(class(size), ALIGN).unwrap_or_else(|_| unreachable!("lengths are below 2^31"))
}

impl Entry {
    /// A new entry.
    #[must_use]
    pub fn new(db: u8, key: &[u8], value: &[u8], expires: Option<UnixMs>) -> Self {
        let shape = Shape::new(key.len(), value.len(), expires.is_some());
        let mut entry = Self::allocate(shape, db, expires);
        entry.fill(key, 0, value);
        entry
    }

    /// Allocates, and writes everything but key and value: the caller writes all of both before it lets go of the
    /// entry (second invariant). They are not cleared first: that would touch a large value twice.
    fn allocate(shape: Shape, db: u8, expires: Option<UnixMs>) -> Self {
        let layout = layout(shape.size());
        // SAFETY: the layout's size is not 0: a header alone has 8 bytes.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let mut entry = Self(at);
        entry.write_head(shape, db, 0, expires);
        entry
    }

    /// Writes header, expiry and wide lengths. The allocation must be large enough for `shape`.
    fn write_head(&mut self, shape: Shape, db: u8, access: u16, expires: Option<UnixMs>) {
        let wide = shape.kind & WIDE != 0;
        let (klen, vlen) = if wide { (0, 0) } else { (shape.klen as u16, shape.vlen as u16) };
        let header = Header { klen, vlen, kind: shape.kind, db, access };
        // SAFETY: by the caller the allocation holds at least `shape.size()` bytes, and header, expiry and wide
        // lengths lie before `shape.key_at() <= shape.size()`; the base is aligned to 8, and so are offsets 8 and 16.
        unsafe {
            let base = self.0.as_ptr();
            base.cast::<Header>().write(header);
            let mut at = base.add(HEADER);
            if let Some(expires) = expires {
                at.cast::<u64>().write(expires.0);
                at = at.add(8);
            }
            if wide {
                at.cast::<u32>().write(shape.klen as u32);
                at.add(4).cast::<u32>().write(shape.vlen as u32);
            }
        }
    }

    /// Writes the key and, from an offset in the value on, bytes of the value.
    fn fill(&mut self, key: &[u8], offset: usize, bytes: &[u8]) {
        let shape = self.shape();
        assert!(key.len() == shape.klen && offset + bytes.len() <= shape.vlen);
        // SAFETY: both ranges lie within `shape.size()` bytes of the allocation (checked above); the sources are
        // shared slices, which cannot overlap memory that `&mut self` owns.
        unsafe {
            let base = self.0.as_ptr();
            std::ptr::copy_nonoverlapping(key.as_ptr(), base.add(shape.key_at()), key.len());
            let at = base.add(shape.value_at() + offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        }
    }

    #[inline]
    fn header(&self) -> Header {
        // SAFETY: every allocation begins with an initialised header, aligned to 8.
        unsafe { self.0.as_ptr().cast::<Header>().read() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        let (klen, vlen) = if header.kind & WIDE == 0 {
            (usize::from(header.klen), usize::from(header.vlen))
        } else {
            self.wide_lengths(header)
        };
        Shape { kind: header.kind, klen, vlen }
    }

    #[cold]
    fn wide_lengths(&self, header: Header) -> (usize, usize) {
        let at = HEADER + 8 * usize::from(header.kind & EXPIRES != 0);
        // SAFETY: a WIDE entry has two u32 after header and expiry, at a multiple of 8.
        unsafe {
            let at = self.0.as_ptr().add(at).cast::<u32>();
            (at.read() as usize, at.add(1).read() as usize)
        }
    }

    #[inline]
    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass ranges of `shape()`, which lie in the initialised part of the allocation; the
        // lifetime is that of `&self`, during which nothing can change or free it.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.key_at(), shape.klen)
    }

    /// The value of a string.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.value_at(), shape.vlen)
    }

    /// The database that the key lives in.
    #[inline]
    #[must_use]
    pub fn db(&self) -> u8 {
        self.header().db
    }

    /// When the key expires, if ever.
    #[inline]
    #[must_use]
    pub fn expires(&self) -> Option<UnixMs> {
        if self.header().kind & EXPIRES == 0 {
            return None;
        }
        // SAFETY: an entry that EXPIRES has an initialised u64 at offset 8.
        Some(UnixMs(unsafe { self.0.as_ptr().add(HEADER).cast::<u64>().read() }))
    }

    /// Whether this is the entry of a key.
    #[inline]
    #[must_use]
    pub fn is(&self, db: u8, key: &[u8]) -> bool {
        self.header().db == db && self.key() == key
    }

    /// What the entry occupies in memory.
    #[inline]
    #[must_use]
    pub fn allocated(&self) -> usize {
        class(self.shape().size())
    }

    /// Moves the entry to another database.
    pub fn set_db(&mut self, db: u8) {
        let header = Header { db, ..self.header() };
        // SAFETY: as in `header`; `&mut self` is the only access.
        unsafe { self.0.as_ptr().cast::<Header>().write(header) };
    }

    /// Replaces value and expiry; in place if the size class allows. `key` is the entry's own key once more, from
    /// elsewhere, so that nothing has to be moved.
    pub fn replace(&mut self, key: &[u8], value: &[u8], expires: Option<UnixMs>) {
        let shape = Shape::new(key.len(), value.len(), expires.is_some());
        let header = self.header();
        if class(shape.size()) == self.allocated() {
            // The allocation is exactly as large as the new shape needs, so both calls stay inside it.
            self.write_head(shape, header.db, header.access, expires);
            self.fill(key, 0, value);
        } else {
            *self = Self::new(header.db, key, value, expires);
        }
    }

    /// Sets or clears the expiry.
    pub fn set_expires(&mut self, expires: Option<UnixMs>) {
        match (self.expires(), expires) {
            (None, None) => {}
            (Some(_), Some(at)) => {
                // SAFETY: an entry that EXPIRES has a u64 at offset 8.
                unsafe { self.0.as_ptr().add(HEADER).cast::<u64>().write(at.0) }
            }
            (None, Some(_)) | (Some(_), None) => {
                *self = Self::new(self.db(), self.key(), self.value(), expires);
            }
        }
    }

    /// Writes bytes into the value from an offset on; what lies between its end and the offset becomes zero.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let old = self.shape();
        let vlen = old.vlen.max(offset + bytes.len());
        if vlen == old.vlen {
            return self.write_value(offset, bytes);
        }
        let expires = self.expires();
        let shape = Shape::new(old.klen, vlen, expires.is_some());
        if class(shape.size()) == self.allocated() && shape.key_at() == old.key_at() {
            let gap = vlen - old.vlen;
            // SAFETY: `shape.size() <= class(shape.size())`, which is what is allocated; the gap lies in it.
            unsafe { self.0.as_ptr().add(old.size()).write_bytes(0, gap) };
            let header = self.header();
            self.write_head(shape, header.db, header.access, expires);
        } else {
            let mut grown = Self::allocate(shape, self.db(), expires);
            grown.fill(self.key(), 0, self.value());
            // SAFETY: from the end of the old value to the end of the new one, all inside the fresh allocation.
            unsafe { grown.0.as_ptr().add(shape.value_at() + old.vlen).write_bytes(0, vlen - old.vlen) };
            *self = grown;
        }
        self.write_value(offset, bytes);
    }

    fn write_value(&mut self, offset: usize, bytes: &[u8]) {
        let shape = self.shape();
        assert!(offset + bytes.len() <= shape.vlen);
        // SAFETY: the range lies within the value (checked above); the source cannot overlap what `&mut self` owns.
        unsafe {
            let at = self.0.as_ptr().add(shape.value_at() + offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        }
    }

    /// Tells the processor that this entry will be read soon.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: allocated with exactly this layout (first invariant), and never used again.
        unsafe { dealloc(self.0.as_ptr(), layout(self.shape().size())) }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({}, {} bytes)", self.key().escape_ascii(), self.value().len())
    }
}

/// Tells the processor that memory near `at` will be read soon. Any address is fine.
#[inline]
pub fn prefetch<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults and has no effect that a program could observe; SSE is part of x86_64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_entry_occupies_one_class_of_64_bytes_with_and_without_expiry() {
        let key = [b'k'; 16];
        let value = [b'v'; 32];
        assert_eq!(Entry::new(0, &key, &value, None).allocated(), 64);
        assert_eq!(Entry::new(0, &key, &value, Some(UnixMs(1))).allocated(), 64);
    }

    #[test]
    fn classes_waste_at_most_a_quarter_and_never_shrink() {
        let mut last = 0;
        for size in 8..100_000 {
            let class = class(size);
            assert!(class >= size && class >= last && class.is_multiple_of(16), "{size}");
            assert!(size < 64 || class - size <= size / 4, "{size} -> {class}");
            last = class;
        }
    }

    #[derive(Debug, Clone)]
    enum Change {
        Replace(Vec<u8>, Option<u64>),
        Expire(Option<u64>),
        Write(usize, Vec<u8>),
        Move(u8),
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..80),
            1 => (65_500usize..65_600, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (value(), any::<Option<u64>>()).prop_map(|(v, e)| Change::Replace(v, e)),
            any::<Option<u64>>().prop_map(Change::Expire),
            (0usize..100, value()).prop_map(|(at, v)| Change::Write(at, v)),
            any::<u8>().prop_map(Change::Move),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 256 }, ..Default::default() })]
        #[test]
        fn an_entry_holds_what_a_plain_struct_would_hold(
            key in value(), first in value(), changes in proptest::collection::vec(change(), 0..12)
        ) {
            let mut entry = Entry::new(3, &key, &first, None);
            let (mut db, mut model, mut expires) = (3, first, None);
            for change in changes {
                match change {
                    Change::Replace(value, at) => {
                        entry.replace(&key, &value, at.map(UnixMs));
                        (model, expires) = (value, at);
                    }
                    Change::Expire(at) => { entry.set_expires(at.map(UnixMs)); expires = at; }
                    Change::Write(offset, bytes) => {
                        entry.write(offset, &bytes);
                        if model.len() < offset + bytes.len() { model.resize(offset + bytes.len(), 0); }
                        model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    }
                    Change::Move(to) => { entry.set_db(to); db = to; }
                }
                prop_assert_eq!(entry.key(), &key[..]);
                prop_assert_eq!(entry.value(), &model[..]);
                prop_assert_eq!(entry.expires(), expires.map(UnixMs));
                prop_assert!(entry.is(db, &key));
                prop_assert!(entry.allocated() >= key.len() + model.len() + 8);
            }
        }
    }
}
