//! Jittered exponential back-off, small on purpose: repeats of commands, reconnects of lanes, health checks.
//!
//! "Equal jitter": half of the step is fixed, the other half random, so that many waiters spread out and none of
//! them comes back at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A growing wait: `base`, twice that, … up to `cap`, jittered.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            attempt: 0,
        }
    }

    /// The next wait.
    pub(crate) fn step(&mut self) -> Duration {
        let wait = jittered(self.base, self.cap, self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    /// Things went well: start from `base` again.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// The wait before repeat number `attempt` (from 0): between half of and the whole of `base * 2^attempt`, at most `cap`.
pub(crate) fn jittered(base: Duration, cap: Duration, attempt: u32) -> Duration {
    let step = base.saturating_mul(1 << attempt.min(16)).min(cap);
    // RandomState gives other keys each time; good enough to spread waits, and no dependency.
    let share = (RandomState::new().hash_one(attempt) % 1024) as u32;
    step / 2 + (step / 2).saturating_mul(share) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_jittered_and_never_pass_the_cap() {
        let (base, cap) = (Duration::from_millis(10), Duration::from_millis(100));
        for attempt in 0..40 {
            let wait = jittered(base, cap, attempt);
            let step = base.saturating_mul(1 << attempt.min(16)).min(cap);
            assert!(wait >= step / 2 && wait <= step, "attempt {attempt}: {wait:?}");
        }
        assert_eq!(jittered(Duration::ZERO, cap, 3), Duration::ZERO);
    }

    #[test]
    fn reset_starts_from_the_base() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        for _ in 0..6 {
            backoff.step();
        }
        assert!(backoff.step() > Duration::from_millis(100));
        backoff.reset();
        assert!(backoff.step() <= Duration::from_millis(10));
    }
}
