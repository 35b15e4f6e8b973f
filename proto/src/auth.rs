//! How two servers convince each other that they know the same cluster secret, before the first byte of anything else.
//!
//! Both sides send a nonce and then an HMAC-SHA-256 over both nonces, each under its own label, so that neither
//! answer can be reflected. Without a secret both sides say so, and servers listen on loopback only. The stream
//! itself is not encrypted; mutual TLS takes that place later (DESIGN 14).

use crate::env::{Random, Stream};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The first bytes of every connection between servers: a name and the version of this handshake.
const MAGIC: [u8; 8] = *b"capstan\x01";
const NONCE: usize = 32;
const PROOF: usize = 32;
/// A handshake that takes longer is cut off.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// The secret that all servers of a cluster share. Never printed.
#[derive(Clone, Default)]
pub struct Secret(Option<Arc<[u8]>>);

impl Secret {
    /// A cluster without a secret: loopback only.
    pub const NONE: Self = Self(None);

    /// The content of a secret file, without white space around it. An empty one is refused.
    pub fn from_text(text: &str) -> Result<Self, AuthError> {
        match text.trim() {
            "" => Err(AuthError::EmptySecret),
            text => Ok(Self(Some(text.as_bytes().into()))),
        }
    }

    /// Whether there is one.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    fn prove(&self, label: &[u8], nonces: [&[u8; NONCE]; 2]) -> Hmac<Sha256> {
        let key: &[u8] = self.0.as_deref().unwrap_or_default();
        // HMAC takes keys of any length; the error type exists for other MACs.
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
            .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
        mac.update(label);
        nonces.into_iter().for_each(|nonce| mac.update(nonce));
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Secret(set)" } else { "Secret(none)" })
    }
}

/// Why two servers did not agree.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A secret file with nothing in it.
    #[error("the cluster secret is empty: put at least one character into its file")]
    EmptySecret,
    /// The other end is no Capstan server, or speaks another version of the handshake.
    #[error("the other end speaks no Capstan handshake of this version")]
    Foreign,
    /// One side has a secret, the other has none.
    #[error("one side has a cluster secret and the other has none: give both the same --secret-file")]
    OneSided,
    /// The secrets differ.
    #[error("the cluster secrets differ: give both servers the same --secret-file")]
    Mismatch,
    /// No answer in time.
    #[error("no complete handshake within {} s", HANDSHAKE_LIMIT.as_secs())]
    Slow,
    /// The connection broke.
    #[error("connection broken during the handshake: {0}")]
    Io(#[from] io::Error),
}

impl From<AuthError> for io::Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Io(error) => error,
            other => Self::new(io::ErrorKind::PermissionDenied, other.to_string()),
        }
    }
}

/// Which end of the connection this is; the proofs of the two ends differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It opened the connection.
    Dialer,
    /// It accepted the connection.
    Listener,
}

impl Side {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Dialer => b"capstan dialer",
            Self::Listener => b"capstan listener",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// Runs the handshake on a fresh connection. On success both ends hold the same secret, or both have none.
pub async fn handshake(
    stream: &mut Stream,
    side: Side,
    secret: &Secret,
    random: &dyn Random,
) -> Result<(), AuthError> {
    let mut mine = [0; NONCE];
    random.fill(&mut mine);
    match tokio::time::timeout(HANDSHAKE_LIMIT, exchange(stream, side, secret, &mine)).await {
        Ok(result) => result,
        Err(_) => Err(AuthError::Slow),
    }
}

async fn exchange(
    stream: &mut Stream,
    side: Side,
    secret: &Secret,
    mine: &[u8; NONCE],
) -> Result<(), AuthError> {
    let mut hello = [0; MAGIC.len() + 1 + NONCE];
    hello[..8].copy_from_slice(&MAGIC);
    hello[8] = u8::from(secret.is_set());
    hello[9..].copy_from_slice(mine);
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let mut theirs = [0; MAGIC.len() + 1 + NONCE];
    stream.read_exact(&mut theirs).await?;
    if theirs[..8] != MAGIC {
        return Err(AuthError::Foreign);
    }
    if theirs[8] != hello[8] {
        return Err(AuthError::OneSided);
    }
    if !secret.is_set() {
        return Ok(());
    }
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&theirs[9..]);
    if nonce == *mine {
        return Err(AuthError::Mismatch);
    }
    let nonces = match side {
        Side::Dialer => [mine, &nonce],
        Side::Listener => [&nonce, mine],
    };
    stream.write_all(&secret.prove(side.label(), nonces).finalize().into_bytes()).await?;
    stream.flush().await?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await?;
    let expected = secret.prove(side.other().label(), nonces);
    expected.verify_slice(&proof).map_err(|_| AuthError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealRandom;

    async fn meet(dialer: Secret, listener: Secret) -> (Result<(), AuthError>, Result<(), AuthError>) {
        let (a, b) = tokio::io::duplex(256);
        let (mut a, mut b): (Stream, Stream) = (Box::new(a), Box::new(b));
        tokio::join!(async move { handshake(&mut a, Side::Dialer, &dialer, &RealRandom).await }, async move {
            handshake(&mut b, Side::Listener, &listener, &RealRandom).await
        },)
    }

    fn secret(text: &str) -> Secret {
        Secret::from_text(text).expect("not empty")
    }

    #[tokio::test]
    async fn the_same_secret_or_none_on_both_sides_is_accepted() {
        for (a, b) in [(Secret::NONE, Secret::NONE), (secret("s\n"), secret("s"))] {
            let (a, b) = meet(a, b).await;
            assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        }
    }

    #[tokio::test]
    async fn different_secrets_or_one_side_without_are_refused_by_both() {
        for (a, b) in [(secret("s"), secret("t")), (secret("s"), Secret::NONE), (Secret::NONE, secret("s"))] {
            let (a, b) = meet(a, b).await;
            assert!(a.is_err() && b.is_err(), "{a:?} {b:?}");
        }
    }

    #[tokio::test]
    async fn an_echoing_stranger_proves_nothing() {
        let (a, mut b) = tokio::io::duplex(256);
        let echo = tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(&mut b);
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        let mut a: Stream = Box::new(a);
        let result = handshake(&mut a, Side::Dialer, &secret("s"), &RealRandom).await;
        assert!(matches!(result, Err(AuthError::Mismatch)), "{result:?}");
        drop(a);
        echo.await.expect("the echo ends with its stream");
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", secret("hunter2")).contains("hunter2"));
    }
}
