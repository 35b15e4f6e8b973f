//! Chance: ids, tokens, nonces, seeds. A simulation hands out a seeded stream instead.

/// A source of random bytes.
pub trait Random: Send + Sync + 'static {
    /// Fills a buffer.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The kernel's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRandom;

impl Random for RealRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) fails only on kernels without the call or inside a broken sandbox: nothing here could go on
        // safely with predictable tokens, so this is one of the few places that may stop the process.
        #[allow(clippy::expect_used)]
        getrandom::fill(bytes).expect("the kernel gives no random numbers (getrandom failed)");
    }
}
