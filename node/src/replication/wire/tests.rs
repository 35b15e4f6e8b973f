//! What was written reads back however it is cut, and garbage is refused without memory.

use super::*;
use crate::log::frame::Kind;
use capstan_proto::ids::{BatchNumber, SpawnToken};
use proptest::prelude::*;

fn at(epoch: u64, batch: u64) -> Position {
    Position { epoch: ShardEpoch(epoch), batch: BatchNumber(batch) }
}

fn hello(position: Option<Position>) -> Message {
    Message::Hello(Hello {
        group: GroupId([1; 16]),
        shard: ShardId([2; 20]),
        node: NodeId([3; 20]),
        incarnation: Incarnation { counter: 4, token: SpawnToken([5; 16]) },
        epoch: ShardEpoch(6),
        position,
        starts: (0..EPOCHS_MAX as u64).map(|n| (n, u64::MAX - n)).collect(),
    })
}

fn piece(slots: u16, effects: Vec<u8>) -> Message {
    let begins = Slot::all().take(usize::from(slots)).collect();
    Message::Piece(Piece { copy: 7, number: 8, begins, effects: effects.into() })
}

/// One of each kind.
fn all() -> Vec<Message> {
    vec![
        hello(Some(at(1, 2))),
        Message::Answer(Answer::Copy { copy: 1, from: at(2, 3), starts: vec![(1, 1); EPOCHS_MAX], keys: 4 }),
        piece(16384, vec![9; 1000]),
        Message::CopyEnd { copy: 1, pieces: 2 },
        Message::Ack(Ack { number: 1, clock_ms: 2, copied: 3 }),
        Message::Echo { clock_ms: 4 },
        Message::Ask,
    ]
}

fn side_of(message: &Message) -> Side {
    if Side::Primary.takes(message.kind()) { Side::Primary } else { Side::Replica }
}

fn frame(number: u64, body: &[u8]) -> Frame {
    let mut room = BytesMut::zeroed(HEAD);
    room.extend_from_slice(body);
    Frame::seal(room, at(1, number), Kind::Effects, 1)
}

fn read_all(side: Side, bytes: &[u8], step: usize) -> Result<Vec<Received>, WireError> {
    let mut inbox = Inbox::new(side);
    let mut read = Vec::new();
    for chunk in bytes.chunks(step.max(1)) {
        inbox.room().extend_from_slice(chunk);
        while let Some(received) = inbox.pop()? {
            read.push(received);
        }
    }
    Ok(read)
}

#[test]
fn every_kind_reads_back_on_its_side_and_is_out_of_place_on_the_other() {
    for message in all() {
        let bytes = message.to_bytes().expect("short enough");
        let side = side_of(&message);
        assert_eq!(read_all(side, &bytes, bytes.len()), Ok(vec![Received::Message(message.clone())]));
        let other = if side == Side::Primary { Side::Replica } else { Side::Primary };
        assert_eq!(read_all(other, &bytes, 8), Err(WireError::OutOfPlace(message.kind())));
    }
    let kinds: std::collections::BTreeSet<u16> = all().iter().map(Message::kind).collect();
    assert_eq!(kinds.len(), KIND_ASK as usize, "a kind has no example");
}

#[test]
fn frames_and_messages_come_apart_however_the_bytes_are_cut() {
    let stream = [
        Received::Frame(frame(1, b"first")),
        Received::Message(piece(3, vec![1, 2, 3])),
        Received::Frame(frame(2, &[7; 70_000])),
        Received::Message(Message::Echo { clock_ms: 9 }),
    ];
    let bytes: Vec<u8> = stream
        .iter()
        .flat_map(|received| match received {
            Received::Frame(frame) => frame.bytes().to_vec(),
            Received::Message(message) => message.to_bytes().expect("short enough").to_vec(),
        })
        .collect();
    for step in [1, 7, 40, 1000, bytes.len()] {
        assert_eq!(read_all(Side::Replica, &bytes, step).as_deref(), Ok(&stream[..]), "step {step}");
    }
}

#[test]
fn a_header_that_promises_four_gigabytes_reserves_at_most_one_megabyte() {
    let mut inbox = Inbox::new(Side::Replica);
    let header = [&[VERSION, MAGIC][..], &KIND_PIECE.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    inbox.room().extend_from_slice(&header);
    assert_eq!(inbox.pop(), Ok(None));
    assert!(inbox.room().capacity() <= RESERVE_MAX + READ, "{}", inbox.room().capacity());
    // And the side that is dialled takes nothing of the sort.
    let mut inbox = Inbox::new(Side::Primary);
    let header = [&[VERSION, MAGIC][..], &KIND_HELLO.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    inbox.room().extend_from_slice(&header);
    let length = u32::MAX as usize;
    assert_eq!(inbox.pop(), Err(WireError::TooLong { kind: KIND_HELLO, length }));
    assert!(inbox.room().capacity() <= 4096);
}

#[test]
fn a_damaged_piece_is_refused() {
    let bytes = piece(2, b"effects".to_vec()).to_bytes().expect("short enough");
    for at in PREFIX + 16..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x10;
        assert_eq!(read_all(Side::Replica, &damaged, bytes.len()), Err(WireError::Sum), "byte {at}");
    }
}

#[test]
fn a_client_of_another_protocol_is_refused_at_its_first_words() {
    for side in [Side::Primary, Side::Replica] {
        assert_eq!(read_all(side, b"*1\r\n$4\r\nPING\r\n", 100), Err(WireError::Foreign));
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_or_waited_for_but_never_panics_nor_reserves_much(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0u16..9, known in any::<bool>(), replica in any::<bool>(), step in 1usize..50,
    ) {
        if known && bytes.len() > 4 {
            bytes[..2].copy_from_slice(&[VERSION, MAGIC]);
            bytes[2..4].copy_from_slice(&kind.to_le_bytes());
        }
        let side = if replica { Side::Replica } else { Side::Primary };
        let mut inbox = Inbox::new(side);
        for chunk in bytes.chunks(step) {
            inbox.room().extend_from_slice(chunk);
            let read = inbox.pop();
            prop_assert!(inbox.room().capacity() <= RESERVE_MAX + 2 * READ);
            if read.is_err() { break; }
        }
    }

    #[test]
    fn a_message_whose_body_is_garbage_is_an_error_or_a_message(
        body in proptest::collection::vec(any::<u8>(), 0..100), kind in 0u16..9,
    ) {
        let _ = Message::read(kind, body.into());
    }
}
