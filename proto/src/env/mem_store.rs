//! A disk in memory, for tests and for the simulation: files, locks and stores that outlive the server which uses
//! them, and that forget what was not flushed when the simulated machine fails.

use super::disk::{Disk, FolderLock, Op, Pace, Pair, Store};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct Contents {
    live: Map,
    /// What happened since the last flush, oldest first: undone by a power loss.
    unflushed: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// An ordered map with the promises of a [`Store`]. Clones are the same store.
#[derive(Clone)]
pub struct MemStore {
    contents: Arc<Mutex<Contents>>,
    flush_takes: Duration,
}

impl MemStore {
    /// An empty one, whose flush takes no time.
    #[must_use]
    pub fn new() -> Self {
        Self::with_flush(Duration::ZERO)
    }

    /// An empty one, whose flush takes so much (virtual) time.
    #[must_use]
    pub fn with_flush(flush_takes: Duration) -> Self {
        Self { contents: Arc::default(), flush_takes }
    }

    /// The power failed: what was written after the last flush is gone.
    pub fn lose_unflushed(&self) {
        let mut contents = self.contents.lock();
        let undo = std::mem::take(&mut contents.unflushed);
        for (key, before) in undo.into_iter().rev() {
            match before {
                Some(value) => drop(contents.live.insert(key, value)),
                None => drop(contents.live.remove(&key)),
            }
        }
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

/// `from..to`, empty where a range of a `BTreeMap` would panic.
fn bounds<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to.max(from)))
}

impl Store for MemStore {
    fn pace(&self) -> Pace {
        Pace::Inline(self.flush_takes)
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.contents.lock().live.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Pair>> {
        let contents = self.contents.lock();
        let pairs = contents.live.range::<[u8], _>(bounds(from, to)).take(limit);
        Ok(pairs.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<Pair>> {
        let contents = self.contents.lock();
        let last = contents.live.range::<[u8], _>(bounds(from, to)).next_back();
        Ok(last.map(|(k, v)| (k.clone(), v.clone())))
    }

    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let mut contents = self.contents.lock();
        for op in ops {
            let (key, before) = match op {
                Op::Put(key, value) => (key.clone(), contents.live.insert(key, value)),
                Op::Del(key) => {
                    let before = contents.live.remove(&key);
                    (key, before)
                }
            };
            contents.unflushed.push((key, before));
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.contents.lock().unflushed.clear();
        Ok(())
    }
}

#[derive(Default)]
struct Folders {
    files: BTreeMap<PathBuf, Vec<u8>>,
    stores: BTreeMap<PathBuf, MemStore>,
    /// Who holds a folder's lock: the number of the taking.
    locked: BTreeMap<PathBuf, u64>,
    takings: u64,
    inodes: BTreeMap<PathBuf, u64>,
}

/// A machine's disk in memory. Clones are the same disk: keep one to look at it, or to fail its power.
#[derive(Clone, Default)]
pub struct MemDisk {
    folders: Arc<Mutex<Folders>>,
    flush_takes: Duration,
}

impl MemDisk {
    /// An empty disk, whose stores need so much (virtual) time for a flush.
    #[must_use]
    pub fn new(flush_takes: Duration) -> Self {
        Self { folders: Arc::default(), flush_takes }
    }

    /// The power failed: every store forgets what was not flushed, every lock is free.
    pub fn lose_power(&self) {
        let mut folders = self.folders.lock();
        folders.stores.values().for_each(MemStore::lose_unflushed);
        folders.locked.clear();
    }

    /// A folder and everything in it is gone.
    pub fn lose_folder(&self, dir: &Path) {
        let mut folders = self.folders.lock();
        folders.files.retain(|path, _| !path.starts_with(dir));
        folders.stores.retain(|path, _| !path.starts_with(dir));
        folders.locked.retain(|path, _| !path.starts_with(dir));
        folders.inodes.retain(|path, _| !path.starts_with(dir));
    }
}

struct MemLock {
    folders: Arc<Mutex<Folders>>,
    dir: PathBuf,
    taking: u64,
    inode: (u64, u64),
}

impl FolderLock for MemLock {
    fn inode(&self) -> (u64, u64) {
        self.inode
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut folders = self.folders.lock();
        // After a power loss another server may hold it already.
        if folders.locked.get(&self.dir) == Some(&self.taking) {
            folders.locked.remove(&self.dir);
        }
    }
}

impl Disk for MemDisk {
    fn inline(&self) -> bool {
        true
    }

    fn open_store(&self, dir: &Path) -> io::Result<Arc<dyn Store>> {
        let flush_takes = self.flush_takes;
        let mut folders = self.folders.lock();
        let store = folders.stores.entry(dir.to_owned()).or_insert_with(|| MemStore::with_flush(flush_takes));
        Ok(Arc::new(store.clone()))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.folders.lock().files.get(path).cloned())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.folders.lock().files.insert(path.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn lock_folder(&self, dir: &Path) -> io::Result<Arc<dyn FolderLock>> {
        let mut folders = self.folders.lock();
        if folders.locked.contains_key(dir) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another server holds this folder"));
        }
        folders.takings += 1;
        let taking = folders.takings;
        folders.locked.insert(dir.to_owned(), taking);
        let next = folders.inodes.len() as u64 + 1;
        let inode = (0, *folders.inodes.entry(dir.to_owned()).or_insert(next));
        drop(folders);
        Ok(Arc::new(MemLock { folders: Arc::clone(&self.folders), dir: dir.to_owned(), taking, inode }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put(key.into(), value.into())
    }

    #[test]
    fn a_power_loss_undoes_exactly_what_was_not_flushed() {
        let store = MemStore::new();
        store.write(vec![put("a", "1"), put("b", "1")]).expect("memory");
        store.flush().expect("memory");
        store.write(vec![put("a", "2"), Op::Del(b"b".to_vec()), put("c", "2")]).expect("memory");
        store.lose_unflushed();
        let all = store.scan(b"", b"z", 9).expect("memory");
        assert_eq!(all, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
    }

    #[test]
    fn a_range_that_runs_backwards_is_empty() {
        let store = MemStore::new();
        store.write(vec![put("b", "1")]).expect("memory");
        assert_eq!(store.scan(b"z", b"a", 9).expect("memory"), []);
        assert_eq!(store.last(b"z", b"a").expect("memory"), None);
    }

    #[test]
    fn a_folder_is_locked_once_until_its_holder_lets_go() {
        let disk = MemDisk::default();
        let dir = Path::new("/meta-1");
        let lock = disk.lock_folder(dir).expect("free");
        let second = disk.lock_folder(dir).err().map(|e| e.kind());
        assert_eq!(second, Some(io::ErrorKind::WouldBlock));
        let inode = lock.inode();
        drop(lock);
        assert_eq!(disk.lock_folder(dir).expect("free again").inode(), inode);
    }
}
