//! What the load generator says: commands written from a template, a key's digits put in. Pure and cheap (a copy and
//! twelve divisions), so that one thread can keep a server busy.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A command of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// SET key value
    Set,
    /// GET key
    Get,
    /// INCR key
    Incr,
}

impl Verb {
    /// As in Redis.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Incr => "INCR",
        }
    }
}

/// Which key comes next.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    /// Any of the first so many, evenly.
    Random(u64, SmallRng),
    /// One after the other from here on.
    Sequence(u64),
}

impl Keys {
    /// Random keys, the same ones for the same seed.
    pub(crate) fn random(count: u64, seed: u64) -> Self {
        Self::Random(count.max(1), SmallRng::seed_from_u64(seed))
    }

    fn next(&mut self) -> u64 {
        match self {
            Self::Random(count, rng) => rng.gen_range(0..*count),
            Self::Sequence(next) => {
                *next += 1;
                *next - 1
            }
        }
    }
}

struct Template {
    bytes: Vec<u8>,
    digits_at: usize,
}

/// Digits of a key after its four letters: keys are 16 bytes, `key:000000123456`.
const DIGITS: usize = 12;

impl Template {
    fn new(verb: Verb, letters: &str, value: &[u8]) -> Self {
        let parts = if verb == Verb::Set { 3 } else { 2 };
        let name = verb.name();
        let mut bytes =
            format!("*{parts}\r\n${}\r\n{name}\r\n${}\r\n{letters}", name.len(), letters.len() + DIGITS);
        let digits_at = bytes.len();
        bytes.push_str(&"0".repeat(DIGITS));
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        if verb == Verb::Set {
            bytes.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        Self { bytes, digits_at }
    }
}

/// An endless stream of commands: some verbs in turn, on keys of one kind.
pub(crate) struct Commands {
    templates: Vec<Template>,
    turn: usize,
    keys: Keys,
}

impl Commands {
    /// `letters` are the first four of every key.
    pub(crate) fn new(verbs: &[Verb], letters: &str, keys: Keys, value_bytes: usize) -> Self {
        let value: Vec<u8> = (0..value_bytes).map(|at| b'a' + (at % 26) as u8).collect();
        let templates = verbs.iter().map(|&verb| Template::new(verb, letters, &value)).collect();
        Self { templates, turn: 0, keys }
    }

    /// Appends the next command.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>) {
        let template = &self.templates[self.turn];
        self.turn = if self.turn + 1 == self.templates.len() { 0 } else { self.turn + 1 };
        let begin = out.len() + template.digits_at;
        out.extend_from_slice(&template.bytes);
        let mut key = self.keys.next();
        for at in (begin..begin + DIGITS).rev() {
            if key == 0 {
                break;
            }
            out[at] = b'0' + (key % 10) as u8;
            key /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_clients_write_them() {
        let mut commands = Commands::new(&[Verb::Set, Verb::Get], "key:", Keys::Sequence(99), 3);
        let mut out = Vec::new();
        commands.append(&mut out);
        commands.append(&mut out);
        let want = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000099\r\n$3\r\nabc\r\n*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000100\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn random_keys_stay_below_their_count_and_repeat_with_their_seed() {
        let draw = |seed| {
            let mut keys = Keys::random(10, seed);
            (0..100).map(|_| keys.next()).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|&key| key < 10));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
