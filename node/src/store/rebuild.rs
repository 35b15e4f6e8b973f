//! An entry as the effects that make it anew on a copy that does not have the key: what a full copy sends, and what
//! COPY and RENAME apply. In pieces, so that a large collection can be sent without holding its lane for long.
//!
//! A piece ends after [`PIECE_BYTES`] or with the entry. Whoever lets go of the lane between two pieces must know that
//! the entry has not changed, or begin again.

use super::effect::Change;
use super::object::{End, Object, Places};
use super::raw::Entry;

/// What one piece holds at least, unless it is the last.
pub const PIECE_BYTES: usize = 256 * 1024;

/// How far an entry has been walked: 0 at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place(usize);

/// Shows the changes of the next piece to `each`. Says where the next one begins, unless this was the last.
pub fn piece(entry: &Entry, from: Place, mut each: impl FnMut(Change<'_>)) -> Option<Place> {
    let Some(object) = entry.object() else {
        each(Change::Set { value: entry.value(), expires: entry.expires() });
        return None;
    };
    let next = match object {
        Object::Hash(hash) => by_place(hash, from, |(field, value)| {
            each(Change::HashSet { field, value });
            field.len() + value.len()
        }),
        Object::List(list) => {
            let (mut index, mut bytes) = (from.0, 0);
            for value in list.iter_from(from.0) {
                each(Change::ListPush { end: End::Right, value });
                (index, bytes) = (index + 1, bytes + value.len() + OVERHEAD);
                if bytes >= PIECE_BYTES {
                    break;
                }
            }
            (index < list.len()).then_some(Place(index))
        }
        Object::Set(set) => by_place(set, from, |member| {
            each(Change::SetAdd { member: &member });
            member.len()
        }),
        Object::Zset(zset) => by_place(zset, from, |(member, score)| {
            each(Change::ZsetSet { member, score });
            member.len()
        }),
    };
    if next.is_none() && entry.expires().is_some() {
        each(Change::Expire { at: entry.expires() });
    }
    next
}

/// Shows all changes, for who holds the entry anyway.
pub fn all(entry: &Entry, mut each: impl FnMut(Change<'_>)) {
    let mut from = Place::default();
    while let Some(next) = piece(entry, from, &mut each) {
        from = next;
    }
}

/// What an element costs beside its own bytes.
const OVERHEAD: usize = 32;

fn by_place<P: Places>(places: &P, from: Place, mut each: impl FnMut(P::Item<'_>) -> usize) -> Option<Place> {
    let mut bytes = 0;
    for place in from.0..places.places() {
        if bytes >= PIECE_BYTES {
            return Some(Place(place));
        }
        bytes += 1;
        if let Some(item) = places.at_place(place) {
            bytes += each(item) + OVERHEAD;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Effect, Lanes};
    use capstan_proto::env::UnixMs;
    use capstan_proto::slot::Slot;

    const KEY: &[u8] = b"key";

    fn apply(lanes: &Lanes, change: Change<'_>) {
        let slot = Slot::of_key(KEY);
        lanes.lock(lanes.of(slot)).apply(&Effect { slot, db: 0, key: KEY, change });
    }

    /// Rebuilds the key piece by piece in other lanes; says in how many pieces.
    fn rebuilt(lanes: &Lanes, copy: &Lanes) -> usize {
        let held = lanes.lock(lanes.of(Slot::of_key(KEY)));
        let entry = held.slot(Slot::of_key(KEY)).entries().next().expect("one key");
        let (mut from, mut pieces) = (Some(Place::default()), 0);
        while let Some(place) = from {
            from = piece(entry, place, |change| apply(copy, change));
            pieces += 1;
        }
        let there = copy.lock(copy.of(Slot::of_key(KEY)));
        let copied = there.slot(Slot::of_key(KEY)).entries().next().expect("one key");
        assert_eq!((copied.kind(), copied.expires()), (entry.kind(), entry.expires()));
        assert_eq!(content(copied), content(entry));
        pieces
    }

    fn content(entry: &Entry) -> Vec<String> {
        let mut all = Vec::new();
        super::all(entry, |change| all.push(format!("{change:?}")));
        if !matches!(entry.object(), Some(Object::List(_))) {
            all.sort();
        }
        all
    }

    #[test]
    fn a_collection_of_each_type_is_rebuilt_in_pieces_with_its_expiry() {
        let makes: [fn(&Lanes, &[u8]); 4] = [
            |lanes, text| apply(lanes, Change::HashSet { field: text, value: text }),
            |lanes, text| apply(lanes, Change::ListPush { end: End::Left, value: text }),
            |lanes, text| apply(lanes, Change::SetAdd { member: text }),
            |lanes, text| {
                let score = crate::store::object::Score::new(text.len() as f64).expect("a number");
                apply(lanes, Change::ZsetSet { member: text, score });
            },
        ];
        for make in makes {
            for (count, some_pieces) in [(3, 1..=1), (20_000, 2..=99)] {
                let (lanes, copy) = (Lanes::new(1, 1, 1), Lanes::new(2, 1, 2));
                (0..count).for_each(|i| make(&lanes, format!("text {i}").as_bytes()));
                apply(&lanes, Change::Expire { at: Some(UnixMs(5)) });
                let pieces = rebuilt(&lanes, &copy);
                assert!(some_pieces.contains(&pieces), "{pieces} pieces of {count} elements");
            }
        }
    }

    #[test]
    fn a_string_is_one_change() {
        let (lanes, copy) = (Lanes::new(1, 1, 1), Lanes::new(2, 1, 2));
        apply(&lanes, Change::Set { value: b"value", expires: Some(UnixMs(7)) });
        assert_eq!(rebuilt(&lanes, &copy), 1);
    }
}
