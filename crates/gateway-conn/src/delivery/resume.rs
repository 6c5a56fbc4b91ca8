//! A device that comes back and names the last push it has gets what it missed, before anything newer.
//!
//! In this order: what this node and, among several, all others remember of the device ([`recent`](super::recent),
//! [`recall`](super::recall)); the offline box, without what was remembered; what was held meanwhile. What cannot be had
//! any more is announced by the notice `gap`.
//!
//! Until the other nodes have said what they remember, each within the deadline of its link, pushes to the session are
//! held without a time of their own. The asked nodes end an older session of the device first, so that nothing is sent to
//! it any more once they have answered.

use std::sync::Arc;

use futures_util::future::join_all;
use gateway_codec::proto::cluster;
use gateway_codec::{DeviceId, EncodedPush, Notice, Platform, Timestamp, UserId};
use tokio::time::Instant;

use super::Core;
use super::pending::{Cargo, Held, Lane, Phase};
use super::recall::{Recalled, Remembered, Resumed, mark, merge};
use crate::SessionRecord;
use crate::registry::Live;
use crate::sharded::lock;

impl Core {
    /// Pushes to the session are held from before this call.
    pub(super) fn resume(self: &Arc<Self>, live: Arc<Live>, last_push_id: String) {
        let others = self
            .cluster
            .as_ref()
            .map_or_else(Vec::new, |cluster| cluster.others());
        if others.is_empty() {
            let here = self.recall_of(&live.record, &last_push_id);
            let lost = self.cluster.as_ref().map(|cluster| cluster.lost_ago());
            self.go_on_from(&live, &last_push_id, merge(vec![here], false, lost));
            return;
        }
        let core = self.clone();
        let resume = async move {
            let record = &live.record;
            let asked = others.iter().map(|link| {
                link.recall(cluster::Recall {
                    id: 0,
                    user_id: record.user_id.to_string(),
                    device_id: record.device_id.to_string(),
                    platform: record.platform.to_string(),
                    epoch: record.epoch,
                    last_push_id: last_push_id.clone(),
                })
            });
            let said = join_all(asked).await;
            let mut answers: Vec<_> = said.into_iter().flatten().filter_map(Recalled::read).collect();
            let silent = answers.len() < others.len();
            answers.push(core.recall_of(record, &last_push_id));
            let lost = core.cluster.as_ref().map(|cluster| cluster.lost_ago());
            core.go_on_from(&live, &last_push_id, merge(answers, silent, lost));
        };
        self.tasks.spawn_on(resume, &self.runtime);
    }

    fn recall_of(&self, record: &SessionRecord, last_push_id: &str) -> Recalled {
        let device = (&record.device_id, &record.platform);
        self.recall_here(&record.user_id, device, last_push_id)
    }

    /// What this node remembers of a device.
    fn recall_here(&self, user: &UserId, device: (&DeviceId, &Platform), last_push_id: &str) -> Recalled {
        let now = Instant::now();
        let broadcasts = lock(&self.broadcasts);
        let last = mark(last_push_id);
        let begun = broadcasts.begun(last_push_id);
        let (mut recalled, since) = self.recent.recall(user, device, last, begun, now);
        let Some(since) = since else { return recalled };
        let after = broadcasts.after(since);
        let after = after
            .filter(|one| one.push_id != last_push_id)
            .map(|one| Remembered {
                mark: mark(&one.push_id),
                age: now.saturating_duration_since(one.begun),
                push: one.push.clone(),
            });
        recalled.missed.extend(after);
        recalled.missed.sort_by_key(|one| std::cmp::Reverse(one.age));
        recalled
    }

    /// Another node asks for a device that has come to it.
    pub(super) fn recall_for_peer(&self, asked: cluster::Recall, now: Timestamp) -> cluster::Recalled {
        let id = asked.id;
        let parsed = (
            UserId::parse(&asked.user_id),
            DeviceId::parse(&asked.device_id),
            Platform::parse(&asked.platform),
        );
        let (Ok(user), Ok(device), Ok(platform)) = parsed else {
            return Recalled::default().into_answer(id);
        };
        self.registry
            .end_older(&user, &device, &platform, asked.epoch, now);
        self.recall_here(&user, (&device, &platform), &asked.last_push_id)
            .into_answer(id)
    }

    /// Sends what was missed and lets the offline box follow.
    fn go_on_from(self: &Arc<Self>, live: &Arc<Live>, last_push_id: &str, resumed: Resumed) {
        let now = Instant::now();
        let mut lane = lock(&live.lane);
        if lane.phase != Phase::Resuming {
            return;
        }
        // First, so that whoever ends the session finds it.
        self.now_busy(live);
        self.recent.restart(&live.record, mark(last_push_id), now);
        match resumed.gap {
            None => self.metrics.resumed(None),
            gap => lane.work().gap = gap,
        }
        let mut left_over = Vec::new();
        for push in resumed.pushes {
            let held = lane.work().unhold(&push.body.push_id);
            let held = held.unwrap_or_else(|| Held {
                cargo: Cargo::Resumed(Arc::from(push.body.push_id.as_str())),
                push,
            });
            let sent = left_over.is_empty().then(|| live.link.push(&held.push));
            match sent {
                Some(Ok(ticket)) => {
                    self.metrics.resumed_pushes.increment(1);
                    self.enter(live, &mut lane, ticket, held.cargo, &held.push, false);
                }
                Some(Err(_)) | None => left_over.push(held),
            }
        }
        if !left_over.is_empty() {
            self.announce_gap(live, &mut lane);
            // Remembered at its end, for the next return.
            let work = lane.work();
            left_over.extend(work.held.drain(..));
            work.held.extend(left_over);
            self.too_slow(live, &mut lane);
            return;
        }
        self.ask_first(live, &mut lane);
        self.tidy(live, &mut lane);
    }

    /// The box has been asked, or will not be: says what is missing.
    pub(super) fn announce_gap(&self, live: &Live, lane: &mut Lane) {
        let Some(gap) = lane.work().gap.take() else { return };
        if gap.is_closed() {
            self.metrics.resumed(None);
            return;
        }
        let count = gap.count();
        self.metrics.resumed(Some(count));
        live.link.notice(&Notice::Gap { count }, live.record.connected_at);
    }

    /// Remembers what goes to a connection, or would have gone.
    pub(super) fn remember(&self, live: &Live, cargo: &Cargo, push: &Arc<EncodedPush>, now: Instant) {
        let to_all = match cargo {
            Cargo::Flight(flight, _) => flight.to_all,
            // The box is the user's.
            Cargo::Boxed(_) => true,
            Cargo::Resumed(_) | Cargo::Broadcast => false,
        };
        let forgotten = self.recent.sent(&live.record, push, to_all, now);
        if forgotten > 0 {
            self.metrics.forgotten.increment(forgotten);
        }
    }
}
