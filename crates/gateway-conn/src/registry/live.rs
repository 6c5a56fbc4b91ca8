//! A bound session of this node: its record, its connection, and what of its pushes is under way.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::by_user::OfSession;
use crate::delivery::pending::Lane;
use crate::sharded::lock;
use crate::{SessionLink, SessionRecord};

/// See the module. An idle one costs 64 bytes beside its record.
pub struct Live {
    /// The session as the store knows it.
    pub record: Arc<SessionRecord>,
    /// Its connection.
    pub link: Arc<dyn SessionLink>,
    pub(crate) lane: Mutex<Lane>,
}

impl Live {
    pub(crate) fn new(record: Arc<SessionRecord>, link: Arc<dyn SessionLink>) -> Self {
        Self {
            record,
            link,
            lane: Mutex::default(),
        }
    }

    /// Since when nothing has gone on: no command and no push under way, no message of the client's. `None` while something
    /// does.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        let at_rest = lock(&self.lane).at_rest();
        at_rest.then(|| self.link.quiet_since()).flatten()
    }
}

impl OfSession for Live {
    fn record(&self) -> &SessionRecord {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_stays_small() {
        let counts = 2 * size_of::<usize>();
        // Record and live, each behind its counts, and a slot in three tables that are two thirds full.
        let tables = 3 * (8 + 1) * 3 / 2;
        let total = size_of::<Live>() + size_of::<SessionRecord>() + 2 * counts + tables;
        assert!(size_of::<Live>() <= 48, "live: {}", size_of::<Live>());
        assert!(total <= 200, "in all: {total}");
    }
}
