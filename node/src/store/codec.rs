//! Effects as bytes: what a lane's pending buffer, a batch, a replica's stream and the disk log hold.
//!
//! One entry, little-endian:
//!
//! ```text
//! op u8 | flags u8 | slot u16 | key length u32 | value length u32
//! db u8                         if flags has DB      (else database 0)
//! expiry u64                    if flags has EXPIRES
//! offset u32                    if op is Write
//! key | value
//! ```
//!
//! Refuses what it does not know: an op or a flag from a newer version is an error, never skipped. Lengths are
//! checked against what is there before anything is allocated (I12).

use super::effect::{Change, Effect};
use capstan_proto::env::UnixMs;
use capstan_proto::slot::Slot;

const OP_SET: u8 = 1;
const OP_WRITE: u8 = 2;
const OP_EXPIRE: u8 = 3;
const OP_DELETE: u8 = 4;
/// Far from the changes of data, which are numbered on from 1.
const OP_MARKER: u8 = 64;
const FLAG_DB: u8 = 1;
const FLAG_EXPIRES: u8 = 2;
const HEAD: usize = 12;

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
    /// A deletion or an expiry with a value, or a marker without its own.
    #[error("operation {0} carries a value that it cannot have")]
    Value(u8),
}

/// Appends an effect.
pub fn encode(effect: &Effect<'_>, out: &mut Vec<u8>) {
    let mut place = [0; 16];
    let (op, value, expires, offset): (_, &[u8], _, _) = match effect.change {
        Change::Set { value, expires } => (OP_SET, value, expires, None),
        Change::Write { offset, bytes } => (OP_WRITE, bytes, None, Some(offset)),
        Change::Expire { at } => (OP_EXPIRE, b"", at, None),
        Change::Delete => (OP_DELETE, b"", None, None),
        Change::Marker { copy, piece } => {
            place[..8].copy_from_slice(&copy.to_le_bytes());
            place[8..].copy_from_slice(&piece.to_le_bytes());
            (OP_MARKER, &place, None, None)
        }
    };
    let db = u8::from(effect.db != 0) * FLAG_DB;
    let flags = db | (u8::from(expires.is_some()) * FLAG_EXPIRES);
    let mut head = [0; HEAD];
    head[0] = op;
    head[1] = flags;
    head[2..4].copy_from_slice(&effect.slot.number().to_le_bytes());
    head[4..8].copy_from_slice(&(effect.key.len() as u32).to_le_bytes());
    head[8..12].copy_from_slice(&(value.len() as u32).to_le_bytes());
    out.reserve(HEAD + 13 + effect.key.len() + value.len());
    out.extend_from_slice(&head);
    if db != 0 {
        out.push(effect.db);
    }
    if let Some(expires) = expires {
        out.extend_from_slice(&expires.0.to_le_bytes());
    }
    if let Some(offset) = offset {
        out.extend_from_slice(&offset.to_le_bytes());
    }
    out.extend_from_slice(effect.key);
    out.extend_from_slice(value);
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
    let (offset, rest) = if op == OP_WRITE { take::<4>(rest)? } else { ([0; 4], rest) };
    let (key, rest) = rest.split_at_checked(key_len).ok_or(DecodeError::Short)?;
    let (value, rest) = rest.split_at_checked(value_len).ok_or(DecodeError::Short)?;
    let change = match op {
        OP_SET => Change::Set { value, expires },
        OP_WRITE => Change::Write { offset: u32::from_le_bytes(offset), bytes: value },
        OP_EXPIRE | OP_DELETE if !value.is_empty() => return Err(DecodeError::Value(op)),
        OP_EXPIRE => Change::Expire { at: expires },
        OP_DELETE => Change::Delete,
        OP_MARKER => marker(value)?,
        unknown => return Err(DecodeError::Op(unknown)),
    };
    Ok((Effect { slot, db, key, change }, rest))
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
        (0u8..5, proptest::collection::vec(any::<u8>(), 0..64), any::<Option<u64>>(), any::<u32>())
    }

    fn built<'a>(kind: u8, value: &'a [u8], at: Option<u64>, offset: u32) -> Change<'a> {
        let at = at.map(UnixMs);
        match kind {
            0 => Change::Set { value, expires: at },
            1 => Change::Write { offset, bytes: value },
            2 => Change::Expire { at },
            3 => Change::Marker { copy: u64::from(offset), piece: at.map_or(7, |at| at.0) },
            _ => Change::Delete,
        }
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
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64), op in 0u8..6, cut in any::<usize>()
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
