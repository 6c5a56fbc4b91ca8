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

/// 128 random bits as 32 hexadecimal digits, for ids.
pub(crate) fn random_id(random: &dyn Random) -> u128 {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    u128::from_be_bytes(bytes)
}
