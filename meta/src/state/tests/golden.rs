//! The bytes of a snapshot: version 1 must be readable, and written the same, for ever.

use super::builders::Bench;
use crate::state::{BadSnapshot, SNAPSHOT_FORMAT, State};
use capstan_proto::codec::{self, CodecError};

const GOLDEN: &str = include_str!("snapshot-v1.hex");

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(48).map(|chunk| chunk.iter().map(|b| format!("{b:02x}")).collect::<String>());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_snapshot_of_format_1_has_these_very_bytes_and_reads_back() {
    let state = Bench::cluster().state;
    let bytes = state.encode().expect("plain data");
    assert_eq!(bytes[0], SNAPSHOT_FORMAT);
    assert_eq!(hex(&bytes), GOLDEN, "the format changed: give it a new version, keep a decoder for this one");
    assert_eq!(State::decode(&bytes), Ok(state));
}

#[test]
fn a_damaged_snapshot_is_refused_and_never_a_panic() {
    let bytes = Bench::cluster().state.encode().expect("plain data");
    for len in 0..bytes.len() {
        assert!(State::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        // Damage can hit a text and leave a state: then it must be a well-formed one, with bytes of its own.
        if let Ok(state) = State::decode(&damaged) {
            assert!(state.encode().is_ok());
        }
    }
    let mut other = bytes;
    other[0] = SNAPSHOT_FORMAT + 1;
    let version = CodecError::Version { found: SNAPSHOT_FORMAT + 1, known: SNAPSHOT_FORMAT };
    assert_eq!(State::decode(&other), Err(BadSnapshot::Codec(version)));
    assert!(State::decode(&codec::encode(1, &"text").expect("plain data")).is_err());
}
