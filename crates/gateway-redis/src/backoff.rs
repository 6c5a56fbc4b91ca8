//! How long to wait before a connection is tried again. Kept apart from what is tried: commands and subscriptions do alike.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(1);

/// Waits that double from 50 ms to 1 s, each shortened by up to a half at random, so that the gateways of a cluster do not
/// come back in step.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LAST);
        // Every `RandomState` has keys of its own, which is random enough to spread waits.
        let random = RandomState::new().hash_one(full.as_nanos()) % 1_000;
        full - full.mul_f64(random as f64 / 2_000.0)
    }

    /// After a connection that lasted so long: one that was lost at once does not begin anew.
    pub(crate) fn stood(&mut self, lasted: Duration) {
        if lasted >= LAST {
            self.next = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_begin_anew_after_a_connection_that_lasted() {
        let mut backoff = Backoff::new();
        assert!(backoff.wait() <= FIRST);
        for _ in 0..10 {
            backoff.wait();
        }
        let wait = backoff.wait();
        assert!(wait <= LAST && wait >= LAST / 2, "{wait:?}");
        backoff.stood(Duration::from_millis(10));
        assert!(backoff.wait() >= LAST / 2);
        backoff.stood(LAST);
        assert!(backoff.wait() <= FIRST);
    }
}
