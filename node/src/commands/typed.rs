//! What was found as a value of the type that a command works on, or WRONGTYPE.

use crate::resp::Error;
use crate::store::Entry;
use crate::store::object::{Hash, List, Object, Set, Zset};

/// As a string.
#[inline]
pub(super) fn text(found: Option<&Entry>) -> Result<Option<&[u8]>, Error> {
    match found {
        Some(entry) => entry.text().map(Some).ok_or(Error::WrongType),
        None => Ok(None),
    }
}

/// As a hash.
pub(super) fn hash(found: Option<&Entry>) -> Result<Option<&Hash>, Error> {
    match found.map(|entry| entry.object()) {
        None => Ok(None),
        Some(Some(Object::Hash(hash))) => Ok(Some(hash)),
        Some(_) => Err(Error::WrongType),
    }
}

/// As a list.
pub(super) fn list(found: Option<&Entry>) -> Result<Option<&List>, Error> {
    match found.map(|entry| entry.object()) {
        None => Ok(None),
        Some(Some(Object::List(list))) => Ok(Some(list)),
        Some(_) => Err(Error::WrongType),
    }
}

/// As a set.
pub(super) fn set(found: Option<&Entry>) -> Result<Option<&Set>, Error> {
    match found.map(|entry| entry.object()) {
        None => Ok(None),
        Some(Some(Object::Set(set))) => Ok(Some(set)),
        Some(_) => Err(Error::WrongType),
    }
}

/// As a sorted set.
pub(super) fn zset(found: Option<&Entry>) -> Result<Option<&Zset>, Error> {
    match found.map(|entry| entry.object()) {
        None => Ok(None),
        Some(Some(Object::Zset(zset))) => Ok(Some(zset)),
        Some(_) => Err(Error::WrongType),
    }
}
