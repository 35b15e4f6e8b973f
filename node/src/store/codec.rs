//! Effects as bytes: what a lane's pending buffer, a batch, a replica's stream and the disk log hold.
//!
//! One entry, little-endian:
//!
//! ```text
//! op u8 | flags u8 | slot u16 | key length u32 | value length u32
//! db u8                         if flags has DB      (else database 0)
//! expiry u64                    if flags has EXPIRES
//! number u32                    if op is Write (an offset), HashSet (the field's length), ListPop (a count),
//!                               ListSet or ListInsert (an index)
//! score f64                     if op is ZsetSet
//! key | value
//! ```
//!
//! The value of HashSet is field and value together; that of ListRemove are indices of four bytes each.
//!
//! Refuses what it does not know: an op or a flag from a newer version is an error, never skipped. Lengths are
//! checked against what is there before anything is allocated (I12).

use super::effect::{Change, Effect, Indices};
use super::object::{End, Score};
use capstan_proto::env::UnixMs;
use capstan_proto::slot::Slot;

const OP_SET: u8 = 1;
const OP_WRITE: u8 = 2;
const OP_EXPIRE: u8 = 3;
const OP_DELETE: u8 = 4;
/// Far from the changes of data, which are numbered on from 1.
const OP_MARKER: u8 = 64;
const OP_HASH_SET: u8 = 16;
const OP_HASH_DELETE: u8 = 17;
const OP_LIST_PUSH_LEFT: u8 = 18;
const OP_LIST_PUSH_RIGHT: u8 = 19;
const OP_LIST_POP_LEFT: u8 = 20;
const OP_LIST_POP_RIGHT: u8 = 21;
const OP_LIST_SET: u8 = 22;
const OP_LIST_INSERT: u8 = 23;
const OP_LIST_REMOVE: u8 = 24;
const OP_SET_ADD: u8 = 25;
const OP_SET_REMOVE: u8 = 26;
const OP_ZSET_SET: u8 = 27;
const OP_ZSET_REMOVE: u8 = 28;
const FLAG_DB: u8 = 1;
const FLAG_EXPIRES: u8 = 2;
const HEAD: usize = 12;
/// A marker's value: its copy and its piece.
const MARKER: usize = 16;
/// What may lie between head and key: database, expiry, number or score.
const BETWEEN_MAX: usize = 1 + 8 + 8;

/// Why bytes are no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the entry is cut off")]
    Short,
    /// The op is unknown.
    #[error("unknown operation {0}")]
    Op(u8),
    /// A flag is unknown, or does not fit the op.
    #[error("flags {1:#x} do not fit operation {0}")]
    Flags(u8, u8),
    /// There is no such slot.
    #[error("slot {0} does not exist")]
    Slot(u16),
    /// A deletion or an expiry with a value, or a value that is not what the op needs.
    #[error("operation {0} carries a value that does not fit it")]
    Value(u8),
}

/// What an entry holds beside its key.
struct Parts<'a> {
    op: u8,
    expires: Option<UnixMs>,
    number: Option<u32>,
    score: Option<Score>,
    /// The value is these, one after the other.
    value: [&'a [u8]; 2],
}

impl<'a> Parts<'a> {
    const fn new(op: u8, value: &'a [u8]) -> Self {
        Self { op, expires: None, number: None, score: None, value: [value, b""] }
    }

    const fn with_number(self, number: u32) -> Self {
        Self { number: Some(number), ..self }
    }

    #[inline]
    fn of(change: Change<'a>, place: &'a mut [u8; MARKER]) -> Self {
        match change {
            Change::Set { value, expires } => Self { expires, ..Self::new(OP_SET, value) },
            Change::Write { offset, bytes } => Self::new(OP_WRITE, bytes).with_number(offset),
            Change::Expire { at } => Self { expires: at, ..Self::new(OP_EXPIRE, b"") },
            Change::Delete => Self::new(OP_DELETE, b""),
            Change::Marker { copy, piece } => {
                place[..8].copy_from_slice(&copy.to_le_bytes());
                place[8..].copy_from_slice(&piece.to_le_bytes());
                Self::new(OP_MARKER, place)
            }
            Change::HashSet { field, value } => {
                let parts = Self { value: [field, value], ..Self::new(OP_HASH_SET, b"") };
                parts.with_number(field.len() as u32)
            }
            Change::HashDelete { field } => Self::new(OP_HASH_DELETE, field),
            Change::ListPush { end: End::Left, value } => Self::new(OP_LIST_PUSH_LEFT, value),
            Change::ListPush { end: End::Right, value } => Self::new(OP_LIST_PUSH_RIGHT, value),
            Change::ListPop { end: End::Left, count } => Self::new(OP_LIST_POP_LEFT, b"").with_number(count),
            Change::ListPop { end: End::Right, count } => {
                Self::new(OP_LIST_POP_RIGHT, b"").with_number(count)
            }
            Change::ListSet { index, value } => Self::new(OP_LIST_SET, value).with_number(index),
            Change::ListInsert { index, value } => Self::new(OP_LIST_INSERT, value).with_number(index),
            Change::ListRemove { indices } => Self::new(OP_LIST_REMOVE, indices.bytes()),
            Change::SetAdd { member } => Self::new(OP_SET_ADD, member),
            Change::SetRemove { member } => Self::new(OP_SET_REMOVE, member),
            Change::ZsetSet { member, score } => {
                Self { score: Some(score), ..Self::new(OP_ZSET_SET, member) }
            }
            Change::ZsetRemove { member } => Self::new(OP_ZSET_REMOVE, member),
        }
    }
}

/// Whether a number stands before the key.
const fn has_number(op: u8) -> bool {
    matches!(op, OP_WRITE | OP_HASH_SET | OP_LIST_POP_LEFT | OP_LIST_POP_RIGHT | OP_LIST_SET | OP_LIST_INSERT)
}

/// Appends an effect.
pub fn encode(effect: &Effect<'_>, out: &mut Vec<u8>) {
    let mut place = [0; MARKER];
    let Parts { op, expires, number, score, value: [first, second] } = Parts::of(effect.change, &mut place);
    let value_len = first.len() + second.len();
    let db = u8::from(effect.db != 0) * FLAG_DB;
    let flags = db | (u8::from(expires.is_some()) * FLAG_EXPIRES);
    let mut head = [0; HEAD];
    head[0] = op;
    head[1] = flags;
    head[2..4].copy_from_slice(&effect.slot.number().to_le_bytes());
    head[4..8].copy_from_slice(&(effect.key.len() as u32).to_le_bytes());
    head[8..12].copy_from_slice(&(value_len as u32).to_le_bytes());
    out.reserve(HEAD + BETWEEN_MAX + effect.key.len() + value_len);
    out.extend_from_slice(&head);
    if db != 0 {
        out.push(effect.db);
    }
    if let Some(expires) = expires {
        out.extend_from_slice(&expires.0.to_le_bytes());
    }
    if let Some(number) = number {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(score) = score {
        out.extend_from_slice(&score.value().to_le_bytes());
    }
    out.extend_from_slice(effect.key);
    out.extend_from_slice(first);
    out.extend_from_slice(second);
}

/// Reads the effect at the start of some bytes; also says what follows it.
pub fn decode(bytes: &[u8]) -> Result<(Effect<'_>, &[u8]), DecodeError> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(DecodeError::Short)?;
    let (op, flags) = (head[0], head[1]);
    let number = u16::from_le_bytes([head[2], head[3]]);
    let slot = Slot::new(number).ok_or(DecodeError::Slot(number))?;
    let key_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let value_len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
    let may_expire = matches!(op, OP_SET | OP_EXPIRE);
    if flags & !(FLAG_DB | FLAG_EXPIRES) != 0 || (flags & FLAG_EXPIRES != 0 && !may_expire) {
        return Err(DecodeError::Flags(op, flags));
    }
    let ([db], rest) = if flags & FLAG_DB != 0 { take::<1>(rest)? } else { ([0], rest) };
    let (expires, rest) = if flags & FLAG_EXPIRES != 0 {
        let (at, rest) = take::<8>(rest)?;
        (Some(UnixMs(u64::from_le_bytes(at))), rest)
    } else {
        (None, rest)
    };
    let (number, rest) = if has_number(op) { take::<4>(rest)? } else { ([0; 4], rest) };
    let (score, rest) = if op == OP_ZSET_SET { take::<8>(rest)? } else { ([0; 8], rest) };
    let (key, rest) = rest.split_at_checked(key_len).ok_or(DecodeError::Short)?;
    let (value, rest) = rest.split_at_checked(value_len).ok_or(DecodeError::Short)?;
    let between = Between { expires, number: u32::from_le_bytes(number), score: f64::from_le_bytes(score) };
    let change = change(op, &between, value)?;
    Ok((Effect { slot, db, key, change }, rest))
}

/// What stood between head and key.
struct Between {
    expires: Option<UnixMs>,
    number: u32,
    score: f64,
}

fn change<'a>(op: u8, between: &Between, value: &'a [u8]) -> Result<Change<'a>, DecodeError> {
    let &Between { expires, number, score } = between;
    let empty = matches!(op, OP_EXPIRE | OP_DELETE | OP_LIST_POP_LEFT | OP_LIST_POP_RIGHT);
    if empty && !value.is_empty() {
        return Err(DecodeError::Value(op));
    }
    Ok(match op {
        OP_SET => Change::Set { value, expires },
        OP_WRITE => Change::Write { offset: number, bytes: value },
        OP_EXPIRE => Change::Expire { at: expires },
        OP_DELETE => Change::Delete,
        OP_MARKER => marker(value)?,
        OP_HASH_SET => {
            let parts = value.split_at_checked(number as usize).ok_or(DecodeError::Value(op))?;
            Change::HashSet { field: parts.0, value: parts.1 }
        }
        OP_HASH_DELETE => Change::HashDelete { field: value },
        OP_LIST_PUSH_LEFT => Change::ListPush { end: End::Left, value },
        OP_LIST_PUSH_RIGHT => Change::ListPush { end: End::Right, value },
        OP_LIST_POP_LEFT => Change::ListPop { end: End::Left, count: number },
        OP_LIST_POP_RIGHT => Change::ListPop { end: End::Right, count: number },
        OP_LIST_SET => Change::ListSet { index: number, value },
        OP_LIST_INSERT => Change::ListInsert { index: number, value },
        OP_LIST_REMOVE => Change::ListRemove { indices: Indices::new(value).ok_or(DecodeError::Value(op))? },
        OP_SET_ADD => Change::SetAdd { member: value },
        OP_SET_REMOVE => Change::SetRemove { member: value },
        OP_ZSET_SET => {
            Change::ZsetSet { member: value, score: Score::new(score).ok_or(DecodeError::Value(op))? }
        }
        OP_ZSET_REMOVE => Change::ZsetRemove { member: value },
        unknown => return Err(DecodeError::Op(unknown)),
    })
}

fn marker(value: &[u8]) -> Result<Change<'static>, DecodeError> {
    let (copy, piece) = take::<8>(value).map_err(|_| DecodeError::Value(OP_MARKER))?;
    let piece = piece.try_into().map_err(|_| DecodeError::Value(OP_MARKER))?;
    Ok(Change::Marker { copy: u64::from_le_bytes(copy), piece: u64::from_le_bytes(piece) })
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), DecodeError> {
    bytes.split_first_chunk::<N>().map(|(taken, rest)| (*taken, rest)).ok_or(DecodeError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = (u8, Vec<u8>, Option<u64>, u32)> {
        (0u8..18, proptest::collection::vec(any::<u8>(), 0..64), any::<Option<u64>>(), any::<u32>())
    }

    fn built<'a>(kind: u8, value: &'a [u8], at: Option<u64>, offset: u32) -> Change<'a> {
        let at = at.map(UnixMs);
        match kind {
            0 => Change::Set { value, expires: at },
            1 => Change::Write { offset, bytes: value },
            2 => Change::Expire { at },
            3 => Change::Delete,
            4 => {
                let (field, value) = value.split_at(offset as usize % (value.len() + 1));
                Change::HashSet { field, value }
            }
            5 => Change::HashDelete { field: value },
            6 => Change::ListPush { end: End::Left, value },
            7 => Change::ListPush { end: End::Right, value },
            8 => Change::ListPop { end: End::Left, count: offset },
            9 => Change::ListPop { end: End::Right, count: offset },
            10 => Change::ListSet { index: offset, value },
            11 => Change::ListInsert { index: offset, value },
            12 => Change::ListRemove { indices: Indices::new(&value[..value.len() & !3]).expect("whole") },
            13 => Change::SetAdd { member: value },
            14 => Change::SetRemove { member: value },
            15 => Change::ZsetSet { member: value, score: Score::new(f64::from(offset)).expect("a number") },
            17 => Change::Marker { copy: u64::from(offset), piece: at.map_or(7, |at| at.0) },
            _ => Change::ZsetRemove { member: value },
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_operation_is_refused() {
        let effect = |change| Effect { slot: Slot::of_key(b"k"), db: 0, key: b"k", change };
        let mut bytes = Vec::new();
        encode(&effect(Change::HashSet { field: b"field", value: b"v" }), &mut bytes);
        bytes[HEAD] = 200;
        assert_eq!(decode(&bytes), Err(DecodeError::Value(OP_HASH_SET)), "a field longer than the value");
        bytes.clear();
        let score = Score::new(1.0).expect("a number");
        encode(&effect(Change::ZsetSet { member: b"m", score }), &mut bytes);
        bytes[HEAD..HEAD + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(decode(&bytes), Err(DecodeError::Value(OP_ZSET_SET)), "not a number");
        bytes.clear();
        encode(&effect(Change::SetAdd { member: b"12345" }), &mut bytes);
        bytes[0] = OP_LIST_REMOVE;
        assert_eq!(decode(&bytes), Err(DecodeError::Value(OP_LIST_REMOVE)), "an index cut in two");
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_one_after_the_other(
            effects in proptest::collection::vec(
                (0..capstan_proto::slot::SLOTS, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40), change()),
                0..8)
        ) {
            let mut bytes = Vec::new();
            let built: Vec<_> = effects.iter().map(|(slot, db, key, (kind, value, at, offset))| Effect {
                slot: Slot::new(*slot).expect("below SLOTS"),
                db: *db,
                key,
                change: built(*kind, value, *at, *offset),
            }).collect();
            built.iter().for_each(|effect| encode(effect, &mut bytes));
            let mut rest = &bytes[..];
            for effect in &built {
                let (read, after) = decode(rest).expect("was written by encode");
                prop_assert_eq!(&read, effect);
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_cut_or_flipped_entry_is_refused_or_read_but_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64), op in 0u8..70, cut in any::<usize>()
        ) {
            if let Some(first) = bytes.first_mut() { *first = op; }
            let _ = decode(&bytes);
            let effect = Effect {
                slot: Slot::of_key(&bytes), db: 1, key: &bytes,
                change: Change::Set { value: b"value", expires: Some(UnixMs(7)) },
            };
            let mut whole = Vec::new();
            encode(&effect, &mut whole);
            let cut = cut % whole.len();
            prop_assert_eq!(decode(&whole[..cut]), Err(DecodeError::Short));
        }
    }
}
