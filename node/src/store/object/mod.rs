//! Collections: what an entry of another type than string points to.
//!
//! Each type has a small form, packed into one buffer, and a large one made for any size; the names that OBJECT
//! ENCODING shows for them, and the sizes at which one becomes the other, are those of Redis 7.2. Pure data: who
//! changes one is `store::effect`, under the lane lock. `memory` is kept up to date by every change, in constant time.

pub mod hash;
pub mod list;
pub mod packed;
pub mod ranked;
pub mod score;
pub mod set;
pub mod table;
pub mod zset;

pub use hash::Hash;
pub use list::{End, List};
pub use score::Score;
pub use set::{Member, Set};
pub use zset::Zset;

/// A packed hash, set or sorted set has at most so many elements (`*-max-listpack-entries` of Redis).
pub const PACKED_ELEMENTS_MAX: usize = 128;
/// And none of its texts is longer than this (`*-max-listpack-value`).
pub const PACKED_TEXT_MAX: usize = 64;

/// What type a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A string.
    Text = 0,
    /// Fields with values.
    Hash = 1,
    /// A list.
    List = 2,
    /// A set.
    Set = 3,
    /// A sorted set.
    Zset = 4,
}

impl Kind {
    /// Every type there is.
    pub const ALL: [Self; 5] = [Self::Text, Self::Hash, Self::List, Self::Set, Self::Zset];

    /// As TYPE and SCAN call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
        }
    }
}

/// A collection.
#[derive(Debug)]
pub enum Object {
    /// Fields with values.
    Hash(Hash),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    Zset(Zset),
}

/// Every collection pays this, however small it is.
const _: () = assert!(size_of::<Object>() <= 32);

impl Object {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hash(_) => Kind::Hash,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Zset(_) => Kind::Zset,
        }
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.len(),
            Self::List(list) => list.len(),
            Self::Set(set) => set.len(),
            Self::Zset(zset) => zset.len(),
        }
    }

    /// Whether it has none: only between an effect that took the last one and the deletion that follows it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it occupies, itself included.
    #[must_use]
    pub fn memory(&self) -> usize {
        let inside = match self {
            Self::Hash(hash) => hash.memory(),
            Self::List(list) => list.memory(),
            Self::Set(set) => set.memory(),
            Self::Zset(zset) => zset.memory(),
        };
        size_of::<Self>() + inside
    }

    /// What OBJECT ENCODING calls its present form.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Hash(hash) => hash.encoding(),
            Self::List(list) => list.encoding(),
            Self::Set(set) => set.encoding(),
            Self::Zset(zset) => zset.encoding(),
        }
    }
}

/// A collection whose elements have places, for iterations and random choices: numbers from 0 to [`Places::places`],
/// some of which may be empty. Places stay the same until the collection changes.
pub trait Places {
    /// What is at a place.
    type Item<'a>
    where
        Self: 'a;

    /// How many elements there are.
    fn count(&self) -> usize;

    /// How many places there are, empty ones included.
    fn places(&self) -> usize;

    /// The element at a place.
    fn at_place(&self, place: usize) -> Option<Self::Item<'_>>;

    /// Differs whenever elements may have changed their places; nothing for a small collection, which is always
    /// iterated in one go.
    fn layout_tag(&self) -> Option<u16>;
}
