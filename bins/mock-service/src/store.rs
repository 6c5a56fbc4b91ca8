//! What the five services remember, in memory and bounded.
//!
//! One [`Store`] serves all services of a process. Each part has its own lock, held for a few lines and never
//! across an await; parts do not know each other, the rules in `services` join them. A process that ends
//! forgets everything: this is a stand-in for real back ends, not a database.

pub(crate) mod accounts;
pub(crate) mod friends;
pub(crate) mod groups;
pub(crate) mod messages;
pub(crate) mod offline;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Everything the services share.
pub(crate) struct Store {
    pub(crate) ids: Ids,
    pub(crate) accounts: accounts::Accounts,
    pub(crate) messages: messages::Messages,
    pub(crate) offline: offline::OfflineBoxes,
    pub(crate) friends: friends::Friends,
    pub(crate) groups: groups::Groups,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            ids: Ids::default(),
            accounts: accounts::Accounts::default(),
            messages: messages::Messages::default(),
            offline: offline::OfflineBoxes::default(),
            friends: friends::Friends::default(),
            groups: groups::Groups::default(),
        }
    }
}

/// Numbers for messages, groups and requests: rising, unique across restarts (they start from the clock) and
/// below 2^53 until the year 2248, because browsers read them as doubles.
#[derive(Default)]
pub(crate) struct Ids {
    last: AtomicU64,
}

impl Ids {
    /// Room for this many ids per millisecond before the numbers run ahead of the clock.
    const PER_MILLISECOND: u64 = 1 << 10;

    /// The next number; `now` is Unix time in milliseconds.
    pub(crate) fn next(&self, now: u64) -> u64 {
        let floor = now.saturating_mul(Self::PER_MILLISECOND);
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = floor.max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(seen) => last = seen,
            }
        }
    }
}

/// Takes a lock that a panicking holder cannot spoil: no store leaves its data half changed between two lines
/// that can panic.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which stretch of a conversation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// Only what is newer than this (Unix milliseconds); 0 asks for the newest page.
    pub(crate) since: u64,
    /// Only what is older than this (Unix milliseconds).
    pub(crate) before: u64,
    /// At most this many.
    pub(crate) limit: usize,
}

impl Page {
    /// The most that one page may hold.
    pub(crate) const MOST: usize = 1_000;
    const DEFAULT: usize = 50;

    /// Clamps what a client asked for: no limit is 50, the most is 1,000; a `before` of 0 is the end of time.
    pub(crate) fn clamped(since: i64, before: i64, limit: i64) -> Self {
        let limit = match usize::try_from(limit) {
            Ok(0) | Err(_) => Self::DEFAULT,
            Ok(limit) => limit.min(Self::MOST),
        };
        let before = u64::try_from(before)
            .ok()
            .filter(|before| *before > 0)
            .unwrap_or(u64::MAX);
        Self {
            since: u64::try_from(since).unwrap_or(0),
            before,
            limit,
        }
    }
}

/// How long a duration is in whole milliseconds, for answers that name one.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_steps_back() {
        let ids = Ids::default();
        let first = ids.next(1_800_000_000_000);
        let second = ids.next(1_800_000_000_000);
        let third = ids.next(1_000);
        assert!(first < second && second < third);
        assert!(third < 1 << 53);
    }

    #[test]
    fn a_page_is_clamped_to_the_contract_limits() {
        assert_eq!(
            Page::clamped(0, 0, 0),
            Page {
                since: 0,
                before: u64::MAX,
                limit: 50
            }
        );
        assert_eq!(Page::clamped(-1, -1, -5).limit, 50);
        assert_eq!(Page::clamped(0, 0, 100_000).limit, 1_000);
    }
}
