//! A frame: one batch of a shard's log as bytes, the same in memory, on the wire and on disk (DESIGN 7).
//!
//! The header is 40 bytes, little-endian:
//!
//! ```text
//! magic 0xCA and version, u16 | flags u16: the kind | body length u32
//! epoch u64
//! number u64
//! entries u32 | 0 u32
//! CRC32C of the 32 bytes before, u32 | CRC32C of the body, u32
//! ```
//!
//! A header is believed only when its own checksum fits, so a length is never trusted before that (I12). The body of an
//! [`Kind::Effects`] frame is entries of `store/codec.rs`, of a [`Kind::NodeWide`] frame three bytes (op and two
//! databases), of an [`Kind::EpochOpened`] frame nothing (►12). Pure: it neither reads nor sends.

use crate::store::codec::{self, DecodeError};
use crate::store::{Effect, NodeWide};
use bytes::{Bytes, BytesMut};
use capstan_proto::ids::{BatchNumber, Position, ShardEpoch};

/// Bytes before the body.
pub const HEAD: usize = 40;
/// The longest body: its length is 32 bits wide. Longer batches are not kept ([`super::ring`]).
pub const BODY_MAX: usize = u32::MAX as usize;

const MAGIC: u8 = 0xCA;
const VERSION: u8 = 1;
/// What the header's own checksum covers.
const SUMMED: usize = 32;

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes of single slots, in an order that keeps each lane's own.
    Effects,
    /// One change of the whole node: a barrier.
    NodeWide,
    /// Nothing: a new primary opens its epoch (►12).
    EpochOpened,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::Effects => 0,
            Self::NodeWide => 1,
            Self::EpochOpened => 2,
        }
    }

    const fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Effects),
            1 => Some(Self::NodeWide),
            2 => Some(Self::EpochOpened),
            _ => None,
        }
    }
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// They end too early, or go on behind the body.
    #[error("the frame has {got} bytes instead of {want}")]
    Length {
        /// How many there should be.
        want: usize,
        /// How many there are.
        got: usize,
    },
    /// They do not begin like a frame of a version that this program reads.
    #[error("no frame of version {VERSION}")]
    Magic,
    /// The header was damaged.
    #[error("the header's checksum does not fit")]
    HeadSum,
    /// The body was damaged.
    #[error("the body's checksum does not fit")]
    BodySum,
    /// A kind that this program does not know.
    #[error("frames of kind {0} are unknown")]
    Kind(u16),
    /// A whole header that says what cannot be.
    #[error("a frame whose header contradicts itself")]
    Contradiction,
    /// The body is no list of entries.
    #[error("in the body: {0}")]
    Entry(#[from] DecodeError),
    /// A change of the whole node that this program does not know.
    #[error("a change of the whole node that is unknown")]
    NodeWide,
}

/// A header that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Epoch and number.
    pub position: Position,
    /// What the body is.
    pub kind: Kind,
    /// How long it is.
    pub body_len: usize,
    /// How many entries it has.
    pub entries: u32,
    body_sum: u32,
}

impl Head {
    /// Checks a header; nothing behind it is looked at.
    pub fn parse(bytes: &[u8; HEAD]) -> Result<Self, FrameError> {
        if bytes[..2] != [VERSION, MAGIC] {
            return Err(FrameError::Magic);
        }
        if crc32c::crc32c(&bytes[..SUMMED]) != u32_at(bytes, SUMMED) {
            return Err(FrameError::HeadSum);
        }
        let number = u16::from_le_bytes([bytes[2], bytes[3]]);
        let kind = Kind::of(number).ok_or(FrameError::Kind(number))?;
        let head = Self {
            position: Position { epoch: ShardEpoch(u64_at(bytes, 8)), batch: BatchNumber(u64_at(bytes, 16)) },
            kind,
            body_len: u32_at(bytes, 4) as usize,
            entries: u32_at(bytes, 24),
            body_sum: u32_at(bytes, 36),
        };
        let fits = match kind {
            Kind::Effects => head.entries as usize <= head.body_len,
            Kind::NodeWide => head.entries == 1 && head.body_len == NODE_WIDE_LEN,
            Kind::EpochOpened => head.entries == 0 && head.body_len == 0,
        };
        if fits { Ok(head) } else { Err(FrameError::Contradiction) }
    }

    /// Header and body together.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        HEAD + self.body_len
    }
}

fn u32_at(bytes: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEAD], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// One batch: header and body, both checked, or sealed here. Cheap to clone; the bytes never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    head: Head,
    bytes: Bytes,
}

impl Frame {
    /// Checks a whole frame: exactly these bytes.
    pub fn parse(bytes: Bytes) -> Result<Self, FrameError> {
        let Some(head) = bytes.first_chunk::<HEAD>() else {
            return Err(FrameError::Length { want: HEAD, got: bytes.len() });
        };
        let head = Head::parse(head)?;
        if bytes.len() != head.frame_len() {
            return Err(FrameError::Length { want: head.frame_len(), got: bytes.len() });
        }
        if crc32c::crc32c(&bytes[HEAD..]) != head.body_sum {
            return Err(FrameError::BodySum);
        }
        Ok(Self { head, bytes })
    }

    /// Seals a body that was written behind [`HEAD`] bytes of room: the header is filled in. The body must not be
    /// longer than [`BODY_MAX`].
    #[must_use]
    pub fn seal(mut room: BytesMut, position: Position, kind: Kind, entries: u32) -> Self {
        debug_assert!(
            room.len() >= HEAD && room.len() - HEAD <= BODY_MAX,
            "room for the header, and no more than fits"
        );
        let body_len = room.len().saturating_sub(HEAD);
        let body_sum = crc32c::crc32c(room.get(HEAD..).unwrap_or_default());
        let head = Head { position, kind, body_len, entries, body_sum };
        if let Some(place) = room.get_mut(..HEAD) {
            place.copy_from_slice(&head.to_bytes());
        }
        Self { head, bytes: room.freeze() }
    }

    /// A change of the whole node.
    #[must_use]
    pub fn node_wide(position: Position, record: NodeWide) -> Self {
        let mut room = BytesMut::zeroed(HEAD);
        room.extend_from_slice(&node_wide_to_bytes(record));
        Self::seal(room, position, Kind::NodeWide, 1)
    }

    /// The first batch of an epoch (►12).
    #[must_use]
    pub fn epoch_opened(position: Position) -> Self {
        Self::seal(BytesMut::zeroed(HEAD), position, Kind::EpochOpened, 0)
    }

    /// Epoch and number.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.head.position
    }

    /// The number alone.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.head.position.batch.0
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.head.kind
    }

    /// What is behind the header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEAD..).unwrap_or_default()
    }

    /// All of it, as it travels and lies on disk.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The effects of an [`Kind::Effects`] frame, in order; ends behind the first that cannot be read. A count that
    /// does not fit is an error too. Other kinds have none.
    pub fn entries(&self) -> impl Iterator<Item = Result<Effect<'_>, FrameError>> {
        let effects = match self.head.kind {
            Kind::Effects => (self.body(), self.head.entries),
            Kind::NodeWide | Kind::EpochOpened => (&[][..], 0),
        };
        let (mut rest, mut left) = effects;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return (std::mem::take(&mut left) > 0).then_some(Err(FrameError::Contradiction));
            }
            let read = match (codec::decode(rest), left) {
                (Ok(_), 0) => Err(FrameError::Contradiction),
                (Ok((effect, after)), _) => {
                    (rest, left) = (after, left - 1);
                    return Some(Ok(effect));
                }
                (Err(error), _) => Err(error.into()),
            };
            (rest, left) = (&[], 0);
            Some(read)
        })
    }

    /// The change of a [`Kind::NodeWide`] frame.
    pub fn whole_node_change(&self) -> Result<NodeWide, FrameError> {
        match (self.head.kind, self.body()) {
            (Kind::NodeWide, &[op, a, b]) => node_wide_of_bytes([op, a, b]).ok_or(FrameError::NodeWide),
            _ => Err(FrameError::NodeWide),
        }
    }
}

const NODE_WIDE_LEN: usize = 3;

const fn node_wide_to_bytes(record: NodeWide) -> [u8; NODE_WIDE_LEN] {
    match record {
        NodeWide::FlushAll => [1, 0, 0],
        NodeWide::FlushDb(db) => [2, db, 0],
        NodeWide::SwapDb(a, b) => [3, a, b],
    }
}

const fn node_wide_of_bytes(bytes: [u8; NODE_WIDE_LEN]) -> Option<NodeWide> {
    match bytes {
        [1, 0, 0] => Some(NodeWide::FlushAll),
        [2, db, 0] => Some(NodeWide::FlushDb(db)),
        [3, a, b] => Some(NodeWide::SwapDb(a, b)),
        _ => None,
    }
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..2].copy_from_slice(&[VERSION, MAGIC]);
        bytes[2..4].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.body_len as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.batch.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.entries.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..SUMMED]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.body_sum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Change;
    use capstan_proto::slot::Slot;
    use proptest::prelude::*;

    fn at(epoch: u64, batch: u64) -> Position {
        Position { epoch: ShardEpoch(epoch), batch: BatchNumber(batch) }
    }

    fn sealed(keys: &[Vec<u8>], position: Position) -> Frame {
        let mut room = vec![0; HEAD];
        for key in keys {
            let change = Change::Set { value: key, expires: None };
            codec::encode(&Effect { slot: Slot::of_key(key), db: 0, key, change }, &mut room);
        }
        Frame::seal(BytesMut::from(&room[..]), position, Kind::Effects, keys.len() as u32)
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_read_back_with_every_entry(
            keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..9),
            epoch in any::<u64>(), number in any::<u64>()
        ) {
            let frame = sealed(&keys, at(epoch, number));
            let read = Frame::parse(frame.bytes().clone()).expect("was sealed here");
            prop_assert_eq!(&read, &frame);
            prop_assert_eq!(read.position(), at(epoch, number));
            let found: Result<Vec<_>, _> = read.entries().map(|e| e.map(|e| e.key.to_vec())).collect();
            prop_assert_eq!(found.expect("entries"), keys);
        }

        #[test]
        fn any_flipped_bit_is_found_and_any_cut_is_refused(
            keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5),
            at_bit in any::<usize>(), cut in any::<usize>()
        ) {
            let frame = sealed(&keys, at(3, 7));
            let mut bytes = frame.bytes().to_vec();
            let (byte, bit) = (at_bit / 8 % bytes.len(), at_bit % 8);
            bytes[byte] ^= 1 << bit;
            prop_assert!(Frame::parse(Bytes::from(bytes)).is_err(), "byte {} bit {}", byte, bit);
            let cut = cut % frame.bytes().len();
            prop_assert!(Frame::parse(frame.bytes().slice(..cut)).is_err());
        }

        #[test]
        fn made_up_bytes_never_panic_and_reserve_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..120)
        ) {
            let _ = Frame::parse(Bytes::from(bytes));
        }
    }

    #[test]
    fn a_body_with_another_number_of_entries_than_the_header_says_is_an_error_at_its_place() {
        for (said, good) in [(1, 1), (3, 2)] {
            let keys = [b"a".to_vec(), b"b".to_vec()];
            let whole = sealed(&keys, at(1, 1));
            let frame = Frame::seal(BytesMut::from(&whole.bytes()[..]), at(1, 1), Kind::Effects, said);
            let read: Vec<_> = frame.entries().collect();
            assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), good, "{said}");
            assert_eq!(read.last(), Some(&Err(FrameError::Contradiction)), "{said}");
        }
    }

    #[test]
    fn records_of_the_whole_node_and_opened_epochs_read_back() {
        for record in [NodeWide::FlushAll, NodeWide::FlushDb(7), NodeWide::SwapDb(1, 2)] {
            let frame = Frame::node_wide(at(2, 9), record);
            let read = Frame::parse(frame.bytes().clone()).expect("was sealed here");
            assert_eq!((read.kind(), read.whole_node_change()), (Kind::NodeWide, Ok(record)));
            assert_eq!(read.entries().count(), 0);
        }
        let opened = Frame::epoch_opened(at(3, 10));
        let read = Frame::parse(opened.bytes().clone()).expect("was sealed here");
        assert_eq!((read.kind(), read.body()), (Kind::EpochOpened, &[][..]));
        assert_eq!(read.whole_node_change(), Err(FrameError::NodeWide));
    }

    #[test]
    fn the_bytes_of_a_frame_are_a_format_that_does_not_change() {
        let bytes = Frame::node_wide(at(2, 9), NodeWide::FlushDb(7)).bytes().to_vec();
        let head = [
            1, 0xCA, 1, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(bytes[..32], head);
        assert_eq!(bytes[32..36], crc32c::crc32c(&head).to_le_bytes());
        assert_eq!(bytes[36..], [&crc32c::crc32c(&[2, 7, 0]).to_le_bytes()[..], &[2, 7, 0]].concat());
    }

    #[test]
    fn a_whole_header_that_contradicts_itself_or_names_an_unknown_kind_is_refused() {
        let mut head = Frame::epoch_opened(at(1, 1)).head;
        head.body_len = 5;
        assert_eq!(Head::parse(&head.to_bytes()), Err(FrameError::Contradiction));
        let mut bytes = Frame::epoch_opened(at(1, 1)).head.to_bytes();
        bytes[2] = 9;
        let sum = crc32c::crc32c(&bytes[..SUMMED]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Head::parse(&bytes), Err(FrameError::Kind(9)));
    }
}
