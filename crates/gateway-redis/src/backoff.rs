//! How long to wait before a connection is tried again. Kept apart from what is tried: commands and subscriptions do alike.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(1);
/// After a connection that stood and was lost: the server is there, and commands wait.
const LOST_FIRST: Duration = Duration::from_millis(2);
const LOST_LAST: Duration = Duration::from_millis(20);

/// Waits that double, each shortened by up to a half at random, so that the gateways of a cluster do not come back in step:
/// from 50 ms to 1 s while no connection can be made, from 2 to 20 ms while connections are made and lost again.
pub(crate) struct Backoff {
    next: Duration,
    last: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            last: LAST,
        }
    }

    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.last);
        // Every `RandomState` has keys of its own, which is random enough to spread waits.
        let random = RandomState::new().hash_one(full.as_nanos()) % 1_000;
        full - full.mul_f64(random as f64 / 2_000.0)
    }

    /// A connection stood for so long and was lost. One that was lost at once does not begin anew.
    pub(crate) fn lost(&mut self, lasted: Duration) {
        if lasted >= LAST || self.last == LAST {
            (self.next, self.last) = (LOST_FIRST, LOST_LAST);
        }
    }

    /// No connection can be made.
    pub(crate) fn failed(&mut self) {
        if self.last != LAST {
            (self.next, self.last) = (FIRST, LAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_while_no_connection_can_be_made() {
        let mut backoff = Backoff::new();
        assert!(backoff.wait() <= FIRST);
        for _ in 0..10 {
            backoff.failed();
            backoff.wait();
        }
        let wait = backoff.wait();
        assert!(wait <= LAST && wait >= LAST / 2, "{wait:?}");
    }

    #[test]
    fn a_connection_that_was_lost_is_made_again_at_once_and_slower_where_it_does_not_last() {
        let mut backoff = Backoff::new();
        backoff.lost(Duration::from_millis(10));
        assert!(backoff.wait() <= LOST_FIRST);
        for _ in 0..10 {
            backoff.lost(Duration::from_millis(10));
            backoff.wait();
        }
        let wait = backoff.wait();
        assert!(wait <= LOST_LAST && wait >= LOST_LAST / 2, "{wait:?}");
        backoff.lost(LAST);
        assert!(backoff.wait() <= LOST_FIRST);
        backoff.failed();
        assert!(backoff.wait() >= FIRST / 2);
    }
}
