//! Settling: acknowledged, written, given up.

use std::sync::Arc;

use gateway_codec::SessionId;
use tokio::time::Instant;

use super::Core;
use super::order::Outcome;
use super::outbox::Job;
use super::pending::{Cargo, Lane, Phase, Sent};
use crate::SessionRecord;
use crate::registry::Live;
use crate::sharded::lock;

impl Core {
    fn busy_session(&self, session: SessionId) -> Option<Arc<Live>> {
        self.busy.of(&session).get(&session).cloned()
    }

    pub(super) fn acked(self: &Arc<Self>, session: SessionId, push_id: &str) {
        let Some(live) = self.busy_session(session) else {
            return;
        };
        let mut lane = lock(&live.lane);
        let Some(sent) = lane.work().remove(push_id) else {
            return;
        };
        let mut delivered = Vec::new();
        self.take(&live, &mut lane, sent, Outcome::Acked, &mut delivered);
        self.taken(&live, &mut lane, delivered);
    }

    pub(super) fn written(self: &Arc<Self>, session: SessionId, up_to: u64) {
        let Some(live) = self.busy_session(session) else {
            return;
        };
        if live.link.acknowledges() {
            return;
        }
        let mut lane = lock(&live.lane);
        let mut delivered = Vec::new();
        while let Some(sent) = lane.work().pop_written(up_to) {
            self.take(&live, &mut lane, sent, Outcome::Written, &mut delivered);
        }
        self.taken(&live, &mut lane, delivered);
    }

    pub(super) fn closed(self: &Arc<Self>, record: &Arc<SessionRecord>, last_written: u64) {
        let session = record.session_id;
        match self.busy_session(session).or_else(|| self.registry.live(session)) {
            Some(live) => self.end(&live, &mut lock(&live.lane), last_written),
            // Displaced, and nothing was under way.
            None => self.left(record, Instant::now()),
        }
    }

    /// The device is remembered from now on as one that left; what is forgotten for it is counted.
    fn left(&self, record: &Arc<SessionRecord>, now: Instant) {
        let forgotten = self.recent.left(record, now);
        self.metrics.forgotten.increment(forgotten);
    }

    /// Gives up what a session that has ended did not take, in order.
    pub(super) fn end(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane, last_written: u64) {
        let written_is_enough = !live.link.acknowledges();
        lane.phase = Phase::Closed;
        let mut work = lane.take_work();
        let mut delivered = Vec::new();
        if written_is_enough {
            while let Some(sent) = work.pop_written(last_written) {
                self.take(live, lane, sent, Outcome::Written, &mut delivered);
            }
        }
        for sent in work.sent {
            self.give_up(sent.cargo);
        }
        let now = Instant::now();
        for held in work.held {
            self.remember(live, &held.cargo, &held.push, now);
            self.give_up(held.cargo);
        }
        self.left(&live.record, now);
        self.report_delivered(live, delivered);
        self.tidy(live, lane);
    }

    /// At shutdown: every session is as good as ended.
    pub(super) fn end_all(self: &Arc<Self>) {
        for live in self.all_busy() {
            self.end(&live, &mut lock(&live.lane), 0);
        }
    }

    pub(super) fn all_busy(&self) -> Vec<Arc<Live>> {
        self.busy
            .each()
            .flat_map(|busy| busy.values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// A session took a push: settles it, and notes what has to be taken out of the box.
    fn take(&self, live: &Live, lane: &mut Lane, sent: Sent, outcome: Outcome, delivered: &mut Vec<String>) {
        let mut in_box = sent.in_box;
        match &sent.cargo {
            Cargo::Flight(flight, slot) if sent.expired => in_box |= flight.take_late(*slot),
            Cargo::Flight(flight, slot) => flight.take(*slot, outcome, &self.metrics),
            Cargo::Resumed(push_id) => self.recent.taken(&live.record, push_id),
            Cargo::Boxed(_) | Cargo::Broadcast => {}
        }
        if in_box && let Some(push_id) = sent.cargo.push_id() {
            delivered.push(push_id.to_owned());
            if lane.phase != Phase::Closed {
                let asking = lane.asking;
                let work = lane.work();
                work.progress = true;
                if asking {
                    work.taken.push(push_id.to_owned());
                }
            }
        }
    }

    /// After some pushes were taken: says so to the box, and asks for more where there is more and some came through.
    fn taken(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane, delivered: Vec<String>) {
        self.report_delivered(live, delivered);
        self.go_on(live, lane);
        self.tidy(live, lane);
    }

    pub(super) fn report_delivered(self: &Arc<Self>, live: &Arc<Live>, delivered: Vec<String>) {
        let count = delivered.len() as u64;
        if count > 0 && !self.submit(&live.record.user_id, Job::Delivered(delivered)) {
            self.metrics.delivered_lost.increment(count);
        }
    }

    /// A session did not take a push; it is recorded if no other one did. One from the box stays there.
    pub(super) fn give_up(self: &Arc<Self>, cargo: Cargo) {
        if let Cargo::Flight(flight, slot) = cargo
            && let Some(push) = flight.give_up(slot, &self.metrics)
        {
            self.record(flight, push);
        }
    }
}
