//! The deadlines of pushes: one look every half second at the sessions with something under way, instead of a timer
//! for each push.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Core;
use super::pending::{Cargo, Phase};
use crate::registry::Live;
use crate::sharded::lock;

/// How late a deadline may be noticed.
const PERIOD: Duration = Duration::from_millis(500);

/// Runs until it is stopped or the delivery is gone.
pub(super) async fn run(core: Weak<Core>, stop: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            now = ticks.tick() => {
                let Some(core) = core.upgrade() else { return };
                core.tick(now);
            }
        }
    }
}

impl Core {
    fn tick(self: &Arc<Self>, now: Instant) {
        let mut under_way = 0;
        for live in self.all_busy() {
            under_way += self.expire(&live, now);
        }
        self.metrics.pending.set(under_way as f64);
        self.metrics.remembered.set(self.recent.sweep(now) as f64);
        self.retry_due(now);
        self.look_again();
    }

    /// Gives up what is over its time; returns how many pushes are under way.
    fn expire(self: &Arc<Self>, live: &Arc<Live>, now: Instant) -> usize {
        let mut lane = lock(&live.lane);
        let work = lane.work();
        let hold_is_over = work.held_until.is_some_and(|until| until <= now);
        match lane.phase {
            // Its end was not reported in time.
            Phase::Closing if hold_is_over => self.end(live, &mut lane, 0),
            Phase::Fresh | Phase::Asking if hold_is_over => self.release(live, &mut lane),
            _ => {}
        }
        let overdue = lane.work().sent.front().is_some_and(|sent| sent.deadline <= now);
        if overdue && live.link.acknowledges() {
            let (count, flights) = lane.work().expire(now);
            self.metrics.ack_timeouts.increment(count);
            for (flight, slot) in flights {
                self.give_up(Cargo::Flight(flight, slot));
            }
        } else if overdue && self.registry.live(live.record.session_id).is_none() {
            // Displaced, and nobody reported its end.
            self.end(live, &mut lane, 0);
        }
        let under_way = lane.outstanding() + lane.held();
        self.tidy(live, &mut lane);
        under_way
    }
}
