//! Effects on collections. Total like all of them: one that adds to what is of another type replaces it, one that takes
//! away from what is not there changes nothing.

use super::{Change, Effect, Indices, Share, insert, recount};
use crate::store::hash::Hasher;
use crate::store::lane::Lane;
use crate::store::object::{End, Hash, Kind, List, Object, Set, Zset};
use crate::store::raw::Entry;

/// What an effect does where there is nothing of its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// It makes an empty collection first.
    Makes,
    /// It does nothing.
    Leaves,
}

/// Applies an effect on a collection; every other kind of effect is none of this function's.
pub(super) fn apply(lane: &mut Lane, hash: u64, effect: &Effect<'_>) {
    let (kind, otherwise) = match effect.change {
        Change::HashSet { .. } => (Kind::Hash, Otherwise::Makes),
        Change::HashDelete { .. } => (Kind::Hash, Otherwise::Leaves),
        Change::ListPush { .. } | Change::ListInsert { .. } => (Kind::List, Otherwise::Makes),
        Change::ListPop { .. } | Change::ListSet { .. } | Change::ListRemove { .. } => {
            (Kind::List, Otherwise::Leaves)
        }
        Change::SetAdd { .. } => (Kind::Set, Otherwise::Makes),
        Change::SetRemove { .. } => (Kind::Set, Otherwise::Leaves),
        Change::ZsetSet { .. } => (Kind::Zset, Otherwise::Makes),
        Change::ZsetRemove { .. } => (Kind::Zset, Otherwise::Leaves),
        Change::Set { .. }
        | Change::Write { .. }
        | Change::Expire { .. }
        | Change::Delete
        | Change::Marker { .. } => return,
    };
    let hasher = lane.hasher.clone();
    let found = lane.slot_mut(effect.slot).entries.find_mut(hash, |e| e.is(effect.db, effect.key));
    match found {
        Some(entry) if entry.kind() == kind => {
            let old = Share::of(entry);
            if let Some(object) = entry.object_mut() {
                change(object, &hasher, effect.change);
            }
            let new = Share::of(entry);
            recount(lane, effect, old, new);
        }
        Some(entry) if otherwise == Otherwise::Makes => {
            let old = Share::of(entry);
            *entry = made(effect, kind, &hasher);
            let new = Share::of(entry);
            recount(lane, effect, old, new);
        }
        None if otherwise == Otherwise::Makes => insert(lane, hash, effect, made(effect, kind, &hasher)),
        Some(_) | None => {}
    }
}

/// The entry of a collection that has only what the effect adds.
fn made(effect: &Effect<'_>, kind: Kind, hasher: &Hasher) -> Entry {
    let mut object = match kind {
        Kind::Hash => Object::Hash(Hash::default()),
        Kind::List => Object::List(List::default()),
        Kind::Set => Object::Set(Set::default()),
        Kind::Zset => Object::Zset(Zset::default()),
        Kind::Text => return Entry::new(effect.db, effect.key, b"", None),
    };
    change(&mut object, hasher, effect.change);
    Entry::collection(effect.db, effect.key, object, None)
}

fn change(object: &mut Object, hasher: &Hasher, change: Change<'_>) {
    match object {
        Object::Hash(hash) => change_hash(hash, hasher, change),
        Object::List(list) => change_list(list, change),
        Object::Set(set) => change_set(set, hasher, change),
        Object::Zset(zset) => change_zset(zset, hasher, change),
    }
}

fn change_hash(hash: &mut Hash, hasher: &Hasher, change: Change<'_>) {
    if let Change::HashSet { field, value } = change {
        hash.set(hasher, field, value);
    } else if let Change::HashDelete { field } = change {
        hash.remove(field);
    }
}

fn change_list(list: &mut List, change: Change<'_>) {
    if let Change::ListPush { end, value } = change {
        list.push(end, value);
    } else if let Change::ListPop { end, count } = change {
        list.pop(end, count as usize);
    } else if let Change::ListSet { index, value } = change {
        list.set(index as usize, value);
    } else if let Change::ListInsert { index, value } = change {
        list.insert(index as usize, value);
    } else if let Change::ListRemove { indices } = change {
        remove(list, indices);
    }
}

/// A few elements at one end, as LREM often takes them, need no walk over the rest.
fn remove(list: &mut List, indices: Indices<'_>) {
    let count = indices.iter().count();
    if count == 1 && indices.iter().next() == Some(0) {
        return list.pop(End::Left, 1);
    }
    list.remove(indices.iter());
}

fn change_set(set: &mut Set, hasher: &Hasher, change: Change<'_>) {
    if let Change::SetAdd { member } = change {
        set.add(hasher, member);
    } else if let Change::SetRemove { member } = change {
        set.remove(member);
    }
}

fn change_zset(zset: &mut Zset, hasher: &Hasher, change: Change<'_>) {
    if let Change::ZsetSet { member, score } = change {
        zset.set(hasher, member, score);
    } else if let Change::ZsetRemove { member } = change {
        zset.remove(member);
    }
}
