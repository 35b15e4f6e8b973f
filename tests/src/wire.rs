//! A client that shows the bytes: it sends commands and hands back each reply exactly as it arrived.
//!
//! It decides only where a reply ends. It does not decode, retry, redirect or follow anything: that would hide the
//! differences that comparing tests look for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take before a test gives up.
const REPLY_WITHIN: Duration = Duration::from_secs(20);

/// One connection.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, REPLY_WITHIN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        stream.set_write_timeout(Some(REPLY_WITHIN))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends one command and returns the bytes of its reply.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Vec<u8>> {
        self.send(&encode(args))?;
        self.reply()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The bytes of the next reply.
    pub fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut frames = 1usize;
        while frames > 0 {
            frames -= 1;
            let start = bytes.len();
            self.reader.read_until(b'\n', &mut bytes)?;
            if !bytes.ends_with(b"\r\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = bytes[start..bytes.len() - 2].to_vec();
            let count = || std::str::from_utf8(&line[1..]).ok().and_then(|s| s.parse::<i64>().ok());
            match line.first() {
                Some(b'$' | b'!' | b'=') => {
                    let length = count().ok_or(io::ErrorKind::InvalidData)?;
                    if let Ok(length) = usize::try_from(length) {
                        let from = bytes.len();
                        bytes.resize(from + length + 2, 0);
                        self.reader.read_exact(&mut bytes[from..])?;
                    }
                }
                Some(b'*' | b'~' | b'>') => {
                    frames += usize::try_from(count().ok_or(io::ErrorKind::InvalidData)?).unwrap_or(0);
                }
                Some(b'%' | b'|') => {
                    frames += 2 * usize::try_from(count().ok_or(io::ErrorKind::InvalidData)?).unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok(bytes)
    }
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The inside of an integer or bulk reply as a number.
#[must_use]
pub fn number(reply: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(reply).ok()?;
    let inside = text.strip_prefix(':').or_else(|| text.split_once("\r\n").map(|(_, rest)| rest))?;
    inside.trim_end().parse().ok()
}
