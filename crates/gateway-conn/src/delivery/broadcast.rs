//! One push to every session: queued, and remembered once for all of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gateway_codec::proto::cluster::Broadcast;
use gateway_codec::{EncodedPush, PushBody, Timestamp};
use tokio::time::Instant;

use super::Core;
use super::flush::Flushes;
use super::order::BroadcastReport;
use super::pending::Cargo;
use super::recall::size;
use super::send::Placed;
use crate::sharded::lock;

/// Broadcasts remembered.
const REMEMBERED: usize = 256;
/// They may have this part of the bytes that all other pushes may have.
const PART_OF_BYTES: usize = 4;

/// The last broadcasts, oldest first: against repeats, and for devices that come back.
#[derive(Default)]
pub(super) struct Broadcasts {
    sent: VecDeque<Broadcasted>,
}

/// A broadcast of the last while.
pub(super) struct Broadcasted {
    pub(super) push_id: String,
    /// When it began to be queued, and when it was on all sessions.
    pub(super) begun: Instant,
    done: Option<Instant>,
    /// `None`: forgotten for the sake of the bound.
    pub(super) push: Option<Arc<EncodedPush>>,
    report: BroadcastReport,
}

impl Broadcasts {
    /// When a broadcast began, if it is one of these.
    pub(super) fn begun(&self, push_id: &str) -> Option<Instant> {
        let one = self.sent.iter().rfind(|one| one.push_id == push_id)?;
        Some(one.begun)
    }

    /// Those that were not on all sessions at that time.
    pub(super) fn after(&self, time: Instant) -> impl Iterator<Item = &Broadcasted> {
        self.sent
            .iter()
            .filter(move |one| one.done.is_none_or(|done| done > time))
    }

    fn forget(&mut self, now: Instant, life: Duration) {
        while self
            .sent
            .front()
            .is_some_and(|first| now.saturating_duration_since(first.begun) >= life)
        {
            self.sent.pop_front();
        }
    }

    fn add(&mut self, push: Arc<EncodedPush>, now: Instant, most_bytes: usize) {
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Broadcasted {
            push_id: push.body.push_id.clone(),
            begun: now,
            done: None,
            push: Some(push),
            report: BroadcastReport::default(),
        });
        let mut bytes = 0;
        for one in self.sent.iter_mut().rev() {
            bytes += one.push.as_ref().map_or(0, |push| size(&push.body));
            if bytes > most_bytes {
                one.push = None;
            }
        }
    }

    fn done(&mut self, push_id: &str, now: Instant, report: &BroadcastReport) {
        if let Some(one) = self.sent.iter_mut().rfind(|one| one.push_id == push_id) {
            one.done = Some(now);
            one.report = report.clone();
        }
    }
}

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
                push: Some((&body).into()),
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
        let push = Arc::new(EncodedPush::new(body, now));
        if let Some(report) = self.enter_broadcast(&push, Instant::now()) {
            self.metrics.repeats.increment(1);
            return report;
        }
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
        lock(&self.broadcasts).done(&push.body.push_id, Instant::now(), &report);
        report
    }

    /// Enters a broadcast, or returns the report of the one it repeats: zeros while that one is still under way.
    fn enter_broadcast(&self, push: &Arc<EncodedPush>, now: Instant) -> Option<BroadcastReport> {
        let push_id = push.body.push_id.as_str();
        let mut broadcasts = lock(&self.broadcasts);
        broadcasts.forget(now, self.settings.dedup_window.max(self.recent.window()));
        if push_id.is_empty() {
            return None;
        }
        let life = self.settings.dedup_window;
        let repeats =
            |one: &&Broadcasted| one.push_id == push_id && now.saturating_duration_since(one.begun) < life;
        if let Some(first) = broadcasts.sent.iter().rfind(repeats) {
            return Some(first.report.clone());
        }
        broadcasts.add(push.clone(), now, self.settings.resume_bytes / PART_OF_BYTES);
        None
    }
}
