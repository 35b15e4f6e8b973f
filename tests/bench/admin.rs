//! Questions to a server, one at a time, and what INFO answers.

use capstan_jepsen::resp::{Decoder, Value, encode_command};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// FLUSHALL of some million keys may take seconds.
const REPLY_MAX: Duration = Duration::from_secs(120);

/// A connection that asks one thing at a time.
pub(crate) struct Admin {
    stream: TcpStream,
    decoder: Decoder,
}

/// How replication stands, by INFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replication {
    /// Whether it is a primary.
    pub(crate) primary: bool,
    /// How much is in its own log: bytes for Redis, batches for Capstan.
    pub(crate) offset: u64,
    /// As a replica: the link to the primary works, and no copy is on its way.
    pub(crate) link_up: bool,
}

impl Replication {
    /// Reads the section. The offset of a replica is what it has applied.
    fn parse(info: &str) -> Option<Self> {
        let primary = match info_field(info, "role")?.as_str() {
            "master" => true,
            "slave" => false,
            _neither => return None,
        };
        let offset = if primary { "master_repl_offset" } else { "slave_repl_offset" };
        // Redis' replica has no offset of its own until it was copied to.
        let offset = info_field(info, offset)?.parse::<i64>().ok()?.max(0).unsigned_abs();
        let says = |name, value: &str| info_field(info, name).is_some_and(|field| field == value);
        let link_up = says("master_link_status", "up") && says("master_sync_in_progress", "0");
        Some(Self { primary, offset, link_up })
    }
}

impl Admin {
    /// Connects.
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::patient(to, REPLY_MAX)
    }

    /// Connects, and gives up on a reply after this time: a process that is being killed still accepts.
    pub(crate) fn patient(to: SocketAddr, reply_max: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(reply_max))?;
        Ok(Self { stream, decoder: Decoder::default() })
    }

    /// Asks. An error reply is a reply.
    pub(crate) fn call(&mut self, args: &[&str]) -> io::Result<Value> {
        let mut bytes = Vec::new();
        encode_command(args, &mut bytes);
        self.stream.write_all(&bytes)?;
        self.reply()
    }

    /// Asks several things at once; gives the replies in their order.
    pub(crate) fn pipeline(&mut self, commands: &[[&str; 2]]) -> io::Result<Vec<Value>> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| encode_command(command, &mut bytes));
        self.stream.write_all(&bytes)?;
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> io::Result<Value> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(value) = self.decoder.decode().map_err(io::Error::other)? {
                return Ok(value);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.feed(&buffer[..count]),
            }
        }
    }

    /// Asks for a text.
    pub(crate) fn text(&mut self, args: &[&str]) -> io::Result<String> {
        let reply = self.call(args)?;
        let text = if reply.error().is_none() { reply.text() } else { None };
        text.ok_or_else(|| io::Error::other(format!("{args:?} gave {reply:?}")))
    }

    /// Asks for something that is answered by OK.
    pub(crate) fn ok(&mut self, args: &[&str]) -> io::Result<()> {
        let reply = self.call(args)?;
        if reply.is_ok() { Ok(()) } else { Err(io::Error::other(format!("{args:?} gave {reply:?}"))) }
    }

    /// How many keys there are.
    pub(crate) fn keys(&mut self) -> io::Result<u64> {
        let reply = self.call(&["DBSIZE"])?;
        let count = reply.integer().and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| io::Error::other(format!("DBSIZE gave {reply:?}")))
    }

    /// The process that answers.
    pub(crate) fn pid(&mut self) -> io::Result<u32> {
        let info = self.text(&["INFO", "server"])?;
        let pid = info_field(&info, "process_id").and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| io::Error::other("INFO names no process_id"))
    }

    /// How replication stands.
    pub(crate) fn replication(&mut self) -> io::Result<Replication> {
        let info = self.text(&["INFO", "replication"])?;
        let bad = || io::Error::other(format!("INFO replication says {info:?}"));
        Replication::parse(&info).ok_or_else(bad)
    }

    /// How many whole copies it has given to replicas.
    pub(crate) fn copies(&mut self) -> io::Result<u64> {
        let info = self.text(&["INFO", "stats"])?;
        let count = info_field(&info, "sync_full").and_then(|count| count.parse().ok());
        count.ok_or_else(|| io::Error::other("INFO names no sync_full"))
    }
}

/// The value of a line `name:value` of INFO.
pub(crate) fn info_field(info: &str, name: &str) -> Option<String> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_level_by_what_it_has_applied() {
        let primary = "role:master\r\nconnected_slaves:1\r\nmaster_repl_offset:42\r\n";
        let is = Replication::parse(primary).unwrap();
        assert_eq!(is, Replication { primary: true, offset: 42, link_up: false });
        let replica = "role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n\
                       slave_read_repl_offset:50\r\nslave_repl_offset:41\r\nmaster_repl_offset:41\r\n";
        let is = Replication::parse(replica).unwrap();
        assert_eq!(is, Replication { primary: false, offset: 41, link_up: true });
        let copying = replica.replace("in_progress:0", "in_progress:1");
        assert!(!Replication::parse(&copying).unwrap().link_up);
        let none_yet = replica.replace("slave_repl_offset:41", "slave_repl_offset:-1");
        assert_eq!(Replication::parse(&none_yet).unwrap().offset, 0);
        assert_eq!(Replication::parse("role:sentinel"), None);
    }
}
