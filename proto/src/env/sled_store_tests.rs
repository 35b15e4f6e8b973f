//! What sled must do for us on a real folder: hold large values, and open, or refuse, after damage.

use super::disk::{Op, Store};
use super::sled_store::SledStore;
use std::path::Path;

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir).expect("a whole store opens")
}

fn value(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + seed) as u8).collect()
}

#[test]
fn values_of_every_size_read_back_and_leave_no_file_that_the_flush_does_not_cover() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sizes = [0, 1, 4095, 4096, 4097, 300_000, 3_000_000];
    {
        let store = open(dir.path());
        for (n, size) in sizes.into_iter().enumerate() {
            store.write(vec![Op::Put(vec![b'v', n as u8], value(n, size))]).expect("room");
        }
        // A value that shrinks leaves no parts behind.
        store.write(vec![Op::Put(b"s".to_vec(), value(1, 90_000))]).expect("room");
        store.write(vec![Op::Put(b"s".to_vec(), value(2, 10))]).expect("room");
        store.flush().expect("a disk that works");
    }
    let store = open(dir.path());
    for (n, size) in sizes.into_iter().enumerate() {
        assert_eq!(store.get(&[b'v', n as u8]).expect("readable"), Some(value(n, size)), "{size} bytes");
    }
    assert_eq!(store.get(b"s").expect("readable"), Some(value(2, 10)));
    let all = store.scan(b"", b"\xff", 100).expect("readable");
    assert_eq!(all.len(), sizes.len() + 1);
    assert_eq!(store.last(b"v", b"w").expect("readable").map(|(key, _)| key), Some(vec![b'v', 6]));
    let blobs = std::fs::read_dir(dir.path().join("blobs")).expect("sled makes it").count();
    assert_eq!(blobs, 0, "sled wrote files that fdatasync of `db` does not cover");
}

#[test]
fn damaged_index_files_are_moved_aside_and_the_store_opens_complete() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    {
        let store = open(dir.path());
        for n in 0..2000u32 {
            store.write(vec![Op::Put(n.to_be_bytes().to_vec(), value(n as usize, 500))]).expect("room");
        }
        store.flush().expect("a disk that works");
    }
    drop(open(dir.path()));
    let index: Vec<_> = std::fs::read_dir(dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")))
        .collect();
    assert!(!index.is_empty(), "sled made no index file: this test tests nothing");
    for path in &index {
        std::fs::write(path, b"").expect("writable");
    }
    let store = open(dir.path());
    assert_eq!(store.scan(b"", b"\xff", 10_000).expect("readable").len(), 2000);
    assert!(dir.path().join("aside").exists());
}

#[test]
fn a_store_cut_short_is_refused_with_the_way_out_or_opens_with_a_prefix_but_never_panics() {
    let whole = tempfile::tempdir().expect("a temporary folder");
    {
        let store = open(whole.path());
        for n in 0..3000u32 {
            store.write(vec![Op::Put(n.to_be_bytes().to_vec(), value(n as usize, 700))]).expect("room");
        }
        store.flush().expect("a disk that works");
    }
    // Opened once more, the store has an index up to its end, which shows what is cut off.
    drop(open(whole.path()));
    let bytes = std::fs::read(whole.path().join("db")).expect("readable");
    let mut refused = 0;
    for cut in [1, 37_000, 130_000, 400_001, 740_000, bytes.len() - 1] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for entry in std::fs::read_dir(whole.path()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                std::fs::copy(&path, dir.path().join(path.file_name().expect("named"))).expect("room");
            }
        }
        std::fs::write(dir.path().join("db"), &bytes[..bytes.len() - cut]).expect("room");
        match SledStore::open(dir.path()) {
            Ok(store) => {
                // Whatever it holds is a prefix of what was written, in order: nothing was guessed.
                let pairs = store.scan(b"", b"\xff", 10_000).expect("readable");
                for (n, (key, held)) in pairs.iter().enumerate() {
                    assert_eq!((&key[..], held), (&(n as u32).to_be_bytes()[..], &value(n, 700)));
                }
            }
            Err(error) => {
                assert!(error.to_string().contains("rejoin with a new id"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no cut was refused: this test tests nothing");
}
