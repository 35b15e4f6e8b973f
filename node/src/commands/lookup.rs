//! Finding a command's row by the bytes of its name, in any case, in a few nanoseconds.
//!
//! Names are folded into three words (no command is longer than 24 bytes) and looked up in a small open-addressed
//! table that is built once from the families.

use super::Spec;
use super::table::FAMILIES;
use std::sync::LazyLock;

/// A row together with its dense number, under which statistics are kept.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The row.
    pub spec: &'static Spec,
    /// Counted through all rows, subcommands included.
    pub id: usize,
}

/// The longest name that a command can have.
pub const NAME_MAX: usize = 24;
/// At most a quarter full with the 252 commands of Redis 8.
const BUCKETS: usize = 1024;

/// A folded name and the id of its row.
type Named = ([u64; 3], usize);

struct Names {
    buckets: Box<[Option<Named>]>,
    commands: Vec<Command>,
    /// For a container: its subcommands' folded names and ids.
    subcommands: Vec<Vec<Named>>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names =
        Names { buckets: vec![None; BUCKETS].into(), commands: Vec::new(), subcommands: Vec::new() };
    for spec in FAMILIES.iter().flat_map(|rows| rows.iter()) {
        let id = names.add(spec);
        let subcommands = spec.subcommands.iter().map(|sub| (fold(sub.name.as_bytes()), names.add(sub)));
        let subcommands: Vec<_> =
            subcommands.filter_map(|(folded, id)| folded.map(|folded| (folded, id))).collect();
        names.subcommands[id] = subcommands;
        if let Some(folded) = fold(spec.name.as_bytes()) {
            let mut at = bucket(&folded);
            while names.buckets[at].is_some() {
                at = (at + 1) % BUCKETS;
            }
            names.buckets[at] = Some((folded, id));
        }
    }
    names
});

impl Names {
    fn add(&mut self, spec: &'static Spec) -> usize {
        self.commands.push(Command { spec, id: self.commands.len() });
        self.subcommands.push(Vec::new());
        self.commands.len() - 1
    }
}

/// The row of a name.
#[must_use]
pub fn command(name: &[u8]) -> Option<Command> {
    let folded = fold(name)?;
    let names = &*NAMES;
    let mut at = bucket(&folded);
    loop {
        match names.buckets[at] {
            Some((there, id)) if there == folded => return Some(names.commands[id]),
            Some(_) => at = (at + 1) % BUCKETS,
            None => return None,
        }
    }
}

/// The row of a container's subcommand.
#[must_use]
pub fn subcommand(container: Command, name: &[u8]) -> Option<Command> {
    let folded = fold(name)?;
    let names = &*NAMES;
    let (_, id) = names.subcommands[container.id].iter().find(|(there, _)| *there == folded)?;
    Some(names.commands[*id])
}

/// Every row, subcommands after their container, in the order of their ids.
#[must_use]
pub fn all() -> &'static [Command] {
    &NAMES.commands
}

/// The name in lower case, as three words.
#[inline]
fn fold(name: &[u8]) -> Option<[u64; 3]> {
    // A zero at the end would be lost in the padding.
    if name.len() > NAME_MAX || name.last() == Some(&0) {
        return None;
    }
    let mut padded = [0u8; NAME_MAX];
    padded[..name.len()].copy_from_slice(name);
    let mut words = [0; 3];
    for (word, chunk) in words.iter_mut().zip(padded.as_chunks::<8>().0) {
        *word = lower(u64::from_le_bytes(*chunk));
    }
    Some(words)
}

/// Lower-cases the ASCII capitals among eight bytes.
#[inline]
const fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let at_least_a = low.wrapping_add((0x80 - b'A' as u64) * ONES);
    let above_z = low.wrapping_add((0x80 - b'Z' as u64 - 1) * ONES);
    let capital = (at_least_a & !above_z & !word) & (0x80 * ONES);
    word | (capital >> 2)
}

#[inline]
const fn bucket(folded: &[u64; 3]) -> usize {
    let mixed = (folded[0] ^ folded[1].rotate_left(23) ^ folded[2].rotate_left(41))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_row_is_found_by_its_name_in_any_case_and_no_two_share_one() {
        for found in all() {
            if !found.spec.container.is_empty() {
                continue;
            }
            for name in [found.spec.name.to_lowercase(), found.spec.name.to_uppercase()] {
                assert_eq!(command(name.as_bytes()).map(|c| c.id), Some(found.id), "{name}");
            }
            for sub in found.spec.subcommands {
                assert_eq!(sub.container, found.spec.name, "{} names its container", sub.name);
                let there = subcommand(*found, sub.name.to_uppercase().as_bytes());
                assert_eq!(there.map(|c| c.spec.name), Some(sub.name));
            }
        }
        assert!(command(b"nosuchcommand").is_none());
        assert!(command(&[b'a'; 100]).is_none());
    }

    #[test]
    fn every_row_is_complete_enough_for_command_docs() {
        for found in all() {
            let spec = found.spec;
            assert!(!spec.name.is_empty() && spec.name.len() <= NAME_MAX, "{spec:?}");
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(!spec.summary.is_empty(), "{} has no summary", spec.full_name());
            assert!(spec.arity != 0, "{}", spec.full_name());
        }
    }

    proptest! {
        #[test]
        fn folding_equals_lower_casing(name in proptest::collection::vec(any::<u8>(), 0..=NAME_MAX)) {
            prop_assert_eq!(fold(&name), fold(&name.to_ascii_lowercase()));
            prop_assert_eq!(fold(&name) == fold(b"get"), name.eq_ignore_ascii_case(b"get"));
        }
    }
}
