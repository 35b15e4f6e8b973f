//! sled behind the [`Store`] seam, made durable and hardened (CRATES 2).
//!
//! Three things that sled 0.34 does not do by itself are decided here:
//!
//! * **Durable**: sled's own flush never reaches the drive's cache, so every flush ends with an `fdatasync` of the
//!   one file `db`. sled writes pages above 128 KiB to files of their own, which that would not cover; so a value is
//!   cut into parts of at most [`PART`] bytes, and no page (at most 20 entries) ever grows so large.
//! * **Openable**: the files `snap.*` are an index over `db` only. One that fails its own checksum is moved aside and
//!   sled rebuilds it. A good one stays where it is: it is what shows that `db` was cut short, and without it sled
//!   would open a shorter past without a word.
//! * **Refused clearly**: whatever else is damaged refuses to open, with the way out in the message; a panic inside
//!   sled on a damaged file is such a refusal, too (I12). Nothing is ever guessed at: the group is the backup.
//!
//! Layout of the tree, part of the format: `f` is the format number. `k` + key holds `0` + the value, or `1` + the
//! number of parts (u32 BE); `p` + key length (u32 BE) + key + part number (u32 BE) holds a part.

use super::disk::{Op, Pace, Pair, Store};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 20 entries of a page times this, with their keys, stay below sled's 128 KiB.
const PART: usize = 4 << 10;
const FORMAT: u8 = 1;
const FORMAT_KEY: &[u8] = b"f";
const INLINE: u8 = 0;
const PARTED: u8 = 1;
const CACHE_BYTES: u64 = 32 << 20;
/// A store that somebody still holds is looked at again so often, so many times: for two seconds.
const LET_GO_LOOK_EVERY: Duration = Duration::from_millis(10);
const LET_GO_LOOKS: u32 = 200;

/// One sled tree in a folder, with the descriptor through which its file is synced.
pub(super) struct SledStore {
    db: sled::Db,
    file: File,
}

impl SledStore {
    /// Opens, or makes, the store. A store that cannot be read whole is refused.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let db = match open_when_let_go(dir) {
            Ok(db) => db,
            Err(Refusal::Io(error)) => return Err(error),
            Err(Refusal::Damaged(first)) => {
                if !set_index_aside(dir)? {
                    return Err(refuse(dir, &first));
                }
                tracing::warn!(dir = %dir.display(), cause = %first, "rebuilding the store's index files");
                open_once(dir).map_err(|again| match again {
                    Refusal::Io(error) => error,
                    Refusal::Damaged(why) => refuse(dir, &why),
                })?
            }
        };
        check_format(dir, &db)?;
        let file = File::open(dir.join("db"))?;
        file.sync_data()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { db, file })
    }

    /// How many parts the present value of a key has outside its own entry.
    fn parts(&self, key: &[u8]) -> io::Result<u32> {
        match self.db.get(main_key(key)).map_err(broken)? {
            Some(head) => Ok(read_head(&head)?.err().unwrap_or(0)),
            None => Ok(0),
        }
    }

    fn value(&self, key: &[u8], head: &[u8]) -> io::Result<Vec<u8>> {
        let parts = match read_head(head)? {
            Ok(value) => return Ok(value.to_vec()),
            Err(parts) => parts,
        };
        let mut value = Vec::new();
        for part in 0..parts {
            let bytes = self.db.get(part_key(key, part)).map_err(broken)?;
            value.extend_from_slice(&bytes.ok_or_else(|| damaged("a part of a value is missing"))?);
        }
        Ok(value)
    }

    fn pair(&self, entry: sled::Result<(sled::IVec, sled::IVec)>) -> io::Result<Pair> {
        let (key, head) = entry.map_err(broken)?;
        let key = key.get(1..).unwrap_or_default().to_vec();
        let value = self.value(&key, &head)?;
        Ok((key, value))
    }
}

enum Refusal {
    Io(io::Error),
    Damaged(String),
}

/// sled lets go of its file on a thread of its own, a moment after the last handle of a store was dropped: a store that
/// was closed and is opened again at once would find it locked.
fn open_when_let_go(dir: &Path) -> Result<sled::Db, Refusal> {
    let held = |error: &io::Error| error.to_string().contains("could not acquire lock");
    for _ in 0..LET_GO_LOOKS {
        match open_once(dir) {
            Err(Refusal::Io(error)) if held(&error) => std::thread::park_timeout(LET_GO_LOOK_EVERY),
            opened => return opened,
        }
    }
    open_once(dir)
}

fn open_once(dir: &Path) -> Result<sled::Db, Refusal> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    // Every entry is read once: sled looks at most pages only when they are asked for.
    let open_and_read = || {
        let db = config.open()?;
        db.iter().try_for_each(|entry| entry.map(drop))?;
        Ok(db)
    };
    match crate::panics::contain(open_and_read) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(Refusal::Io(error))
        }
        Ok(Err(error)) => Err(Refusal::Damaged(error.to_string())),
        Err(_) => Err(Refusal::Damaged("the store's reader stopped at bytes that cannot be".to_owned())),
    }
}

/// Moves index files that are damaged themselves out of the way; false if there are none.
fn set_index_aside(dir: &Path) -> io::Result<bool> {
    let mut damaged = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_index = entry.file_name().to_string_lossy().starts_with("snap.");
        if is_index && !index_is_whole(&std::fs::read(entry.path())?) {
            damaged.push(entry.path());
        }
    }
    if damaged.is_empty() {
        return Ok(false);
    }
    let aside = dir.join("aside");
    std::fs::create_dir_all(&aside)?;
    for path in &damaged {
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        std::fs::rename(path, aside.join(name))?;
    }
    File::open(dir)?.sync_all()?;
    Ok(true)
}

/// An index file is: contents, their length (8 bytes), their CRC-32 (4 bytes, little endian).
fn index_is_whole(file: &[u8]) -> bool {
    let Some(end) = file.len().checked_sub(12).filter(|end| *end > 0) else { return false };
    let (contents, tail) = file.split_at(end);
    tail.get(8..) == Some(&crc32(contents).to_le_bytes()[..])
}

/// CRC-32 (IEEE) bit by bit: used once, on a file that did not open.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn refuse(dir: &Path, why: &str) -> io::Error {
    damaged(&format!(
        "the store in {} cannot be read: {why}. Nothing was changed in it. The other servers of the group hold all \
         of it: remove this server, rejoin with a new id (an empty --dir, then `capstan meta members replace`)",
        dir.display()
    ))
}

fn check_format(dir: &Path, db: &sled::Db) -> io::Result<()> {
    match db.get(FORMAT_KEY).map_err(broken)?.as_deref() {
        Some([FORMAT]) => Ok(()),
        Some(other) => Err(refuse(dir, &format!("format {other:?}, this program reads {FORMAT}"))),
        None if db.is_empty() => db.insert(FORMAT_KEY, &[FORMAT]).map(drop).map_err(broken),
        None => Err(refuse(dir, "it has entries but no format number")),
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn broken(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => damaged(&other.to_string()),
    }
}

/// The value itself, or the number of its parts.
fn read_head(head: &[u8]) -> io::Result<Result<&[u8], u32>> {
    match head.split_first() {
        Some((&INLINE, value)) => Ok(Ok(value)),
        Some((&PARTED, count)) => match count.try_into() {
            Ok(count) => Ok(Err(u32::from_be_bytes(count))),
            Err(_) => Err(damaged("an entry that does not say how many parts it has")),
        },
        _ => Err(damaged("an entry without a known mark")),
    }
}

fn main_key(key: &[u8]) -> Vec<u8> {
    [b"k", key].concat()
}

fn part_key(key: &[u8], part: u32) -> Vec<u8> {
    [b"p".as_slice(), &(key.len() as u32).to_be_bytes(), key, &part.to_be_bytes()].concat()
}

impl Store for SledStore {
    fn pace(&self) -> Pace {
        Pace::Blocking
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let head = self.db.get(main_key(key)).map_err(broken)?;
        head.map(|head| self.value(key, &head)).transpose()
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Pair>> {
        self.db.range(main_key(from)..main_key(to)).take(limit).map(|entry| self.pair(entry)).collect()
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<Pair>> {
        self.db.range(main_key(from)..main_key(to)).next_back().map(|entry| self.pair(entry)).transpose()
    }

    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for op in ops {
            let (key, value) = match op {
                Op::Put(key, value) => (key, Some(value)),
                Op::Del(key) => (key, None),
            };
            for part in 0..self.parts(&key)? {
                batch.remove(part_key(&key, part));
            }
            match value {
                None => batch.remove(main_key(&key)),
                Some(value) if value.len() <= PART => {
                    batch.insert(main_key(&key), [&[INLINE], &value[..]].concat())
                }
                Some(value) => {
                    let parts = value.chunks(PART);
                    let count = (parts.len() as u32).to_be_bytes();
                    batch.insert(main_key(&key), [&[PARTED], &count[..]].concat());
                    (0..).zip(parts).for_each(|(n, part)| batch.insert(part_key(&key, n), part));
                }
            }
        }
        self.db.apply_batch(batch).map_err(broken)
    }

    fn flush(&self) -> io::Result<()> {
        self.db.flush().map_err(broken)?;
        self.file.sync_data()
    }
}
