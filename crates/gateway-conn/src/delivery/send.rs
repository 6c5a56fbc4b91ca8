//! Queueing: from an order to the lanes of its sessions, at once and in order.

use std::slice;
use std::sync::Arc;

use gateway_codec::{CloseCode, DeviceId, EncodedPush, Platform, Timestamp, UserId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Core;
use super::flight::Flight;
use super::flush::Flushes;
use super::locate::Locate;
use super::order::{Outcome, PushOrder, Pushed, Target};
use super::pending::{Cargo, Held, Lane, Phase, Sent};
use crate::LinkError;
use crate::registry::Live;
use crate::sharded::lock;

/// What came of a push on one session.
pub(super) enum Placed {
    Queued,
    /// The session is too slow; the push waits for its end, to be recorded.
    Slow,
    /// The session has ended.
    Gone,
}

impl Core {
    pub(super) fn push_now(self: &Arc<Self>, order: PushOrder, now: Timestamp) -> Pushed {
        let push_id = order.body.push_id.clone();
        let shared_id: Arc<str> = Arc::from(push_id.as_str());
        let push = Arc::new(EncodedPush::new(order.body, now));
        let (users, device) = match &order.target {
            Target::Users(users) => (users.as_slice(), None),
            Target::Device {
                user,
                device,
                platform,
            } => (slice::from_ref(user), Some((device, platform))),
        };
        let mut flushes = Flushes::default();
        let mut one = |user: &UserId| {
            if self.is_closing() {
                return Arc::new(Flight::failed(shared_id.clone(), user.clone()));
            }
            if let Some(locating) = &self.locating {
                return self.locate_one(locating, user, &shared_id, &push, device);
            }
            let all = self.registry.live_of(user);
            let known = all.iter().map(|live| live.record.session_id).collect();
            let is_meant = |live: &&Arc<Live>| {
                device.is_none_or(|(device, platform)| {
                    live.record.device_id == *device && live.record.platform == *platform
                })
            };
            let meant: Vec<&Arc<Live>> = all.iter().filter(is_meant).collect();
            let devices: Vec<_> = meant.iter().map(|live| &*live.record).collect();
            let flight = Arc::new(Flight::new(
                shared_id.clone(),
                user.clone(),
                push.clone(),
                known,
                &devices,
                device.is_none(),
            ));
            if let Some(first) = self.dedup.enter(&flight, Instant::now()) {
                self.metrics.repeats.increment(1);
                return first;
            }
            self.place_all(&flight, &push, &meant, &mut flushes);
            if let Some(push) = flight.handed_out(&self.metrics) {
                self.record(flight.clone(), push);
            }
            flight
        };
        let flights = users.iter().map(&mut one).collect();
        Pushed { push_id, flights }
    }

    /// Has the store asked where the user is; what follows happens in the order of these calls.
    fn locate_one(
        &self,
        locating: &mpsc::Sender<Locate>,
        user: &UserId,
        push_id: &Arc<str>,
        push: &Arc<EncodedPush>,
        device: Option<(&DeviceId, &Platform)>,
    ) -> Arc<Flight> {
        let to_all = device.is_none();
        let flight = Arc::new(Flight::locating(
            push_id.clone(),
            user.clone(),
            push.clone(),
            to_all,
        ));
        if let Some(first) = self.dedup.enter(&flight, Instant::now()) {
            self.metrics.repeats.increment(1);
            return first;
        }
        let locate = Locate {
            flight: flight.clone(),
            push: push.clone(),
            device: device.map(|(device, platform)| (device.clone(), platform.clone())),
        };
        if locating.try_send(locate).is_err() {
            self.metrics.outcome(Outcome::Failed);
            flight.fail();
        }
        flight
    }

    /// Queues a flight on its first slots, which are these sessions.
    pub(super) fn place_all(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        push: &Arc<EncodedPush>,
        sessions: &[&Arc<Live>],
        flushes: &mut Flushes,
    ) {
        for (slot, live) in sessions.iter().enumerate() {
            match self.place(live, Cargo::Flight(flight.clone(), slot), push, flushes) {
                Placed::Queued => flight.queued(),
                Placed::Slow => {}
                // The flight is open until it is handed out, so nothing has to be recorded yet.
                Placed::Gone => drop(flight.give_up(slot, &self.metrics)),
            }
        }
    }

    /// Queues one push on one session, or holds it.
    pub(super) fn place(
        &self,
        live: &Arc<Live>,
        cargo: Cargo,
        push: &Arc<EncodedPush>,
        flushes: &mut Flushes,
    ) -> Placed {
        let mut lane = lock(&live.lane);
        if lane.phase == Phase::Closed {
            return Placed::Gone;
        }
        if lane.phase == Phase::Open && matches!(cargo, Cargo::Broadcast) && self.has_room(&lane) {
            // Nothing remains to be done for it, so the session need not be found again.
            match flushes.push(live, push) {
                Ok(_) => return Placed::Queued,
                Err(LinkError::Closed) => return Placed::Gone,
                Err(LinkError::Full) => {}
            }
        }
        // First, so that whoever ends the session finds it.
        self.now_busy(live);
        let placed = match lane.phase {
            Phase::Closed => Placed::Gone,
            Phase::Closing if lane.held() >= 2 * self.settings.catch_up_buffer => Placed::Gone,
            Phase::Closing => hold_slow(&mut lane, cargo, push),
            Phase::Fresh | Phase::Resuming | Phase::Asking
                if lane.held() >= self.settings.catch_up_buffer =>
            {
                self.too_slow(live, &mut lane);
                hold_slow(&mut lane, cargo, push)
            }
            Phase::Fresh | Phase::Resuming | Phase::Asking => {
                let until = Instant::now() + self.settings.catch_up_timeout;
                let work = lane.work();
                work.held_until.get_or_insert(until);
                work.held.push_back(Held {
                    cargo,
                    push: push.clone(),
                });
                Placed::Queued
            }
            Phase::Open => self.place_open(live, &mut lane, cargo, push, flushes),
        };
        self.tidy(live, &mut lane);
        placed
    }

    /// Whether one more push may be sent that is not settled at once.
    fn has_room(&self, lane: &Lane) -> bool {
        lane.outstanding() < self.settings.pending_per_session
    }

    fn place_open(
        &self,
        live: &Arc<Live>,
        lane: &mut Lane,
        cargo: Cargo,
        push: &Arc<EncodedPush>,
        flushes: &mut Flushes,
    ) -> Placed {
        let sent = if self.has_room(lane) {
            flushes.push(live, push)
        } else {
            Err(LinkError::Full)
        };
        match sent {
            Ok(ticket) => {
                self.enter(live, lane, ticket, cargo, push, false);
                Placed::Queued
            }
            Err(LinkError::Closed) => Placed::Gone,
            Err(LinkError::Full) => {
                self.too_slow(live, lane);
                hold_slow(lane, cargo, push)
            }
        }
    }

    /// Remembers what the link has taken and enters it, to be settled later; a broadcast is not.
    pub(super) fn enter(
        &self,
        live: &Live,
        lane: &mut Lane,
        ticket: u64,
        cargo: Cargo,
        push: &Arc<EncodedPush>,
        in_box: bool,
    ) {
        if matches!(cargo, Cargo::Broadcast) {
            return;
        }
        let now = Instant::now();
        self.remember(live, &cargo, push, now);
        let deadline = now + self.settings.push_ack_timeout;
        lane.work().enter(Sent {
            ticket,
            cargo,
            deadline,
            expired: false,
            in_box,
        });
    }

    /// Ends a session whose client reads too slowly. What it has not taken is recorded when its end is reported, or
    /// after `push_ack_timeout`, in order.
    pub(super) fn too_slow(&self, live: &Arc<Live>, lane: &mut Lane) {
        lane.phase = Phase::Closing;
        lane.work().held_until = Some(Instant::now() + self.settings.push_ack_timeout);
        live.link.close(CloseCode::TooSlow, "too slow");
    }

    /// Lets what was held go, in order.
    pub(super) fn release(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane) {
        lane.phase = Phase::Open;
        self.announce_gap(live, lane);
        let mut held = std::mem::take(&mut lane.work().held);
        lane.work().held_until = None;
        while let Some(next) = held.pop_front() {
            match live.link.push(&next.push) {
                Ok(ticket) => {
                    if matches!(next.cargo, Cargo::Broadcast) {
                        // Later than it was on all others, so that its own time does not tell its place.
                        self.remember(live, &next.cargo, &next.push, Instant::now());
                    }
                    self.enter(live, lane, ticket, next.cargo, &next.push, false);
                }
                Err(LinkError::Full) => {
                    if let Cargo::Flight(flight, slot) = &next.cargo {
                        flight.slow(*slot);
                    }
                    held.push_front(next);
                    self.too_slow(live, lane);
                    lane.work().held = held;
                    return;
                }
                Err(LinkError::Closed) => {
                    self.remember(live, &next.cargo, &next.push, Instant::now());
                    self.give_up(next.cargo);
                }
            }
        }
    }

    /// Enters a session among those with something under way.
    pub(super) fn now_busy(&self, live: &Arc<Live>) {
        let session = live.record.session_id;
        self.busy
            .of(&session)
            .entry(session)
            .or_insert_with(|| live.clone());
    }

    /// Takes a session out of them again if nothing is.
    pub(super) fn tidy(&self, live: &Arc<Live>, lane: &mut Lane) {
        if lane.tidy() {
            let session = live.record.session_id;
            self.busy.of(&session).remove(&session);
        }
    }
}

/// Keeps a push of a session that is being closed, to be recorded in its turn; a broadcast is not kept.
fn hold_slow(lane: &mut Lane, cargo: Cargo, push: &Arc<EncodedPush>) -> Placed {
    if let Cargo::Flight(flight, slot) = &cargo {
        flight.slow(*slot);
        lane.work().held.push_back(Held {
            cargo,
            push: push.clone(),
        });
    }
    Placed::Slow
}
