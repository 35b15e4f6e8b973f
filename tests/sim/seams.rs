//! The simulated sides of the seams: a net inside turmoil, clocks that run at rates of their own, seeded chance, and a
//! disk that can be moved from one machine to another.

use capstan_proto::env::{
    Boot, BoxFuture, Clock, Disk, Env, FolderLock, Listener, MemDisk, Net, Random, Store, Stream, UnixMs,
};
use capstan_proto::rules::Rules;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds of virtual time since the run began; the driver moves it, tick by tick.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now(Arc<AtomicU64>);

impl Now {
    /// The present.
    pub(crate) fn nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The present in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        self.nanos() / 1_000_000
    }

    /// It is so late now.
    pub(crate) fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// One machine's clocks.
struct SimClock {
    now: Now,
    /// Parts per million that this clock runs too fast.
    drift_ppm: i64,
    /// What it showed when the run began.
    begin: u64,
}

impl Clock for SimClock {
    fn boot(&self) -> Boot {
        let now = i128::from(self.now.nanos());
        let shown = now + now * i128::from(self.drift_ppm) / 1_000_000;
        Boot(self.begin + u64::try_from(shown).unwrap_or(0))
    }

    fn wall(&self) -> UnixMs {
        UnixMs(1_700_000_000_000 + self.boot().0.saturating_sub(self.begin) / 1_000_000)
    }
}

struct SimRandom(Mutex<SmallRng>);

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill_bytes(bytes);
    }
}

/// Connections between simulated machines. Names are machines; ports are as real ones.
struct SimNet;

impl Net for SimNet {
    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = turmoil::net::TcpStream::connect(to).await?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn listen<'a>(&'a self, at: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let port = at.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, at.to_owned()))?;
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", port)).await?;
            Ok(Box::new(SimListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct SimListener(turmoil::net::TcpListener);

impl Listener for SimListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as Stream, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A disk as one machine sees it: the files are the disk's, but who the machine is stands on the machine.
struct SimDisk {
    disk: MemDisk,
    machine: String,
    /// How often the machine was switched on.
    boot: u64,
}

impl Disk for SimDisk {
    fn inline(&self) -> bool {
        true
    }

    fn open_store(&self, dir: &Path) -> io::Result<Arc<dyn Store>> {
        self.disk.open_store(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match path.to_str() {
            Some("/etc/machine-id") => Ok(Some(self.machine.clone().into_bytes())),
            Some("/proc/sys/kernel/random/boot_id") => {
                Ok(Some(format!("boot {} of {}", self.boot, self.machine).into_bytes()))
            }
            Some(_) | None => self.disk.read(path),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.replace(path, bytes)
    }

    fn lock_folder(&self, dir: &Path) -> io::Result<Arc<dyn FolderLock>> {
        self.disk.lock_folder(dir)
    }
}

/// A machine: its clock and its chance. Its disk can change.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// As the net calls it.
    pub(crate) name: String,
    /// Parts per million that its clock runs too fast.
    pub(crate) drift_ppm: i64,
    /// Of its chance.
    pub(crate) seed: u64,
    /// How often it was switched on: a boot proves nothing about the lives before it (►13).
    pub(crate) boots: Arc<AtomicU64>,
}

impl Machine {
    /// What a process on this machine touches the world through; `life` counts the processes, each of which draws
    /// other numbers.
    pub(crate) fn env(&self, now: &Now, disk: &MemDisk, life: u64, rules: Rules) -> Env {
        let begin = 1_000_000_000 * (1 + self.seed % 1_000_000);
        let random = SmallRng::seed_from_u64(self.seed ^ life.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Env {
            net: Arc::new(SimNet),
            disk: Arc::new(SimDisk {
                disk: disk.clone(),
                machine: self.name.clone(),
                boot: self.boots.load(Ordering::Relaxed),
            }),
            clock: Arc::new(SimClock { now: now.clone(), drift_ppm: self.drift_ppm, begin }),
            random: Arc::new(SimRandom(Mutex::new(random))),
            rules,
        }
    }
}
