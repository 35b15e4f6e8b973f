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
//! `access` is room for the clock of an eviction policy. The upper four bits of `kind` tell the type of the value: 0 is
//! a string; a collection keeps a pointer to its [`Object`] in the value's place.
//!
//! # Invariants
//!
//! * The pointer comes from `alloc` with the layout `(class(self.size()), 8)` and is owned by this `Entry` alone.
//! * The first `self.size()` bytes are initialised and consistent with the header.
//! * If the upper bits of `kind` are not 0, the value is exactly the pointer of a `Box<Object>` that this entry owns.
#![allow(unsafe_code)]

use super::ahead;
use super::object::{Kind, Object};
use capstan_proto::env::UnixMs;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const EXPIRES: u8 = 1;
const WIDE: u8 = 1 << 1;
/// The bits of the value's type; all 0 for a string.
const TYPE: u8 = 0xf0;
const TYPE_SHIFT: u32 = TYPE.trailing_zeros();
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

/// What a collection's entry takes for its value.
const POINTER: usize = size_of::<*mut Object>();

/// A key with its database, its expiry and its value.
pub struct Entry(NonNull<u8>);

const _: () = {
    const fn moves_and_is_shared_between_threads<T: Send + Sync>() {}
    moves_and_is_shared_between_threads::<Object>();
};

// SAFETY: an entry owns its allocation, which holds plain bytes and at most an object that is `Send`.
unsafe impl Send for Entry {}
// SAFETY: `&Entry` only reads, and the object is `Sync`; every change needs `&mut Entry`.
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
pub(super) const fn class(size: usize) -> usize {
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

    /// A new entry of a collection.
    #[must_use]
    pub fn collection(db: u8, key: &[u8], object: Object, expires: Option<UnixMs>) -> Self {
        let kind = object.kind();
        Self::with_object(db, key, kind, Box::into_raw(Box::new(object)), expires)
    }

    /// A new entry that takes over the object behind a pointer from `Box::into_raw`.
    fn with_object(db: u8, key: &[u8], kind: Kind, object: *mut Object, expires: Option<UnixMs>) -> Self {
        let mut shape = Shape::new(key.len(), POINTER, expires.is_some());
        shape.kind |= (kind as u8) << TYPE_SHIFT;
        let mut entry = Self::allocate(shape, db, expires);
        entry.fill(key, 0, &[]);
        // SAFETY: the shape has room for a pointer at the value's place, which need not be aligned.
        unsafe { entry.0.as_ptr().add(shape.value_at()).cast::<*mut Object>().write_unaligned(object) };
        entry
    }

    /// The pointer in the value's place of a collection.
    #[inline]
    fn pointer(&self) -> Option<*mut Object> {
        let shape = self.shape();
        // SAFETY: by the third invariant a pointer lies there, and is initialised; it need not be aligned.
        (shape.kind & TYPE != 0)
            .then(|| unsafe { self.0.as_ptr().add(shape.value_at()).cast::<*mut Object>().read_unaligned() })
    }

    /// The type of the value.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.header().kind >> TYPE_SHIFT {
            0 => Kind::Text,
            1 => Kind::Hash,
            2 => Kind::List,
            3 => Kind::Set,
            _ => Kind::Zset,
        }
    }

    /// The collection.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        // SAFETY: the pointer is valid and owned by this entry (third invariant); `&self` keeps it unchanged.
        self.pointer().map(|object| unsafe { &*object })
    }

    /// The collection, to be changed. It must stay one of its type.
    #[must_use]
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        // SAFETY: as in `object`; `&mut self` is the only access.
        self.pointer().map(|object| unsafe { &mut *object })
    }

    /// The value of a string, and nothing for a collection.
    #[inline]
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        let shape = self.shape();
        (shape.kind & TYPE == 0).then(|| self.bytes(shape.value_at(), shape.vlen))
    }

    /// Allocates, and writes everything but key and value: the caller writes all of both before it lets go of the
    /// entry (second invariant). They are not cleared first: that would touch a large value twice.
    fn allocate(shape: Shape, db: u8, expires: Option<UnixMs>) -> Self {
        let layout = layout(shape.size());
        // SAFETY: the layout's size is not 0: a header alone has 8 bytes.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        ahead::note(at.as_ptr() as usize);
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

    /// The value of a string; empty for a collection.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.text().unwrap_or_default()
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

    /// What the entry occupies in memory, with the collection that it may point to.
    #[inline]
    #[must_use]
    pub fn allocated(&self) -> usize {
        let shape = self.shape();
        let own = class(shape.size());
        if shape.kind & TYPE == 0 { own } else { own + self.object().map_or(0, Object::memory) }
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
        let (header, old) = (self.header(), self.shape());
        if class(shape.size()) == class(old.size()) && old.kind & TYPE == 0 {
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
                let Some(object) = self.pointer() else {
                    *self = Self::new(self.db(), self.key(), self.value(), expires);
                    return;
                };
                let moved = Self::with_object(self.db(), self.key(), self.kind(), object, expires);
                // The object belongs to the new entry: the old one gives it up before it is dropped.
                self.disown();
                *self = moved;
            }
        }
    }

    /// Makes a string of a collection, without dropping the object: somebody else owns it from now on.
    fn disown(&mut self) {
        let header = self.header();
        let header = Header { kind: header.kind & !TYPE, ..header };
        // SAFETY: as in `header`; `&mut self` is the only access. The pointer's bytes stay as the value.
        unsafe { self.0.as_ptr().cast::<Header>().write(header) };
    }

    /// Writes bytes into the value from an offset on; what lies between its end and the offset becomes zero.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let old = self.shape();
        if old.kind & TYPE != 0 {
            // The last of what is not a string: it is overwritten whole.
            *self = Self::new(self.db(), self.key(), &[], None);
            return self.write(offset, bytes);
        }
        let vlen = old.vlen.max(offset + bytes.len());
        if vlen == old.vlen {
            return self.write_value(offset, bytes);
        }
        let expires = self.expires();
        let shape = Shape::new(old.klen, vlen, expires.is_some());
        if class(shape.size()) == class(old.size()) && shape.key_at() == old.key_at() {
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
        if let Some(object) = self.pointer() {
            // SAFETY: from `Box::into_raw`, owned by this entry alone (third invariant), and never used again.
            drop(unsafe { Box::from_raw(object) });
        }
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

/// Gives pages to a range of addresses that has none yet, if this process may write there; nothing else changes.
pub(super) fn populate(address: usize, len: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: populating touches pages as a write would, but writes nothing: no content, mapping or protection
    // changes, whosever the range is. Where nothing is mapped or writable the call fails, and that is all right.
    let _ = unsafe {
        let advice = rustix::mm::Advice::LinuxPopulateWrite;
        rustix::mm::madvise(std::ptr::without_provenance_mut(address), len, advice)
    };
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (address, len);
}

/// From now on the allocator (mimalloc, where the program chose it) gives memory back only when it is told to.
pub(super) fn keep_free_memory() {
    #[cfg(not(miri))]
    // SAFETY: sets an integer that mimalloc reads and writes atomically: `purge_delay`, which is not exported and lies
    // before the one that is named.
    unsafe {
        libmimalloc_sys::mi_option_set(libmimalloc_sys::mi_option_use_numa_nodes - 1, A_DAY_MS);
    }
}

/// What [`keep_free_memory`] sets.
#[cfg(all(test, not(miri)))]
fn purge_delay() -> std::ffi::c_long {
    // SAFETY: reads an integer that mimalloc reads and writes atomically.
    unsafe { libmimalloc_sys::mi_option_get(libmimalloc_sys::mi_option_use_numa_nodes - 1) }
}

/// A delay that never passes, and that can be added to a clock.
#[cfg(not(miri))]
const A_DAY_MS: std::ffi::c_long = 24 * 60 * 60 * 1000;

/// Gives all free memory back to the system at once, in this thread.
pub(super) fn give_back_free_memory() {
    #[cfg(not(miri))]
    // SAFETY: frees nothing that is in use, may be called from any thread at any time, and takes no pointer.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

#[cfg(test)]
mod tests;
