//! The load generator: one thread, one epoll, non-blocking sockets. Closed loop here, open loop in `paced`.
//!
//! It shares the machine with the server, so it does as little as it can for a reply: count it, take a time.

use crate::commands::Commands;
use crate::replies::{Scanner, Tally};
use capstan_proto::env::{Clock, RealClock};
use hdrhistogram::Histogram;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// No reply for this long means that the server is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes a read can take.
const READ_BYTES: usize = 256 << 10;

/// A connection, its unsent bytes, and the times for which replies are owed.
pub(crate) struct Conn {
    stream: TcpStream,
    pub(crate) out: Vec<u8>,
    written: usize,
    blocked: bool,
    scanner: Scanner,
    /// When each owed reply's command was due, and how many replies share that time.
    pub(crate) due: VecDeque<(u64, u32)>,
    pub(crate) owed: usize,
}

/// Connections to one server.
pub(crate) struct Engine {
    epoll: OwnedFd,
    pub(crate) conns: Vec<Conn>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Every reply since the last [`Engine::take_tally`].
    tally: Tally,
}

/// What a closed loop found.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    /// Commands answered.
    pub(crate) ops: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// Nanoseconds from sending a batch to its last reply.
    pub(crate) latency: Histogram<u64>,
    /// What was answered.
    pub(crate) tally: Tally,
}

/// What a connection gave.
#[derive(Debug)]
pub(crate) struct Received {
    /// Replies that ended.
    pub(crate) ended: usize,
    /// Why there will be no more, if so.
    pub(crate) closed: Option<io::Error>,
}

/// Now, in nanoseconds since boot.
pub(crate) fn now() -> u64 {
    RealClock.boot().0
}

/// A histogram of nanoseconds up to ten minutes, three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    // The bounds are constants and valid, so this cannot fail; a default histogram would resize itself.
    Histogram::new_with_bounds(1, 600_000_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

impl Engine {
    /// Opens so many connections.
    pub(crate) fn connect(to: SocketAddr, connections: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut conns = Vec::with_capacity(connections);
        for at in 0..connections {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
            conns.push(Conn {
                stream,
                out: Vec::new(),
                written: 0,
                blocked: false,
                scanner: Scanner::default(),
                due: VecDeque::new(),
                owed: 0,
            });
        }
        let events = Vec::with_capacity(connections.max(1));
        Ok(Self { epoll, conns, events, buffer: vec![0; READ_BYTES], tally: Tally::default() })
    }

    /// The replies counted since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Closed loop: every connection sends `pipeline` commands, waits for all replies, and so on.
    pub(crate) fn closed(
        &mut self,
        commands: &mut Commands,
        pipeline: usize,
        ops: u64,
    ) -> io::Result<Closed> {
        let mut latency = histogram();
        let (start, mut issued, mut done) = (now(), 0, 0);
        for at in 0..self.conns.len() {
            self.issue(at, commands, pipeline, ops, &mut issued)?;
        }
        while done < issued {
            let ready = self.wait(Some(SILENCE_MAX))?;
            if ready == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no reply within {SILENCE_MAX:?}"),
                ));
            }
            for event in 0..ready {
                let (at, writable) = self.event(event);
                if writable {
                    self.flush(at)?;
                }
                done += self.receive(at)? as u64;
                if self.conns[at].owed == 0 {
                    if let Some((sent, _)) = self.conns[at].due.pop_front() {
                        latency.saturating_record(now() - sent);
                    }
                    self.issue(at, commands, pipeline, ops, &mut issued)?;
                }
            }
        }
        let took = Duration::from_nanos(now() - start);
        Ok(Closed { ops: done, took, latency, tally: self.take_tally() })
    }

    fn issue(
        &mut self,
        at: usize,
        with: &mut Commands,
        pipeline: usize,
        ops: u64,
        issued: &mut u64,
    ) -> io::Result<()> {
        let batch = (pipeline as u64).min(ops - *issued);
        if batch == 0 {
            return Ok(());
        }
        *issued += batch;
        let conn = &mut self.conns[at];
        for _ in 0..batch {
            with.append(&mut conn.out);
        }
        conn.owed += batch as usize;
        conn.due.push_back((now(), batch as u32));
        self.flush(at)
    }

    /// Waits for sockets; says how many events there are.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        let limit = limit.map(|d| rustix::event::Timespec {
            tv_sec: d.as_secs() as i64,
            tv_nsec: i64::from(d.subsec_nanos()),
        });
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), limit.as_ref()) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The connection of an event, and whether it may be written again.
    pub(crate) fn event(&self, index: usize) -> (usize, bool) {
        let event = &self.events[index];
        let flags = event.flags;
        (event.data.u64() as usize, flags.contains(EventFlags::OUT))
    }

    /// Reads what is there; says how many replies ended. A closed connection is an error.
    pub(crate) fn receive(&mut self, at: usize) -> io::Result<usize> {
        let received = self.receive_last(at)?;
        received.closed.map_or(Ok(received.ended), Err)
    }

    /// Reads what is there, up to the end of the connection if it has one.
    pub(crate) fn receive_last(&mut self, at: usize) -> io::Result<Received> {
        let conn = &mut self.conns[at];
        let (mut ended, mut closed) = (0, None);
        loop {
            match conn.stream.read(&mut self.buffer) {
                Ok(0) => {
                    closed =
                        Some(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection"));
                    break;
                }
                Ok(count) => {
                    ended += conn.scanner.feed(&self.buffer[..count], &mut self.tally);
                    if count < self.buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    closed = Some(error);
                    break;
                }
            }
        }
        if ended > conn.owed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more replies than commands"));
        }
        conn.owed -= ended;
        Ok(Received { ended, closed })
    }

    /// Hears no more of a connection that was closed.
    pub(crate) fn forget(&mut self, at: usize) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, &self.conns[at].stream)?)
    }

    /// Writes what can be written.
    pub(crate) fn flush(&mut self, at: usize) -> io::Result<()> {
        let conn = &mut self.conns[at];
        while conn.written < conn.out.len() {
            match conn.stream.write(&conn.out[conn.written..]) {
                Ok(count) => conn.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.watch_writable(at, true);
                }
                Err(error) => return Err(error),
            }
        }
        conn.out.clear();
        conn.written = 0;
        self.watch_writable(at, false)
    }

    fn watch_writable(&mut self, at: usize, blocked: bool) -> io::Result<()> {
        let conn = &mut self.conns[at];
        if conn.blocked == blocked {
            return Ok(());
        }
        conn.blocked = blocked;
        let flags = if blocked { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, &conn.stream, EventData::new_u64(at as u64), flags)?)
    }
}
