//! A port under assault: where it is, what it expects to hear, and how a connection to it begins.

use capstan_proto::auth::{Secret, Side, handshake};
use capstan_proto::env::{Env, RealRandom, Stream};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What a server expects on a connection, and how far the assailant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// RESP.
    Client,
    /// A meta server, before the handshake.
    MetaRaw,
    /// A meta server, after the handshake: HTTP/2.
    MetaGreeted,
    /// A data node's peer port, before the handshake.
    PeerRaw,
    /// A data node's peer port, after the handshake: length-framed.
    PeerGreeted,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// Where.
    pub(crate) at: SocketAddr,
    /// What it expects.
    pub(crate) speaks: Speaks,
    /// The cluster's secret, for those who get past the handshake.
    pub(crate) secret: Secret,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} port {}", self.speaks, self.at.port())
    }
}

impl Port {
    /// A connection, brought as far as the assault begins.
    pub(crate) async fn open(&self) -> io::Result<Stream> {
        let mut stream = Env::real().net.connect(&self.at.to_string()).await?;
        match self.speaks {
            Speaks::Client | Speaks::MetaRaw | Speaks::PeerRaw => {}
            Speaks::MetaGreeted | Speaks::PeerGreeted => {
                handshake(&mut stream, Side::Dialer, &self.secret, &RealRandom)
                    .await
                    .map_err(io::Error::other)?;
            }
        }
        Ok(stream)
    }

    /// Bytes that would be right here, to be cut short.
    pub(crate) fn sensible_bytes(&self) -> Vec<u8> {
        match self.speaks {
            Speaks::Client => {
                b"*3\r\n$3\r\nSET\r\n$9\r\ngarbage:a\r\n$5\r\nvalue\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$9\r\ngarbage:a\r\n\
                  *1\r\n$4\r\nEXEC\r\nPING inline\r\n*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n".to_vec()
            }
            Speaks::MetaRaw | Speaks::PeerRaw => {
                [&b"capstan\x01\x01"[..], &[7; 32], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].concat()
            }
            Speaks::MetaGreeted => {
                // The preface, empty SETTINGS, HEADERS of stream 1 that are not finished.
                let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
                let headers = [0, 0, 3, 1, 0, 0, 0, 0, 1, 0x82, 0x86, 0x84];
                [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &headers].concat()
            }
            Speaks::PeerGreeted => [&16u32.to_le_bytes()[..], &[1; 16]].concat(),
        }
    }

    /// Headers that announce far more than will ever come.
    pub(crate) fn vast_headers(&self) -> Vec<Vec<u8>> {
        match self.speaks {
            Speaks::Client => vec![
                b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n".to_vec(),
                b"*2\r\n$536870912\r\n".to_vec(),
                b"*1048576\r\n".to_vec(),
                b"*2147483647\r\n".to_vec(),
                b"*1\r\n$9223372036854775807\r\n".to_vec(),
                b"*1\r\n$99999999999999999999999\r\n".to_vec(),
                b"*-9223372036854775808\r\n".to_vec(),
            ],
            Speaks::MetaRaw | Speaks::MetaGreeted => {
                // A DATA frame and a HEADERS frame of 16 MiB less one, the largest that HTTP/2 can announce; and a
                // gRPC message of 4 GiB in a small frame.
                let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
                let frame = |head: &[u8]| [&preface[..], head].concat();
                vec![
                    frame(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
                    frame(&[0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 1]),
                    frame(&[0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff]),
                ]
            }
            Speaks::PeerRaw | Speaks::PeerGreeted => {
                let len = |n: u32| [n.to_le_bytes(), n.to_be_bytes()].concat();
                vec![len(512 << 20), len(u32::MAX), [0xff; 64].to_vec()]
            }
        }
    }
}
