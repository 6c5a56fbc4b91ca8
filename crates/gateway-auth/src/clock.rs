//! The clock: the only place of the project that asks the system for the time of day.
//!
//! Everybody else takes a [`Clock`] or a [`Timestamp`], so that rules about time are tested without waiting.

use std::time::UNIX_EPOCH;

use gateway_codec::Timestamp;

/// Tells the time of day.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait Clock: Send + Sync {
    /// The present moment. May go back where the system's clock is set back.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the time comes from"
    )]
    fn now(&self) -> Timestamp {
        // A clock before 1970 counts as 1970: every token is then refused as not yet valid.
        let since = std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::default().plus(since)
    }
}

#[cfg(any(test, feature = "test-util"))]
pub use manual::ManualClock;

#[cfg(any(test, feature = "test-util"))]
mod manual {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use gateway_codec::Timestamp;

    use super::Clock;

    /// A clock for tests, which stands until it is moved.
    #[derive(Debug)]
    pub struct ManualClock(AtomicU64);

    impl ManualClock {
        /// A clock that stands at `now`.
        #[must_use]
        pub fn new(now: Timestamp) -> Self {
            Self(AtomicU64::new(now.as_millis()))
        }

        /// Moves it on.
        pub fn advance(&self, by: Duration) {
            let later = self.now().plus(by);
            self.set(later);
        }

        /// Sets it, back too.
        pub fn set(&self, now: Timestamp) {
            self.0.store(now.as_millis(), Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }
    }
}
