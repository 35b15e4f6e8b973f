//! The hash of keys inside their slot's table: foldhash, seeded per process so that nobody can choose colliding keys.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use std::hash::{BuildHasher, Hasher as _};

/// Hashes keys. Cheap to copy.
#[derive(Clone)]
pub struct Hasher(SeedableRandomState);

impl Hasher {
    /// A hasher that depends on a random seed. One is made per process: the seed stays for its life.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let shared: &'static SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(seed)));
        Self(SeedableRandomState::with_seed(seed.rotate_left(32), shared))
    }

    /// The hash of a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(seeded)")
    }
}
