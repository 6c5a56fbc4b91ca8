//! One push to every session of this node: queued and forgotten.

use std::collections::VecDeque;
use std::sync::Arc;

use gateway_codec::{EncodedPush, PushBody, Timestamp};
use tokio::time::Instant;

use super::Core;
use super::flush::Flushes;
use super::order::BroadcastReport;
use super::pending::Cargo;
use super::send::Placed;
use crate::sharded::lock;

/// Broadcasts remembered against repeats.
const REMEMBERED: usize = 256;

/// The last broadcasts, oldest first.
pub(super) type Broadcasts = VecDeque<(Instant, String, BroadcastReport)>;

impl Core {
    pub(super) async fn broadcast(&self, body: PushBody, now: Timestamp) -> BroadcastReport {
        if self.is_closing() {
            return BroadcastReport::default();
        }
        let push_id = body.push_id.clone();
        if let Some(report) = self.enter_broadcast(&push_id, Instant::now()) {
            self.metrics.repeats.increment(1);
            return report;
        }
        let push = Arc::new(EncodedPush::new(body, now));
        let mut report = BroadcastReport::default();
        let mut flushes = Flushes::default();
        self.registry
            .each_live(
                |live| match self.place(live, Cargo::Broadcast, &push, &mut flushes) {
                    Placed::Queued => report.queued += 1,
                    Placed::Slow => report.slow += 1,
                    Placed::Gone => {}
                },
            )
            .await;
        drop(flushes);
        self.metrics.broadcast_queued.increment(report.queued);
        self.metrics.broadcast_slow.increment(report.slow);
        if let Some(entry) = lock(&self.broadcasts)
            .iter_mut()
            .find(|(_, id, _)| *id == push_id)
        {
            entry.2 = report.clone();
        }
        report
    }

    /// Enters a broadcast, or returns the report of the one it repeats: zeros while that one is still under way.
    fn enter_broadcast(&self, push_id: &str, now: Instant) -> Option<BroadcastReport> {
        let mut broadcasts = lock(&self.broadcasts);
        while broadcasts
            .front()
            .is_some_and(|first| now - first.0 >= self.settings.dedup_window)
        {
            broadcasts.pop_front();
        }
        if push_id.is_empty() {
            return None;
        }
        if let Some((_, _, report)) = broadcasts.iter().find(|(_, id, _)| id == push_id) {
            return Some(report.clone());
        }
        if broadcasts.len() >= REMEMBERED {
            broadcasts.pop_front();
        }
        broadcasts.push_back((now, push_id.to_owned(), BroadcastReport::default()));
        None
    }
}
