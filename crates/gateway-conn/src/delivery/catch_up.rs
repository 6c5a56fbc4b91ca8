//! Giving a session what waits in its user's offline box.
//!
//! After a bind: first the box, oldest first, then the pushes held meanwhile. The box comes in rounds of a bounded
//! number; what was held goes after the first, the others follow when all of a round is settled and some of it was
//! delivered, so a client that takes nothing ends it. The box is also asked after something was recorded for a user
//! who has a session that the push did not know, so that nothing waits for the next login.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gateway_codec::{EncodedPush, Timestamp, UserId};
use tokio::time::Instant;
use tracing::debug;

use super::Core;
use super::flight::Flight;
use super::outbox::Job;
use super::pending::{Cargo, Held, Lane, Phase};
use super::recording::bounded;
use crate::registry::Live;
use crate::sharded::lock;
use crate::{Backlog, LinkError, SessionRecord};

/// Pushes of the box sent in one round: half of what a session's outbound queue holds by default.
const ROUND: usize = 512;
/// Tries of one catch-up, and the pause before the first repeat; each later pause is longer by as much.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_secs(5);
/// Catch-ups waiting for another try. Past it they wait for the user's next login or recording.
const RETRIES: usize = 65_536;

/// A catch-up to be tried again.
pub(super) struct Retry {
    due: Instant,
    live: Weak<Live>,
    asked_at: Timestamp,
    tries: u32,
}

impl Core {
    pub(super) fn bound(self: &Arc<Self>, record: &SessionRecord, last_push_id: Option<&str>) {
        let Some(live) = self.registry.live(record.session_id) else {
            return;
        };
        let mut lane = lock(&live.lane);
        if lane.phase != Phase::Fresh {
            return;
        }
        match last_push_id {
            None => self.ask_first(&live, &mut lane),
            Some(last_push_id) => {
                lane.phase = Phase::Resuming;
                drop(lane);
                self.resume(live, last_push_id.to_owned());
            }
        }
    }

    /// Has the box asked for a session that has got nothing else to wait for.
    pub(super) fn ask_first(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane) {
        lane.phase = Phase::Asking;
        if lane.held() > 0 {
            lane.work().held_until = Some(Instant::now() + self.settings.catch_up_timeout);
        }
        self.ask_again(live, lane, live.record.connected_at, 0);
    }

    /// Has the box asked, behind what else is to be said for this user.
    pub(super) fn ask_again(
        self: &Arc<Self>,
        live: &Arc<Live>,
        lane: &mut Lane,
        asked_at: Timestamp,
        tries: u32,
    ) {
        if lane.asking || self.is_closing() {
            return;
        }
        lane.asking = self.submit(&live.record.user_id, Job::Ask(live.clone(), asked_at, tries));
        if !lane.asking {
            self.metrics.catch_up_dropped.increment(1);
            self.later(live, asked_at, tries + 1);
            if lane.phase == Phase::Asking {
                self.release(live, lane);
            }
        }
    }

    /// Something may be in the box that this session was not told of.
    pub(super) fn look_in_box(self: &Arc<Self>, live: &Arc<Live>, now: Timestamp) {
        self.ask_for_news(live, &mut lock(&live.lane), now);
    }

    /// Asks the box, or once more if it is being asked.
    fn ask_for_news(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane, now: Timestamp) {
        match lane.phase {
            Phase::Open if !lane.asking => self.ask_again(live, lane, now, 0),
            Phase::Open | Phase::Asking => lane.ask_again = true,
            Phase::Fresh | Phase::Resuming | Phase::Closing | Phase::Closed => {}
        }
    }

    /// Something was recorded: sessions that came since the pushes were made have to look.
    pub(super) fn hint(self: &Arc<Self>, user: &UserId, batch: &[(Arc<Flight>, Arc<EncodedPush>)]) {
        for live in self.registry.live_of(user) {
            let news = batch
                .iter()
                .rfind(|(flight, _)| !flight.knows(live.record.session_id));
            let Some((_, push)) = news else { continue };
            self.ask_for_news(&live, &mut lock(&live.lane), push.timestamp());
        }
    }

    pub(super) async fn ask(self: &Arc<Self>, live: Arc<Live>, asked_at: Timestamp, tries: u32) {
        let goes_on = |lane: &mut Lane| {
            let goes_on = !matches!(lane.phase, Phase::Closing | Phase::Closed) && !self.is_closing();
            lane.asking = goes_on;
            goes_on
        };
        {
            let mut lane = lock(&live.lane);
            if !goes_on(&mut lane) {
                return;
            }
            lane.ask_again = false;
        }
        let call = self.sink.session_bound(&live.record);
        let answer = bounded(&self.asking_calls, self.settings.catch_up_timeout, call).await;
        let mut lane = lock(&live.lane);
        if !goes_on(&mut lane) {
            return;
        }
        self.now_busy(&live);
        let mut delivered = Vec::new();
        let done = match answer {
            Ok(backlog) => {
                self.metrics.catch_up_done.increment(1);
                if let Some(gap) = &mut lane.work().gap {
                    gap.fill(backlog.pushes.iter().map(|push| push.push_id.as_str()));
                }
                self.unload(&live, &mut lane, backlog, asked_at, &mut delivered)
            }
            Err(error) => {
                self.metrics.catch_up_failed.increment(1);
                debug!(%error, tries, "the offline box did not answer");
                false
            }
        };
        lane.asking = false;
        lane.work().taken.clear();
        self.announce_gap(&live, &mut lane);
        if !done {
            self.later(&live, asked_at, tries + 1);
        }
        if lane.phase == Phase::Asking {
            self.release(&live, &mut lane);
        }
        self.report_delivered(&live, delivered);
        if std::mem::take(&mut lane.ask_again) && lane.phase == Phase::Open {
            self.ask_again(&live, &mut lane, asked_at, 0);
        }
        self.go_on(&live, &mut lane);
        self.tidy(&live, &mut lane);
    }

    /// Sends one round, and notes what of it the session has already. False: nothing could be sent although there is
    /// something.
    fn unload(
        &self,
        live: &Arc<Live>,
        lane: &mut Lane,
        backlog: Backlog,
        asked_at: Timestamp,
        delivered: &mut Vec<String>,
    ) -> bool {
        let mut more = backlog.more;
        let mut full = false;
        let mut progress = false;
        for body in backlog.pushes {
            let work = lane.work();
            if work.note_in_box(&body.push_id) {
                continue;
            }
            // Delivered while the box was being asked; it says so behind this call.
            if work.taken.contains(&body.push_id) {
                progress = true;
                continue;
            }
            // Resumed and taken before the box had it.
            if self.recent.was_taken(&live.record, &body.push_id) {
                progress = true;
                delivered.push(body.push_id);
                continue;
            }
            if work.in_box >= ROUND.min(self.settings.pending_per_session) {
                more = true;
                break;
            }
            let (cargo, push) = match work.unhold(&body.push_id) {
                Some(held) => (held.cargo, held.push),
                None => {
                    let cargo = Cargo::Boxed(Arc::from(body.push_id.as_str()));
                    (cargo, Arc::new(EncodedPush::new(body, asked_at)))
                }
            };
            match live.link.push(&push) {
                Ok(ticket) => self.enter(live, lane, ticket, cargo, &push, true),
                Err(error) => {
                    full = error == LinkError::Full;
                    more = true;
                    // A held one is first in line for what comes next; the box keeps its own.
                    if matches!(cargo, Cargo::Flight(..)) {
                        lane.work().held.push_front(Held { cargo, push });
                    }
                    break;
                }
            }
        }
        let work = lane.work();
        work.more = more;
        work.progress = progress;
        work.asked_at = asked_at;
        !(full && work.in_box == 0)
    }

    /// Asks for the next round where there is one, all of the last is settled, and some of it came through.
    pub(super) fn go_on(self: &Arc<Self>, live: &Arc<Live>, lane: &mut Lane) {
        let asking = lane.asking;
        let work = lane.work();
        if work.more && work.progress && work.in_box == 0 && !asking {
            work.more = false;
            let asked_at = work.asked_at;
            self.ask_again(live, lane, asked_at, 0);
        }
    }

    /// Tries a catch-up again some time later, if the session is still there then.
    fn later(&self, live: &Arc<Live>, asked_at: Timestamp, tries: u32) {
        let mut retries = lock(&self.retries);
        if tries < TRIES && retries.len() < RETRIES {
            let due = Instant::now() + PAUSE * tries;
            retries.push_back(Retry {
                due,
                live: Arc::downgrade(live),
                asked_at,
                tries,
            });
        }
    }

    /// Takes up the catch-ups whose time has come.
    pub(super) fn retry_due(self: &Arc<Self>, now: Instant) {
        let due: VecDeque<_> = {
            let mut retries = lock(&self.retries);
            let (due, rest) = retries.drain(..).partition(|retry: &Retry| retry.due <= now);
            *retries = rest;
            due
        };
        for retry in due {
            let Some(live) = retry.live.upgrade() else {
                continue;
            };
            let mut lane = lock(&live.lane);
            if lane.phase == Phase::Open {
                self.ask_again(&live, &mut lane, retry.asked_at, retry.tries);
            }
        }
    }
}
