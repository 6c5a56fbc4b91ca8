//! When a lane may connect again. Shared by a lane and its successors, so that a server that closes every connection at
//! once is not connected to in a loop.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// Between the starts of two connections.
const BASE: Duration = Duration::from_millis(20);
const CAP: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Pace(Mutex<Inner>);

struct Inner {
    backoff: Backoff,
    not_before: Instant,
    connected: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            backoff: Backoff::new(BASE, CAP),
            not_before: Instant::now(),
            connected: false,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earliest time for the next connection.
    pub(crate) fn not_before(&self) -> Instant {
        self.inner().not_before
    }

    /// A connection is being made. Gives whether there was one before.
    pub(crate) fn connects(&self) -> bool {
        let mut inner = self.inner();
        inner.not_before = Instant::now() + BASE;
        std::mem::replace(&mut inner.connected, true)
    }

    /// The connection gave a reply.
    pub(crate) fn succeeded(&self) {
        self.inner().backoff.reset();
    }

    /// The connection could not be made, or broke.
    pub(crate) fn failed(&self) {
        let mut inner = self.inner();
        let next = Instant::now() + inner.backoff.step();
        inner.not_before = inner.not_before.max(next);
    }

    /// The server asked for fewer requests (`ENHANCE_YOUR_CALM`): the longest wait.
    pub(crate) fn calm(&self) {
        self.inner().not_before = Instant::now() + CAP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_and_calm_is_kept() {
        let pace = Pace::new();
        let start = Instant::now();
        assert!(pace.not_before() <= start);
        assert!(!pace.connects());
        assert!(pace.not_before() >= start + BASE);
        for _ in 0..10 {
            assert!(pace.connects());
            pace.failed();
        }
        let wait = pace.not_before() - start;
        assert!(wait >= CAP / 2, "{wait:?}");
        pace.succeeded();
        pace.connects();
        pace.failed();
        let wait = pace.not_before() - Instant::now();
        assert!(wait <= BASE, "{wait:?}");
        pace.calm();
        pace.failed();
        let wait = pace.not_before() - start;
        assert!(wait >= CAP, "{wait:?}");
    }
}
