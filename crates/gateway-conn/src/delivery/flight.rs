//! One push on its way to one user: the devices it was sent to, how it ended on each, and whether the user's offline
//! box has to take it.
//!
//! The box is the user's and not a device's. So a push is recorded when the last device has given it up and none has
//! taken it; a device that missed what another one took finds it in the history, not in the box.

use std::sync::{Arc, Mutex};

use gateway_codec::{DeviceId, EncodedPush, Platform, SessionId, UserId};
use tokio::sync::Notify;

use super::order::{DeviceOutcome, Outcome};
use crate::SessionRecord;
use crate::metrics::DeliveryMetrics;
use crate::sharded::lock;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recording {
    NotNeeded,
    UnderWay,
    Kept,
    Failed,
}

struct Slot {
    device: DeviceId,
    platform: Platform,
    outcome: Outcome,
    open: bool,
}

struct State {
    /// Until nobody needs it any more: the flight itself is remembered for much longer, against repeats.
    push: Option<Arc<EncodedPush>>,
    slots: Vec<Slot>,
    /// Devices that may still take it, and one more while the push is being handed out.
    open: usize,
    taken: bool,
    queued: bool,
    recording: Recording,
}

/// See the module.
pub(crate) struct Flight {
    pub(crate) push_id: Arc<str>,
    pub(crate) user: UserId,
    /// The user's sessions at the time of the push: they need no hint that something is in the box.
    known: Box<[SessionId]>,
    state: Mutex<State>,
    changed: Notify,
}

impl Flight {
    pub(crate) fn new(
        push_id: Arc<str>,
        user: UserId,
        push: Arc<EncodedPush>,
        known: Box<[SessionId]>,
        devices: &[&SessionRecord],
    ) -> Self {
        let slot = |record: &&SessionRecord| Slot {
            device: record.device_id.clone(),
            platform: record.platform.clone(),
            outcome: Outcome::Queued,
            open: true,
        };
        let slots: Vec<_> = devices.iter().map(slot).collect();
        let state = State {
            push: Some(push),
            open: slots.len() + 1,
            slots,
            taken: false,
            queued: false,
            recording: Recording::NotNeeded,
        };
        Self {
            push_id,
            user,
            known,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// A push nobody tried to deliver, because the node is going down.
    pub(crate) fn failed(push_id: Arc<str>, user: UserId) -> Self {
        let state = State {
            push: None,
            slots: Vec::new(),
            open: 0,
            taken: false,
            queued: false,
            recording: Recording::Failed,
        };
        Self {
            push_id,
            user,
            known: Box::default(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// It is in the queue of a session, or held for one.
    pub(crate) fn queued(&self) {
        lock(&self.state).queued = true;
    }

    /// A device will not take it because it is too slow; [`give_up`](Self::give_up) follows when its session has ended.
    pub(crate) fn slow(&self, slot: usize) {
        lock(&self.state).slots[slot].outcome = Outcome::Slow;
    }

    /// A device took it.
    pub(crate) fn take(&self, slot: usize, outcome: Outcome, metrics: &DeliveryMetrics) {
        let mut state = lock(&self.state);
        state.taken = true;
        if state.close(slot) {
            state.slots[slot].outcome = outcome;
            // Taken, so there is nothing to record.
            drop(state.done(metrics));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// A device that had given it up took it after all. Says whether it is in the box by now, or will be.
    pub(crate) fn take_late(&self, slot: usize) -> bool {
        let mut state = lock(&self.state);
        state.slots[slot].outcome = Outcome::Acked;
        state.taken = true;
        let in_box = matches!(state.recording, Recording::UnderWay | Recording::Kept);
        drop(state);
        self.changed.notify_waiters();
        in_box
    }

    /// A device will not take it any more. Returns the push if it has to be recorded now.
    #[must_use]
    pub(crate) fn give_up(&self, slot: usize, metrics: &DeliveryMetrics) -> Option<Arc<EncodedPush>> {
        let mut state = lock(&self.state);
        let mut push = None;
        if state.close(slot) {
            if state.slots[slot].outcome == Outcome::Queued {
                state.slots[slot].outcome = Outcome::Offline;
            }
            push = state.done(metrics);
        }
        drop(state);
        self.changed.notify_waiters();
        push
    }

    /// All devices have been tried. Returns the push if it has to be recorded now.
    #[must_use]
    pub(crate) fn handed_out(&self, metrics: &DeliveryMetrics) -> Option<Arc<EncodedPush>> {
        let mut state = lock(&self.state);
        state.open -= 1;
        let push = state.done(metrics);
        drop(state);
        self.changed.notify_waiters();
        push
    }

    /// The box has it, or could not be reached.
    pub(crate) fn recorded(&self, kept: bool, metrics: &DeliveryMetrics) {
        let mut state = lock(&self.state);
        state.recording = if kept { Recording::Kept } else { Recording::Failed };
        if !kept && !state.taken {
            for slot in &mut state.slots {
                slot.outcome = Outcome::Failed;
            }
        }
        state.count(metrics);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether this session was there when the push was made.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.known.contains(&session)
    }

    pub(crate) fn was_queued(&self) -> bool {
        lock(&self.state).queued
    }

    /// Whether it ended nowhere: the caller may try again.
    pub(crate) fn has_failed(&self) -> bool {
        let state = lock(&self.state);
        state.recording == Recording::Failed && !state.taken
    }

    pub(crate) fn outcomes(&self) -> Vec<DeviceOutcome> {
        let state = lock(&self.state);
        if state.slots.is_empty() {
            let outcome = state.without_device();
            return vec![DeviceOutcome {
                user_id: self.user.clone(),
                device: None,
                outcome,
            }];
        }
        let outcome = |slot: &Slot| DeviceOutcome {
            user_id: self.user.clone(),
            device: Some((slot.device.clone(), slot.platform.clone())),
            outcome: slot.outcome,
        };
        state.slots.iter().map(outcome).collect()
    }

    pub(crate) async fn not_recording(&self) {
        self.wait(|state| state.recording != Recording::UnderWay).await;
    }

    pub(crate) async fn settled(&self) {
        self.wait(|state| state.open == 0 && state.recording != Recording::UnderWay)
            .await;
    }

    async fn wait(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before looking, so that a change in between is not missed.
            changed.as_mut().enable();
            if is_so(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    /// Says whether the slot was open.
    fn close(&mut self, slot: usize) -> bool {
        let was_open = std::mem::replace(&mut self.slots[slot].open, false);
        self.open -= usize::from(was_open);
        was_open
    }

    fn done(&mut self, metrics: &DeliveryMetrics) -> Option<Arc<EncodedPush>> {
        if self.open > 0 {
            return None;
        }
        let push = self.push.take();
        if self.taken {
            self.count(metrics);
            return None;
        }
        self.recording = Recording::UnderWay;
        push
    }

    fn without_device(&self) -> Outcome {
        match self.recording {
            Recording::Failed => Outcome::Failed,
            Recording::NotNeeded | Recording::UnderWay | Recording::Kept => Outcome::Offline,
        }
    }

    fn count(&self, metrics: &DeliveryMetrics) {
        if self.slots.is_empty() {
            metrics.outcome(self.without_device());
        }
        for slot in &self.slots {
            metrics.outcome(slot.outcome);
        }
    }
}
