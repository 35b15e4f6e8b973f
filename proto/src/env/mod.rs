//! The seams between the servers and the world: net, disk, clock, random. One `Env` value carries all four.
//!
//! Each has a real side here and a simulated side in `tests/sim`. Pure files never see an `Env`: they take the time
//! and the random numbers that they need as arguments. The client port of a node is not behind the net seam: it is
//! the hot path and speaks to tokio's sockets directly.
//!
//! A simulation replays from its seed only if nothing draws from elsewhere. tokio's `select!` does, unless it is
//! `biased`: so every one on the control path is (`tests/sim` looks).

mod clock;
mod disk;
mod faulty_store;
mod mem_store;
mod net;
mod random;
mod sled_store;
#[cfg(test)]
mod sled_store_tests;

pub use clock::{Boot, Clock, RealClock, UnixMs};
pub use disk::{Disk, FolderLock, Op, Pace, Pair, RealDisk, Store};
pub use faulty_store::{Fault, FaultyStore};
pub use mem_store::{MemDisk, MemStore};
pub use net::{Io, Listener, Net, RealNet, Stream};
pub use random::{Random, RealRandom};

use crate::rules::Rules;
use std::pin::Pin;
use std::sync::Arc;

/// A future behind a seam.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything through which a server touches the world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Connections to meta servers and peers.
    pub net: Arc<dyn Net>,
    /// Folders, files and the meta servers' store.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The numbered rules in force: all of them, unless a simulation shows what breaks without one.
    pub rules: Rules,
}

impl Env {
    /// Makes a call of the disk seam where it may wait: off the async workers, unless the disk never waits.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Disk) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        if self.disk.inline() {
            return call(&*self.disk);
        }
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || call(&*disk)).await {
            Ok(result) => result,
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    /// The machine that this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self {
            net: Arc::new(RealNet),
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock),
            random: Arc::new(RealRandom),
            rules: Rules::ALL,
        }
    }
}
