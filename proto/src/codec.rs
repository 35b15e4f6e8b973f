//! Values as bytes: one version byte, then bincode (little endian, varint), with a limit on every length.
//!
//! This is the one place that knows bincode. A format that changes gets a new version byte and keeps the decoder of
//! the old one; bincode itself cannot tell the difference (CRATES 3).

use bincode::config;
use serde::{Serialize, de::DeserializeOwned};

/// The most that one value may claim to need while it is read.
pub const DECODE_LIMIT: usize = 256 << 20;

/// Why bytes were not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Nothing there, not even a version.
    #[error("no bytes where a version byte was expected")]
    Empty,
    /// Written by another version of the format.
    #[error("format version {found}, this program reads {known}")]
    Version {
        /// What the first byte said.
        found: u8,
        /// What was asked for.
        known: u8,
    },
    /// The bytes are not such a value.
    #[error("damaged or foreign bytes: {0}")]
    Malformed(String),
    /// The value ended before the bytes did.
    #[error("{0} bytes left after the value")]
    Trailing(usize),
}

/// Writes `version`, then the value.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(value, &mut bytes, config::standard())
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    Ok(bytes)
}

/// Reads a value that [`encode`] wrote with this version. All bytes must belong to it.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (&found, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if found != version {
        return Err(CodecError::Version { found, known: version });
    }
    let limits = config::standard().with_limit::<DECODE_LIMIT>();
    let (value, used) =
        bincode::serde::decode_from_slice(body, limits).map_err(|e| CodecError::Malformed(e.to_string()))?;
    if used < body.len() {
        return Err(CodecError::Trailing(body.len() - used));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_and_another_version_is_named() {
        let bytes = encode(3, &("slot", 7u16)).expect("plain data");
        assert_eq!(decode::<(String, u16)>(3, &bytes), Ok(("slot".to_owned(), 7)));
        assert_eq!(decode::<(String, u16)>(4, &bytes), Err(CodecError::Version { found: 3, known: 4 }));
    }

    #[test]
    fn bytes_after_the_value_and_lengths_that_lie_are_errors() {
        let mut bytes = encode(1, &7u8).expect("plain data");
        bytes.push(0);
        assert_eq!(decode::<u8>(1, &bytes), Err(CodecError::Trailing(1)));
        assert!(decode::<Vec<u8>>(1, &[1, 253, 255, 255, 255, 255, 255, 255, 255, 127]).is_err());
    }
}
