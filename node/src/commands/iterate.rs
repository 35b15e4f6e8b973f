//! HSCAN, SSCAN, ZSCAN: a collection in portions. What is there during the whole iteration is shown.
//!
//! A small collection is always shown whole. In a large one the cursor remembers a place and the layout that it
//! belongs to; when elements have changed their places since, the iteration begins again, and after
//! [`RESTARTS_MAX`] such restarts the rest is shown at once, so every iteration ends.

use super::args::Args;
use super::keys::cursor::{Cursor, RESTARTS_MAX};
use crate::glob::{self, Case};
use crate::resp::{Error, Reply};
use crate::store::object::Places;

/// COUNT when nothing is said.
const COUNT_DEFAULT: u64 = 10;
/// However large COUNT is, one call looks at about so many places.
const COUNT_MAX: u64 = 8192;
/// Places that one call looks at for each element of COUNT: tables may be sparse.
const LOOKS: u64 = 10;

/// What to show.
pub(super) struct Options<'a> {
    cursor: Cursor,
    pattern: Option<&'a [u8]>,
    count: u64,
}

impl<'a> Options<'a> {
    /// Reads MATCH and COUNT from the third argument on.
    pub(super) fn read(args: Args<'a>, cursor: Cursor) -> Result<Self, Error> {
        let mut options = Self { cursor, pattern: None, count: COUNT_DEFAULT };
        for i in (3..args.len()).step_by(2) {
            if i + 1 < args.len() && args.is(i, "COUNT") {
                options.count = match args.int(i + 1)? {
                    count @ 1.. => (count as u64).min(COUNT_MAX),
                    _ => return Err(Error::Syntax),
                };
            } else if i + 1 < args.len() && args.is(i, "MATCH") {
                options.pattern = Some(args.at(i + 1)).filter(|pattern| *pattern != b"*");
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    fn admits(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text, Case::Exact))
    }
}

/// The cursor, which is read before anything else is looked at.
pub(super) fn cursor(args: Args<'_>) -> Result<Cursor, Error> {
    Cursor::parse(args.at(2)).ok_or_else(|| Error::err("invalid cursor"))
}

/// The reply for a key that is not there.
pub(super) fn nothing(out: &mut Reply) {
    out.array(2);
    out.bulk(b"0");
    out.array(0);
}

/// Shows a portion: `name` is what the pattern is compared with, `show` writes an element and says as how
/// many bulk strings.
pub(super) fn portion<P: Places>(
    out: &mut Reply,
    places: &P,
    options: &Options<'_>,
    mut name: impl FnMut(&P::Item<'_>, &mut dyn FnMut(&[u8])),
    mut show: impl FnMut(P::Item<'_>, &mut Reply) -> usize,
) {
    let (mut shown, mut written) = (0, Reply::over(Vec::new(), out.resp()));
    let next = walk(places, options.cursor, options.count, |item| {
        let mut admitted = false;
        name(&item, &mut |text| admitted = options.admits(text));
        if admitted {
            shown += show(item, &mut written);
        }
    });
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next.map_or(0, Cursor::encode)).as_bytes());
    out.array(shown);
    out.raw(written.bytes());
}

/// Visits a portion; says where the next one begins, unless this was the last.
fn walk<P: Places>(
    places: &P,
    cursor: Cursor,
    count: u64,
    mut visit: impl FnMut(P::Item<'_>),
) -> Option<Cursor> {
    let tag = places.layout_tag();
    let moved = cursor.bucket != 0 && tag.is_some_and(|tag| tag != cursor.tag);
    let restarts = if moved { (cursor.restarts + 1).min(RESTARTS_MAX) } else { cursor.restarts };
    let begin = if moved || tag.is_none() { 0 } else { cursor.bucket as usize };
    let whole = tag.is_none() || restarts == RESTARTS_MAX;
    let (mut seen, mut looks) = (0, 0);
    for place in begin..places.places() {
        if !whole && (seen >= count || looks >= count * LOOKS) {
            return Some(Cursor { place: 0, restarts, tag: tag.unwrap_or(0), bucket: place as u32 });
        }
        looks += 1;
        if let Some(item) = places.at_place(place) {
            visit(item);
            seen += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hash::Hasher;
    use crate::store::object::Set;
    use std::collections::BTreeSet;

    #[test]
    fn whoever_is_there_all_the_time_is_shown_though_the_set_grows_and_shrinks() {
        let hasher = Hasher::seeded(5);
        let mut set = Set::default();
        (0..3000).for_each(|i| assert!(set.add(&hasher, format!("stays{i}").as_bytes())));
        let (mut cursor, mut seen, mut calls) = (Cursor::default(), BTreeSet::new(), 0);
        loop {
            let next = walk(&set, cursor, 10, |member| {
                seen.insert(member.to_vec());
            });
            calls += 1;
            if calls < 2000 {
                // Grows through several sizes, and shrinks again.
                for i in 0..20 {
                    let member = format!("passes{}", calls % 1000 * 20 + i).into_bytes();
                    if calls < 1000 {
                        set.add(&hasher, &member)
                    } else {
                        set.remove(&member)
                    };
                }
            }
            // As the client would give it back.
            cursor = match next {
                Some(next) => Cursor::parse(next.encode().to_string().as_bytes()).expect("a cursor"),
                None => break,
            };
            assert_ne!(cursor, Cursor::default());
        }
        assert!(calls > 20, "in portions");
        assert!((0..3000).all(|i| seen.contains(format!("stays{i}").as_bytes())));
    }

    #[test]
    fn a_small_collection_is_shown_whole_whatever_the_cursor() {
        let mut set = Set::default();
        (0..100).for_each(|i| assert!(set.add(&Hasher::seeded(5), i.to_string().as_bytes())));
        let mut seen = 0;
        assert_eq!(walk(&set, Cursor { bucket: 50, ..Cursor::default() }, 1, |_| seen += 1), None);
        assert_eq!(seen, 100);
    }
}
