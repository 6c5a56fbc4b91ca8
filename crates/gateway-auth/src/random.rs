//! Randomness for token ids and refresh tokens, passed in so that tests can foresee it.

/// A source of random bytes.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait Random: Send + Sync {
    /// Fills `bytes`. What it gives must be fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// Where the system has no randomness: a token that can be guessed would be worse than none.
    #[expect(clippy::expect_used, reason = "no secret may be made without randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

#[cfg(any(test, feature = "test-util"))]
pub use seeded::SeededRandom;

#[cfg(any(test, feature = "test-util"))]
mod seeded {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Random;

    /// Bytes that follow from a seed, for tests: SplitMix64 (Steele, Lea, Flood, 2014). Never fit for secrets.
    #[derive(Debug)]
    pub struct SeededRandom(AtomicU64);

    impl SeededRandom {
        /// The sequence of this seed.
        #[must_use]
        pub fn new(seed: u64) -> Self {
            Self(AtomicU64::new(seed))
        }

        /// The sequence's next number.
        pub fn next(&self) -> u64 {
            const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
            let mut z = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    impl Random for SeededRandom {
        fn fill(&self, bytes: &mut [u8]) {
            for chunk in bytes.chunks_mut(8) {
                let number = self.next().to_le_bytes();
                chunk.copy_from_slice(&number[..chunk.len()]);
            }
        }
    }
}

/// 128 random bits as 32 hexadecimal digits, for ids.
pub(crate) fn random_id(random: &dyn Random) -> u128 {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    u128::from_be_bytes(bytes)
}
