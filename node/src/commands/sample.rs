//! Random elements of a collection: every element is as likely as any other. Chance is an argument.

use crate::resp::Error;
use crate::store::object::Places;
use capstan_proto::env::Random;
use std::collections::BTreeSet;

/// One command shows no more elements than this (I12); only a negative count can ask for more than there are.
const SHOWN_MAX: u64 = 1 << 24;

/// How many random elements a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// At most so many, each once.
    Distinct(usize),
    /// Exactly so many, each chosen anew.
    Repeated(usize),
}

impl Count {
    /// A negative number repeats.
    pub(super) fn of(number: i64) -> Result<Self, Error> {
        let magnitude = number.unsigned_abs();
        match usize::try_from(magnitude) {
            Ok(count) if number >= 0 => Ok(Self::Distinct(count)),
            Ok(count) if magnitude <= SHOWN_MAX => Ok(Self::Repeated(count)),
            Ok(_) | Err(_) => Err(Error::err("value is out of range")),
        }
    }
}

/// The place of one element; the collection is not empty.
pub(super) fn place<P: Places>(places: &P, random: &dyn Random) -> usize {
    let total = places.places().max(1) as u64;
    loop {
        let at = (random.u64() % total) as usize;
        // At least an eighth of the places is taken (tables shrink), so this ends soon.
        if places.count() == 0 || places.at_place(at).is_some() {
            return at;
        }
    }
}

/// The places of random elements.
pub(super) fn places<P: Places>(places: &P, count: Count, random: &dyn Random) -> Vec<usize> {
    let len = places.count();
    if len == 0 {
        return Vec::new();
    }
    match count {
        Count::Repeated(count) => (0..count).map(|_| place(places, random)).collect(),
        Count::Distinct(count) if count >= len => taken(places).collect(),
        Count::Distinct(count) if count > len / 4 => {
            let mut all: Vec<usize> = taken(places).collect();
            for i in 0..count {
                let other = i + (random.u64() % (len - i) as u64) as usize;
                all.swap(i, other);
            }
            all.truncate(count);
            all
        }
        Count::Distinct(count) => {
            let (mut seen, mut chosen) = (BTreeSet::new(), Vec::with_capacity(count));
            while chosen.len() < count {
                let at = place(places, random);
                if seen.insert(at) {
                    chosen.push(at);
                }
            }
            chosen
        }
    }
}

fn taken<P: Places>(places: &P) -> impl Iterator<Item = usize> {
    (0..places.places()).filter(|at| places.at_place(*at).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hash::Hasher;
    use crate::store::object::Set;
    use capstan_proto::env::RealRandom;

    #[test]
    fn a_sample_has_the_size_that_was_asked_for_and_repeats_only_if_it_may() {
        for len in [1usize, 5, 100, 600, 5000] {
            let mut set = Set::default();
            (0..len).for_each(|i| assert!(set.add(&Hasher::seeded(3), format!("m{i}").as_bytes())));
            for count in [0, 1, len / 8, len / 2, len, len + 7] {
                let chosen = places(&set, Count::Distinct(count), &RealRandom);
                let distinct: BTreeSet<_> = chosen.iter().collect();
                assert_eq!(
                    (chosen.len(), distinct.len()),
                    (count.min(len), count.min(len)),
                    "{count} of {len}"
                );
                assert!(chosen.iter().all(|at| set.at_place(*at).is_some()));
                assert_eq!(places(&set, Count::Repeated(count), &RealRandom).len(), count);
            }
        }
    }

    #[test]
    fn a_count_that_no_memory_could_hold_is_refused() {
        assert!(Count::of(-(1 << 40)).is_err());
        assert_eq!(Count::of(i64::MAX), Ok(Count::Distinct(i64::MAX as usize)));
        assert_eq!(Count::of(-3), Ok(Count::Repeated(3)));
    }
}
