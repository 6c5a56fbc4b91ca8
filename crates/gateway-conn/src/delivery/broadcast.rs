//! One push to every session: queued and forgotten.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::join_all;
use gateway_codec::proto::cluster::Broadcast;
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
    /// To every session of the cluster: a node that does not answer in time is missing in the report.
    pub(super) async fn broadcast(&self, body: PushBody, now: Timestamp) -> BroadcastReport {
        let others = self
            .cluster
            .as_ref()
            .map_or_else(Vec::new, |cluster| cluster.others());
        if others.is_empty() {
            return self.broadcast_here(body, now).await;
        }
        let elsewhere = others.iter().map(|link| {
            link.spread(Broadcast {
                id: 0,
                push: Some(body.clone().into()),
            })
        });
        let elsewhere: Vec<_> = elsewhere.collect();
        let (mut report, elsewhere) =
            futures_util::join!(self.broadcast_here(body.clone(), now), join_all(elsewhere));
        for spread in elsewhere {
            match spread {
                Some(spread) => {
                    report.queued += spread.queued;
                    report.slow += spread.slow;
                }
                None => self.metrics.broadcast_missed.increment(1),
            }
        }
        report
    }

    /// To every session of this node.
    pub(super) async fn broadcast_here(&self, body: PushBody, now: Timestamp) -> BroadcastReport {
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
