//! sled behind the [`Store`] seam, made durable: sled's own flush never reaches the drive's cache (CRATES 2).

use super::disk::{Op, Pair, Store};
use std::fs::File;
use std::io;
use std::path::Path;

/// One sled tree in a folder, with the descriptor through which its file is synced.
pub(super) struct SledStore {
    db: sled::Db,
    file: File,
}

impl SledStore {
    /// Opens, or makes, the store. A store that cannot be read whole is refused.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let config = sled::Config::new().path(dir).cache_capacity(32 << 20).flush_every_ms(None);
        let db = config.open().map_err(broken)?;
        let file = File::open(dir.join("db"))?;
        File::open(dir)?.sync_all()?;
        Ok(Self { db, file })
    }
}

fn broken(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.db.get(key).map_err(broken)?.map(|v| v.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Pair>> {
        let pairs = self.db.range(from..to).take(limit);
        pairs.map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(broken)).collect()
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<Pair>> {
        let last = self.db.range(from..to).next_back().transpose().map_err(broken)?;
        Ok(last.map(|(k, v)| (k.to_vec(), v.to_vec())))
    }

    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for op in ops {
            match op {
                Op::Put(key, value) => batch.insert(key, value),
                Op::Del(key) => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(broken)
    }

    fn flush(&self) -> io::Result<()> {
        self.db.flush().map_err(broken)?;
        self.file.sync_data()
    }
}
