//! What two data nodes say to each other on the peer port, as bytes. Pure.
//!
//! Everything begins with eight bytes, little-endian: version u8, magic u8, kind u16, length of what follows u32. Frames of
//! the log travel as they are: theirs begin the same way, with a magic of their own (`log/frame.rs`). The replica dials and
//! sends [`Hello`]; the primary answers with [`Answer`], then pieces and frames; the replica says how far it came by
//! [`Ack`]. What both sides have to authenticate before is in `capstan_proto::auth`.
//!
//! A length is believed only as far as bytes come: a header reserves at most [`RESERVE_MAX`] (I12), and each side takes
//! only the kinds that the other has reason to send.

use crate::log::frame::{Frame, FrameError, HEAD, Head};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use capstan_proto::codec::{self, CodecError};
use capstan_proto::ids::{GroupId, Incarnation, NodeId, Position, ShardEpoch, ShardId};
use capstan_proto::slot::Slot;
use serde::{Deserialize, Serialize};

/// The version of the peer protocol.
pub const VERSION: u8 = 2;
/// Tells messages from frames.
const MAGIC: u8 = 0xC9;
/// Before every message.
const PREFIX: usize = 8;
/// The version byte of [`Hello`] and [`Answer`].
const FORMAT: u8 = 1;
/// What a header alone makes us reserve.
pub const RESERVE_MAX: usize = 1 << 20;
/// How much is read at a time.
pub const READ: usize = 256 * 1024;
/// A message that is no piece is not longer.
const SHORT_MAX: usize = 64 * 1024;
/// So many epoch starts are named at most.
pub const EPOCHS_MAX: usize = 64;

/// An epoch and the number of its first batch.
pub type Start = (u64, u64);

/// What a replica says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The meta group that it obeys.
    pub group: GroupId,
    /// Its shard.
    pub shard: ShardId,
    /// Who it is.
    pub node: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The newest epoch of the shard that it knows (I5).
    pub epoch: ShardEpoch,
    /// How far its own log goes; nothing if it holds no complete copy.
    pub position: Option<Position>,
    /// The epochs that its log has passed, oldest first.
    pub starts: Vec<Start>,
}

/// Why a replica is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Another cluster, or none.
    #[error("the two nodes belong to different meta groups")]
    OtherGroup,
    /// This node does not lead that shard, as far as it knows.
    #[error("the node that was asked is not the primary of this shard")]
    NotPrimary,
    /// One of both has not heard of the newest epoch yet (I5).
    #[error("the two nodes know different epochs of this shard")]
    OtherEpoch,
    /// No replica of this shard, or in another life.
    #[error("the asking node is no replica of this shard in this life")]
    NoReplica,
    /// As many as there may be are served already.
    #[error("too many replicas are served already")]
    Full,
}

/// What the primary says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Your log is a prefix of mine: here is what follows.
    Continue {
        /// Who applies everything up to here has a complete copy of this epoch.
        level: Position,
    },
    /// Here is everything, piece by piece, and the log from `from` on.
    Copy {
        /// Which copy: its markers and pieces bear this number.
        copy: u64,
        /// The first frame comes right behind this.
        from: Position,
        /// The epochs that the log has passed up to there.
        starts: Vec<Start>,
        /// About how many keys will come.
        keys: u64,
    },
    /// Nothing.
    Refused(Refusal),
}

/// A part of a copy. It waits until its marker is reached in the log (►21).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which copy.
    pub copy: u64,
    /// Counted from 0.
    pub number: u64,
    /// Slots that begin with it.
    pub begins: Vec<Slot>,
    /// The effects that build its keys, as `store/codec.rs` writes them.
    pub effects: Bytes,
}

/// How far a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack {
    /// The newest batch that is in its log and applied.
    pub number: u64,
    /// Its own clock, milliseconds: the primary sends it back.
    pub clock_ms: u64,
    /// Bytes of pieces that it has taken in so far, in this copy.
    pub copied: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The replica's first.
    Hello(Hello),
    /// The primary's first.
    Answer(Answer),
    /// A part of a copy.
    Piece(Piece),
    /// The copy has so many pieces, and no more.
    CopyEnd {
        /// Which copy.
        copy: u64,
        /// How many pieces.
        pieces: u64,
    },
    /// How far the replica has come.
    Ack(Ack),
    /// The newest clock that the primary has heard from the replica, sent while its lease is valid and as a sign of life.
    Echo {
        /// 0 if it has heard none, or has no lease.
        clock_ms: u64,
    },
    /// Somebody waits for the replica's acknowledgement: it comes at once, and not with the next that is due.
    Ask,
}

const KIND_HELLO: u16 = 1;
const KIND_ANSWER: u16 = 2;
const KIND_PIECE: u16 = 3;
const KIND_COPY_END: u16 = 4;
const KIND_ACK: u16 = 5;
const KIND_ECHO: u16 = 6;
const KIND_ASK: u16 = 7;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Neither a message nor a frame of a version that this program knows.
    #[error("no message of version {VERSION} of the peer protocol")]
    Foreign,
    /// A kind that the other side has no reason to send.
    #[error("a message of kind {0} is out of place here")]
    OutOfPlace(u16),
    /// Too long for its kind.
    #[error("a message of kind {kind} with {length} bytes")]
    TooLong {
        /// Which kind.
        kind: u16,
        /// How long it says it is.
        length: usize,
    },
    /// It ends too early, or too late.
    #[error("a message of kind {0} has the wrong length")]
    Length(u16),
    /// A piece was damaged.
    #[error("the checksum of a piece does not fit")]
    Sum,
    /// A slot that does not exist.
    #[error("slot {0} does not exist")]
    Slot(u16),
    /// A frame that is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The fields of a hello or an answer.
    #[error(transparent)]
    Fields(#[from] CodecError),
}

impl Message {
    const fn kind(&self) -> u16 {
        match self {
            Self::Hello(_) => KIND_HELLO,
            Self::Answer(_) => KIND_ANSWER,
            Self::Piece(_) => KIND_PIECE,
            Self::CopyEnd { .. } => KIND_COPY_END,
            Self::Ack(_) => KIND_ACK,
            Self::Echo { .. } => KIND_ECHO,
            Self::Ask => KIND_ASK,
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Result<Bytes, WireError> {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        out.put_u8(MAGIC);
        out.put_u16_le(self.kind());
        out.put_u32_le(0);
        match self {
            Self::Hello(hello) => out.extend_from_slice(&codec::encode(FORMAT, hello)?),
            Self::Answer(answer) => out.extend_from_slice(&codec::encode(FORMAT, answer)?),
            Self::Piece(piece) => put_piece(piece, &mut out),
            Self::CopyEnd { copy, pieces } => {
                out.put_u64_le(*copy);
                out.put_u64_le(*pieces);
            }
            Self::Ack(ack) => {
                out.put_u64_le(ack.number);
                out.put_u64_le(ack.clock_ms);
                out.put_u64_le(ack.copied);
            }
            Self::Echo { clock_ms } => out.put_u64_le(*clock_ms),
            Self::Ask => {}
        }
        let length = out.len() - PREFIX;
        let fits = u32::try_from(length).ok().filter(|_| length <= most(self.kind()));
        let Some(length) = fits else { return Err(WireError::TooLong { kind: self.kind(), length }) };
        out[4..PREFIX].copy_from_slice(&length.to_le_bytes());
        Ok(out.freeze())
    }

    fn read(kind: u16, mut body: Bytes) -> Result<Self, WireError> {
        let exactly = |want| if body.len() == want { Ok(()) } else { Err(WireError::Length(kind)) };
        match kind {
            KIND_HELLO => Ok(Self::Hello(codec::decode(FORMAT, &body)?)),
            KIND_ANSWER => Ok(Self::Answer(codec::decode(FORMAT, &body)?)),
            KIND_PIECE => read_piece(body).map(Self::Piece),
            KIND_COPY_END => {
                exactly(16).map(|()| Self::CopyEnd { copy: body.get_u64_le(), pieces: body.get_u64_le() })
            }
            KIND_ACK => exactly(24).map(|()| {
                let (number, clock_ms) = (body.get_u64_le(), body.get_u64_le());
                Self::Ack(Ack { number, clock_ms, copied: body.get_u64_le() })
            }),
            KIND_ECHO => exactly(8).map(|()| Self::Echo { clock_ms: body.get_u64_le() }),
            KIND_ASK => exactly(0).map(|()| Self::Ask),
            unknown => Err(WireError::OutOfPlace(unknown)),
        }
    }
}

/// The longest message of a kind. A piece holds one large value at most beside its budget, and grows as its bytes come.
const fn most(kind: u16) -> usize {
    if kind == KIND_PIECE { u32::MAX as usize } else { SHORT_MAX }
}

/// `copy u64 | number u64 | CRC32C of the rest u32 | slots that begin: count u32, u16 each | effects`.
fn put_piece(piece: &Piece, out: &mut BytesMut) {
    out.reserve(PIECE_HEAD + 4 + 2 * piece.begins.len() + piece.effects.len());
    out.put_u64_le(piece.copy);
    out.put_u64_le(piece.number);
    let sum_at = out.len();
    out.put_u32_le(0);
    out.put_u32_le(piece.begins.len() as u32);
    piece.begins.iter().for_each(|slot| out.put_u16_le(slot.number()));
    out.extend_from_slice(&piece.effects);
    let sum = crc32c::crc32c(&out[sum_at + 4..]);
    out[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
}

const PIECE_HEAD: usize = 20;

fn read_piece(mut body: Bytes) -> Result<Piece, WireError> {
    if body.len() < PIECE_HEAD + 4 {
        return Err(WireError::Length(KIND_PIECE));
    }
    let (copy, number, sum) = (body.get_u64_le(), body.get_u64_le(), body.get_u32_le());
    if crc32c::crc32c(&body) != sum {
        return Err(WireError::Sum);
    }
    let count = body.get_u32_le() as usize;
    if body.len() / 2 < count {
        return Err(WireError::Length(KIND_PIECE));
    }
    let slots = body.split_to(2 * count);
    let begins = slots.chunks_exact(2).map(|bytes| {
        let number = u16::from_le_bytes([bytes[0], bytes[1]]);
        Slot::new(number).ok_or(WireError::Slot(number))
    });
    Ok(Piece { copy, number, begins: begins.collect::<Result<_, _>>()?, effects: body })
}

/// Which side reads: it takes only what the other has reason to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that was dialled: hello and acknowledgements.
    Primary,
    /// The one that dialled: everything else.
    Replica,
}

impl Side {
    const fn takes(self, kind: u16) -> bool {
        match self {
            Self::Primary => matches!(kind, KIND_HELLO | KIND_ACK),
            Self::Replica => {
                matches!(kind, KIND_ANSWER | KIND_PIECE | KIND_COPY_END | KIND_ECHO | KIND_ASK)
            }
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame of the log, checked.
    Frame(Frame),
    /// A message.
    Message(Message),
}

/// Bytes that came, to be read as messages. What is read shares their memory.
#[derive(Debug)]
pub struct Inbox {
    side: Side,
    bytes: BytesMut,
    /// How much the message at the front still lacks, if its header was seen.
    lacks: usize,
}

impl Inbox {
    /// Nothing yet.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self { side, bytes: BytesMut::new(), lacks: 0 }
    }

    /// Where the next bytes go, with room for some.
    pub fn room(&mut self) -> &mut BytesMut {
        let usual = match self.side {
            Side::Primary => 1024,
            Side::Replica => READ,
        };
        // The room that is left is used up first: frames that are kept should not each pin a buffer of their own.
        if self.bytes.capacity() - self.bytes.len() < (usual / 8).max(self.lacks.min(usual)) {
            self.bytes.reserve(self.lacks.clamp(usual, RESERVE_MAX));
        }
        &mut self.bytes
    }

    /// The next message or frame, if all of it has come.
    pub fn pop(&mut self) -> Result<Option<Received>, WireError> {
        self.lacks = 0;
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        if prefix[..2] != [VERSION, MAGIC] {
            return self.next_frame();
        }
        let kind = u16::from_le_bytes([prefix[2], prefix[3]]);
        let length = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
        if !self.side.takes(kind) {
            return Err(WireError::OutOfPlace(kind));
        }
        if length > most(kind) {
            return Err(WireError::TooLong { kind, length });
        }
        if self.is_short_of(PREFIX + length) {
            return Ok(None);
        }
        let mut message = self.bytes.split_to(PREFIX + length).freeze();
        message.advance(PREFIX);
        Message::read(kind, message).map(|message| Some(Received::Message(message)))
    }

    fn next_frame(&mut self) -> Result<Option<Received>, WireError> {
        if self.side == Side::Primary {
            return Err(WireError::Foreign);
        }
        let Some(head) = self.bytes.first_chunk::<HEAD>() else {
            // A stranger is told apart by the first bytes, not only once there are as many as a header has.
            return if is_frame_like(&self.bytes) { Ok(None) } else { Err(WireError::Foreign) };
        };
        let length = Head::parse(head)?.frame_len();
        if self.is_short_of(length) {
            return Ok(None);
        }
        let frame = Frame::parse(self.bytes.split_to(length).freeze())?;
        Ok(Some(Received::Frame(frame)))
    }

    fn is_short_of(&mut self, length: usize) -> bool {
        self.lacks = length.saturating_sub(self.bytes.len());
        self.lacks > 0
    }
}

fn is_frame_like(bytes: &[u8]) -> bool {
    let model = Frame::epoch_opened(Position::default());
    bytes.get(..2) == model.bytes().get(..2)
}

#[cfg(test)]
mod tests;
