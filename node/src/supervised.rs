//! The worker's end of its control pipe: what it tells the supervisor that started it, and how it learns that the
//! supervisor has ended (DESIGN 6, proof of death).
//!
//! The pipe is a socket pair that the supervisor leaves as the worker's standard input. It carries lines of text: first the
//! spawn token, down; then [`Word`]s, up. Its end is the message that matters most: the kernel closes a pipe however its
//! holder ends, where a signal at the parent's death would be tied to one thread of it. What follows from it is decided in
//! `server.rs` and `cluster/control.rs`.

use capstan_proto::ids::{NodeId, SpawnToken};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// No line is longer; a longer one is none of ours.
pub const LINE_MAX: usize = 128;
/// The token is written before the worker starts: whoever waits longer has no supervisor.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// What a worker tells its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It has its folder, and this is the node whose life it is about to register.
    Node(NodeId),
    /// The meta group knows this life.
    Registered,
    /// A client has told it to end (SHUTDOWN): no other worker is to follow.
    Ending,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Registered => f.write_str("registered"),
            Self::Ending => f.write_str("ending"),
        }
    }
}

impl Word {
    /// Reads a line. `None`: a later program may say more than this one knows.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            Some(("node", id)) => id.parse().ok().map(Self::Node),
            Some(_) => None,
            None if line == "registered" => Some(Self::Registered),
            None if line == "ending" => Some(Self::Ending),
            None => None,
        }
    }
}

/// A worker's supervisor, as the worker sees it.
#[derive(Debug)]
pub struct Supervised {
    token: SpawnToken,
    pipe: UnixStream,
}

impl Supervised {
    /// Takes over the control pipe, and reads the token that the supervisor has drawn for this life. Blocks.
    pub fn take(pipe: impl AsFd) -> io::Result<Self> {
        let mut pipe = UnixStream::from(pipe.as_fd().try_clone_to_owned()?);
        pipe.set_read_timeout(Some(TOKEN_WITHIN))?;
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < LINE_MAX {
            pipe.read_exact(&mut byte)?;
            if byte == *b"\n" {
                break;
            }
            line.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&line);
        let token = text.parse().map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?;
        // One description for both directions: a line is short and the supervisor reads, so that a write that would wait
        // means that something is broken.
        pipe.set_nonblocking(true)?;
        Ok(Self { token, pipe })
    }

    /// The token of this life.
    #[must_use]
    pub const fn token(&self) -> SpawnToken {
        self.token
    }

    /// Tells the supervisor something. One that is gone is noticed by [`Supervised::gone`].
    pub fn say(&self, word: Word) {
        if let Err(error) = (&self.pipe).write_all(format!("{word}\n").as_bytes()) {
            tracing::debug!(%error, %word, "the supervisor does not listen");
        }
    }

    /// Returns when the supervisor has ended.
    pub async fn gone(&self) -> io::Result<()> {
        let mut pipe = tokio::net::UnixStream::from_std(self.pipe.try_clone()?)?;
        let mut part = [0; LINE_MAX];
        loop {
            match pipe.read(&mut part).await {
                Ok(0) => return Ok(()),
                // Nothing is said after the token; a later supervisor may.
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the control pipe broke");
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: SpawnToken = SpawnToken([0xab; 16]);

    fn pair() -> (Supervised, UnixStream) {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        writeln!(ours, "{TOKEN}").expect("room");
        (Supervised::take(theirs).expect("a token"), ours)
    }

    #[test]
    fn every_word_reads_back_and_what_is_not_known_is_skipped() {
        for word in [Word::Node(NodeId([7; 20])), Word::Registered, Word::Ending] {
            let line = word.to_string();
            assert!(line.len() < LINE_MAX);
            assert_eq!(Word::parse(&line), Some(word));
        }
        for line in ["", "node", "node 12", "registered twice", "hello world"] {
            assert_eq!(Word::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_token_is_read_and_words_arrive() {
        let (worker, mut supervisor) = pair();
        assert_eq!(worker.token(), TOKEN);
        worker.say(Word::Registered);
        let mut line = [0; 11];
        supervisor.read_exact(&mut line).expect("a line");
        assert_eq!(&line, b"registered\n");
    }

    #[test]
    fn standard_input_that_is_no_control_pipe_is_an_error() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        writeln!(ours, "no token").expect("room");
        assert!(Supervised::take(theirs).is_err());
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(ours);
        assert!(Supervised::take(theirs).is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_supervisor_is_noticed_and_what_it_says_is_not_taken_for_it() {
        let (worker, mut supervisor) = pair();
        writeln!(supervisor, "something new").expect("room");
        let gone = worker.gone();
        tokio::pin!(gone);
        tokio::select! {
            biased;
            _ = &mut gone => panic!("it is there"),
            () = tokio::task::yield_now() => {}
        }
        drop(supervisor);
        gone.await.expect("noticed");
    }
}
