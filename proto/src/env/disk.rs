//! Folders and files, and the ordered store in which a meta server keeps its Raft log.
//!
//! Calls block: a shell makes them from `spawn_blocking` or from a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One change of a [`Store`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; nothing happens if it is not there.
    Del(Vec<u8>),
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// How a [`Store`] wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Calls may wait for the medium: make them on a thread of their own, never on an async worker.
    Blocking,
    /// Calls return at once. A flush takes this long: the caller lets so much (virtual) time pass before it calls
    /// [`Store::flush`]. No thread is needed, so that a simulation stays deterministic.
    Inline(Duration),
}

/// An ordered store of byte strings with atomic batches. sled is the real one; a simulation keeps a map.
pub trait Store: Send + Sync + 'static {
    /// How it wants to be called.
    fn pace(&self) -> Pace;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
    /// The pairs with `from <= key < to`, in order, at most `limit` of them.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Pair>>;
    /// The last pair with `from <= key < to`.
    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<Pair>>;
    /// Applies all or none; visible on return, not yet durable.
    fn write(&self, ops: Vec<Op>) -> io::Result<()>;
    /// Returns when everything written before is on the medium, the drive's cache included.
    fn flush(&self) -> io::Result<()>;
}

/// Held for as long as a server owns its folder; given up when dropped or when the process ends.
pub trait FolderLock: Send + Sync + 'static {
    /// The folder's identity: device and inode, part of the proof of death (►13).
    fn inode(&self) -> (u64, u64);
}

/// Folders and small files.
pub trait Disk: Send + Sync + 'static {
    /// Whether calls return at once, so that no thread of their own is needed (and a simulation has none).
    fn inline(&self) -> bool {
        false
    }
    /// Opens, or makes, the ordered store in a folder.
    fn open_store(&self, dir: &Path) -> io::Result<Arc<dyn Store>>;
    /// All of a file, or nothing if there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a file in one step: after a crash the old or the new content is there, never a part.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes a folder if need be and takes its lock; `WouldBlock` if another process holds it.
    fn lock_folder(&self, dir: &Path) -> io::Result<Arc<dyn FolderLock>>;
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealLock {
    file: File,
    inode: (u64, u64),
}

impl FolderLock for RealLock {
    fn inode(&self) -> (u64, u64) {
        self.inode
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing would do; unlocking first also frees it if a child inherited the descriptor.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

impl Disk for RealDisk {
    fn open_store(&self, dir: &Path) -> io::Result<Arc<dyn Store>> {
        std::fs::create_dir_all(dir)?;
        Ok(Arc::new(super::sled_store::SledStore::open(dir)?))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map(|_| Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&fresh, path)?;
        File::open(dir)?.sync_all()
    }

    fn lock_folder(&self, dir: &Path) -> io::Result<Arc<dyn FolderLock>> {
        use std::os::unix::fs::MetadataExt;
        std::fs::create_dir_all(dir)?;
        let meta = std::fs::metadata(dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("lock"))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Arc::new(RealLock { file, inode: (meta.dev(), meta.ino()) }))
    }
}
