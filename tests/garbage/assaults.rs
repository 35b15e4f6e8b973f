//! The assaults. Each ends with what it saw; the bounds on memory are checked here, that the victim lives by the
//! caller.

use crate::port::{Port, Speaks};
use crate::victim::Victim;
use capstan_jepsen::resp::encode_command;
use capstan_proto::env::{Clock, RealClock, Stream};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A header may make resident memory grow by this.
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// An idle connection may cost this.
const IDLE_BYTES_MAX: u64 = 24 << 10;
/// A client that never reads may cost this until it is cut.
const NEVER_READING_BYTES_MAX: u64 = 64 << 20;
/// Idle connections that are asked for.
const IDLE_CONNECTIONS: u64 = 10_000;
/// Held by whoever has thousands of connections open: the limit of open files belongs to this process, which runs the
/// tests side by side, and there may be room for one of them only.
static OPEN_FILES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// A connection may be silent for so long after garbage before we hang up.
const LISTEN: Duration = Duration::from_millis(100);

/// A kind of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assault {
    /// Bytes without sense, and such that begin sensibly.
    RandomBytes,
    /// Sensible bytes, cut at every place.
    TruncatedFrames,
    /// Headers that announce 512 MiB and more.
    VastHeaders,
    /// A million arrays in each other.
    DeepArray,
    /// One line that never ends.
    EndlessLine,
    /// Ten thousand connections that do nothing.
    IdleConnections,
    /// Asks and asks, and reads no answer.
    NeverReads,
}

impl Assault {
    /// All of them. Memory is compared with that of the process before the first one, so those that could leave much
    /// freed memory behind come last.
    pub(crate) const ALL: [Self; 7] = [
        Self::VastHeaders,
        Self::DeepArray,
        Self::EndlessLine,
        Self::NeverReads,
        Self::IdleConnections,
        Self::TruncatedFrames,
        Self::RandomBytes,
    ];

    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RandomBytes => "random bytes",
            Self::TruncatedFrames => "truncated frames",
            Self::VastHeaders => "vast headers",
            Self::DeepArray => "a million-deep array",
            Self::EndlessLine => "an endless line",
            Self::IdleConnections => "idle connections",
            Self::NeverReads => "a client that never reads",
        }
    }

    /// Whether it makes sense there. After a handshake idling is the same as before it.
    pub(crate) fn fits(self, speaks: Speaks) -> bool {
        match self {
            Self::RandomBytes | Self::TruncatedFrames | Self::VastHeaders | Self::NeverReads => true,
            Self::DeepArray | Self::EndlessLine => speaks == Speaks::Client,
            Self::IdleConnections => !matches!(speaks, Speaks::MetaGreeted | Speaks::PeerGreeted),
        }
    }

    /// Does it; says what was seen.
    pub(crate) async fn run(self, port: &Port, victim: &Victim, seed: u64) -> io::Result<String> {
        match self {
            Self::RandomBytes => random_bytes(port, seed).await,
            Self::TruncatedFrames => truncated_frames(port).await,
            Self::VastHeaders => vast_headers(port, victim).await,
            Self::DeepArray => deep_array(port, victim).await,
            Self::EndlessLine => endless_line(port, victim).await,
            Self::IdleConnections => idle_connections(port, victim).await,
            Self::NeverReads => never_reads(port, victim).await,
        }
    }
}

/// Writes as much as the server takes; it may hang up at any time.
async fn send(stream: &mut Stream, bytes: &[u8]) -> bool {
    let sent = tokio::time::timeout(Duration::from_secs(5), stream.write_all(bytes)).await;
    matches!(sent, Ok(Ok(())))
}

/// Hears the server out; true if it hung up.
async fn hear(stream: &mut Stream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match tokio::time::timeout(LISTEN, stream.read(&mut buffer)).await {
            Err(_silent) => return false,
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
        }
    }
}

/// Writes and reads what comes meanwhile, so that only the request costs memory; true if the server hung up.
async fn send_and_hear(stream: &mut Stream, bytes: &[u8]) -> bool {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut buffer = vec![0; 64 << 10];
    let hear = async {
        loop {
            match tokio::time::timeout(Duration::from_secs(1), reader.read(&mut buffer)).await {
                Err(_silent) => return false,
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(_)) => {}
            }
        }
    };
    let (sent, cut) = tokio::join!(writer.write_all(bytes), hear);
    cut || sent.is_err()
}

async fn random_bytes(port: &Port, seed: u64) -> io::Result<String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let sensible = port.sensible_bytes();
    let (mut cut, mut total) = (0, 0);
    for round in 0..200 {
        let mut bytes = vec![0; rng.gen_range(1..if round % 20 == 0 { 1 << 20 } else { 4096 })];
        rng.fill_bytes(&mut bytes);
        match round % 4 {
            0 => {}
            // Text with the marks of RESP, so that the parser gets further.
            1 => bytes
                .iter_mut()
                .for_each(|b| *b = b"*$:+-\r\n0123456789 GETSETAX%~>#,(=!"[usize::from(*b) % 33]),
            // Sensible bytes with some of them changed.
            2 => {
                bytes = sensible.repeat(3);
                for _ in 0..rng.gen_range(1..6) {
                    let at = rng.gen_range(0..bytes.len());
                    bytes[at] = rng.r#gen();
                }
            }
            // A sensible beginning.
            _ => bytes = [&sensible[..rng.gen_range(0..sensible.len())], &bytes].concat(),
        }
        let mut stream = port.open().await?;
        total += bytes.len();
        let sent = send(&mut stream, &bytes).await;
        if !sent || (round % 10 == 0 && hear(&mut stream).await) {
            cut += 1;
        }
    }
    Ok(format!("{total} bytes over 200 connections, {cut} seen cut"))
}

async fn truncated_frames(port: &Port) -> io::Result<String> {
    let bytes = port.sensible_bytes();
    for end in 0..=bytes.len() {
        let mut stream = port.open().await?;
        send(&mut stream, &bytes[..end]).await;
        if end % 16 == 0 {
            // Half closed: the rest will never come.
            let _ = stream.shutdown().await;
            hear(&mut stream).await;
        }
    }
    Ok(format!("cut at {} places", bytes.len() + 1))
}

/// The most that the process behind the port was above `base` while connections are held open.
async fn growth(port: &Port, victim: &Victim, base: u64, during: Duration) -> u64 {
    let end = RealClock.boot().after(during);
    let mut most = 0;
    while RealClock.boot() < end {
        most = most.max(victim.resident_bytes(port).saturating_sub(base));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}

fn within(what: &str, bytes: u64, max: u64) -> io::Result<()> {
    if bytes <= max {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} made resident memory grow by {bytes} bytes, more than {max}")))
}

async fn vast_headers(port: &Port, victim: &Victim) -> io::Result<String> {
    let mut said = Vec::new();
    for header in port.vast_headers() {
        let base = victim.baseline(port);
        let mut streams = Vec::new();
        // Ten at once, and some bytes of what was announced.
        for _ in 0..10 {
            let mut stream = port.open().await?;
            send(&mut stream, &header).await;
            send(&mut stream, &[b'x'; 1000]).await;
            streams.push(stream);
        }
        let grown = growth(port, victim, base, Duration::from_millis(300)).await;
        within(&format!("ten times the header {}", header.escape_ascii()), grown, HEADER_BYTES_MAX)?;
        said.push(format!("{} KiB", grown / 1024));
    }
    Ok(format!("each ten times at once: grown by {}", said.join(", ")))
}

async fn deep_array(port: &Port, victim: &Victim) -> io::Result<String> {
    let mut said = Vec::new();
    // The last two are inline commands: answered a million times with an error, or not at all.
    let answered = NEVER_READING_BYTES_MAX;
    for (unit, max) in [
        (&b"*1\r\n"[..], HEADER_BYTES_MAX),
        (b"*2\r\n", HEADER_BYTES_MAX),
        (b"*0\r\n", HEADER_BYTES_MAX),
        (b"*-1\r\n", HEADER_BYTES_MAX),
        (b"\r\n", HEADER_BYTES_MAX),
        (b"%1\r\n", answered),
    ] {
        let base = victim.baseline(port);
        let mut stream = port.open().await?;
        let cut = send_and_hear(&mut stream, &unit.repeat(1_000_000)).await;
        let grown = growth(port, victim, base, Duration::from_millis(200)).await;
        within(&format!("a million times {}", unit.escape_ascii()), grown, max)?;
        if unit == b"*1\r\n" && !cut {
            return Err(io::Error::other("a million arrays in each other were taken without an error"));
        }
        said.push(format!("{} KiB", grown / 1024));
    }
    Ok(format!("grown by {}", said.join(", ")))
}

async fn endless_line(port: &Port, victim: &Victim) -> io::Result<String> {
    let base = victim.baseline(port);
    let mut sent = 0;
    for begin in [&b"GET "[..], b"*", b"*1\r\n$", b"*1\r\n$3\r\n"] {
        let mut stream = port.open().await?;
        send(&mut stream, begin).await;
        let piece = vec![b'1'; 1 << 20];
        let mut pieces = 0;
        while send(&mut stream, &piece).await {
            pieces += 1;
            if pieces == 64 {
                return Err(io::Error::other(format!(
                    "a line of 64 MiB after {} was taken",
                    begin.escape_ascii()
                )));
            }
        }
        sent += pieces;
    }
    let grown = growth(port, victim, base, Duration::from_millis(200)).await;
    within("an endless line", grown, HEADER_BYTES_MAX)?;
    Ok(format!("{sent} MiB taken before the cuts; grown by {} KiB", grown / 1024))
}

/// As many open files as this process may have.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(1024)
}

async fn idle_connections(port: &Port, victim: &Victim) -> io::Result<String> {
    // Taken before the streams are, so that it is let go after they are closed.
    let _mine = OPEN_FILES.lock().await;
    let count = IDLE_CONNECTIONS.min(raise_open_files().saturating_sub(500));
    if port.speaks == Speaks::Client {
        // Room for those who look on. A server that may not have so many says so.
        let _ = victim.ask(&["CONFIG", "SET", "maxclients", &(count + 200).to_string()]).await;
    }
    let base = victim.baseline(port);
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..count {
        let mut stream = port.open().await?;
        if port.speaks == Speaks::Client {
            // Idle after having been busy: buffers were in use.
            let mut pong = [0; 7];
            let asked = send(&mut stream, b"*1\r\n$4\r\nPING\r\n").await;
            if !asked || stream.read_exact(&mut pong).await.is_err() || &pong != b"+PONG\r\n" {
                refused += 1;
                continue;
            }
        }
        streams.push(stream);
    }
    let grown = growth(port, victim, base, Duration::from_millis(500)).await;
    let each = grown / (streams.len().max(1) as u64);
    within("an idle connection", each, IDLE_BYTES_MAX)?;
    if port.speaks == Speaks::Client && (streams.len() as u64) < count - count / 100 {
        return Err(io::Error::other(format!("only {} of {count} connections were served", streams.len())));
    }
    victim.check(Duration::from_secs(20)).await.map_err(io::Error::other)?;
    let short = if count < IDLE_CONNECTIONS {
        format!(" (the open-file limit allows only {count})")
    } else {
        String::new()
    };
    Ok(format!("{} open{short}, {refused} refused, {each} bytes each", streams.len()))
}

/// Asks for a megabyte again and again and never reads. The server may cut it, or stop reading from it.
async fn never_reads(port: &Port, victim: &Victim) -> io::Result<String> {
    let request = match port.speaks {
        Speaks::Client => {
            let mut connection = victim.connect().await.map_err(io::Error::other)?;
            let set = [b"SET".to_vec(), b"garbage:large".to_vec(), vec![b'v'; 1 << 20]];
            connection.call(&set).await.map_err(io::Error::other)?;
            let mut get = Vec::new();
            encode_command(&["GET", "garbage:large"], &mut get);
            get
        }
        // Pings of HTTP/2, each to be answered.
        Speaks::MetaRaw | Speaks::MetaGreeted => [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"garbage!"].concat(),
        Speaks::PeerRaw | Speaks::PeerGreeted => port.sensible_bytes(),
    };
    let base = victim.baseline(port);
    let mut stream = port.open().await?;
    if port.speaks == Speaks::MetaGreeted {
        send(&mut stream, &port.sensible_bytes()[..33]).await;
    }
    let piece = request.repeat(64);
    let (mut asked, mut most, mut fate) = (0u64, 0, "still served after all requests");
    let end = RealClock.boot().after(Duration::from_secs(20));
    // A request of the client port asks for a megabyte: 2 GiB in all. Elsewhere 64 MiB of requests must do.
    let enough = if port.speaks == Speaks::Client { 2048 } else { (64 << 20) / request.len() as u64 };
    while asked < enough && RealClock.boot() < end {
        match tokio::time::timeout(Duration::from_secs(1), stream.write_all(&piece)).await {
            Ok(Ok(())) => asked += 64,
            Ok(Err(_)) => {
                fate = "cut";
                break;
            }
            Err(_) => {
                fate = "no longer read from";
                break;
            }
        }
        most = most.max(victim.resident_bytes(port).saturating_sub(base));
    }
    most = most.max(growth(port, victim, base, Duration::from_secs(1)).await);
    within("a client that never reads", most, NEVER_READING_BYTES_MAX)?;
    Ok(format!("{fate} after {asked} requests; grown by {} KiB at most", most / 1024))
}
