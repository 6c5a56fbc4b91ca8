//! One push on its way to one user: the devices it was sent to, how it ended on each, and whether the user's offline
//! box has to take it.
//!
//! The box is the user's and not a device's. So a push is recorded when the last device has given it up and none has
//! taken it; a device that missed what another one took finds it in the history, not in the box.
//!
//! Among several nodes a flight has a part abroad: the nodes that keep it beside this one until it has ended, or the node
//! that it came from, which is told of every ending and decides over the box.

use std::sync::{Arc, Mutex, MutexGuard};

use gateway_codec::{DeviceId, EncodedPush, Platform, SessionId, UserId};
use tokio::sync::Notify;

use super::inbound::Report;
use super::order::{DeviceOutcome, Outcome};
use crate::SessionRecord;
use crate::cluster::link::Link;
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
    /// The user's sessions as far as the push was brought before them: they need no hint that something is in the box.
    known: Vec<SessionId>,
    abroad: Option<Box<Abroad>>,
}

/// What a flight has to do with other nodes.
#[derive(Default)]
struct Abroad {
    /// The store is still being asked where the user is.
    locating: bool,
    /// Who keeps it beside this node, and under which id.
    keepers: Vec<(Arc<Link>, u64)>,
    /// Keepers that have not said yet that they do.
    unanswered: usize,
    /// One has.
    kept: bool,
    /// Where it came from another node: tells that node.
    report: Option<Report>,
}

/// See the module.
pub(crate) struct Flight {
    pub(crate) push_id: Arc<str>,
    pub(crate) user: UserId,
    /// For every device of the user.
    pub(crate) to_all: bool,
    state: Mutex<State>,
    changed: Notify,
}

impl Flight {
    /// A push to these sessions, the only ones of its user; `to_all`: it is for every device.
    pub(crate) fn new(
        push_id: Arc<str>,
        user: UserId,
        push: Arc<EncodedPush>,
        known: Vec<SessionId>,
        devices: &[&SessionRecord],
        to_all: bool,
    ) -> Self {
        let flight = Self::with(push_id, user, Some(push), to_all, None);
        flight.bring_before(known, devices);
        flight
    }

    /// A push whose user's sessions the store is still to name.
    pub(crate) fn locating(push_id: Arc<str>, user: UserId, push: Arc<EncodedPush>, to_all: bool) -> Self {
        let abroad = Abroad {
            locating: true,
            ..Abroad::default()
        };
        Self::with(push_id, user, Some(push), to_all, Some(Box::new(abroad)))
    }

    /// A push that another node has given to sessions of this one.
    pub(crate) fn for_peer(
        push_id: Arc<str>,
        user: UserId,
        push: Arc<EncodedPush>,
        devices: &[&SessionRecord],
        to_all: bool,
        report: Report,
    ) -> Self {
        let abroad = Abroad {
            report: Some(report),
            ..Abroad::default()
        };
        let flight = Self::with(push_id, user, Some(push), to_all, Some(Box::new(abroad)));
        let known = devices.iter().map(|record| record.session_id).collect();
        flight.bring_before(known, devices);
        flight
    }

    /// A push that goes to the box and nowhere else.
    pub(crate) fn to_the_box(push_id: Arc<str>, user: UserId) -> Self {
        let flight = Self::with(push_id, user, None, true, None);
        {
            let mut state = lock(&flight.state);
            state.open = 0;
            state.recording = Recording::UnderWay;
        }
        flight
    }

    /// A push nobody tried to deliver, because the node is going down or has too many to locate.
    pub(crate) fn failed(push_id: Arc<str>, user: UserId) -> Self {
        let flight = Self::with(push_id, user, None, true, None);
        flight.fail();
        flight
    }

    fn with(
        push_id: Arc<str>,
        user: UserId,
        push: Option<Arc<EncodedPush>>,
        to_all: bool,
        abroad: Option<Box<Abroad>>,
    ) -> Self {
        let state = State {
            push,
            slots: Vec::new(),
            open: 1,
            taken: false,
            queued: false,
            recording: Recording::NotNeeded,
            known: Vec::new(),
            abroad,
        };
        Self {
            push_id,
            user,
            to_all,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// The sessions that it is for, among those known of its user. Once, before it is handed out.
    pub(crate) fn bring_before(&self, known: Vec<SessionId>, devices: &[&SessionRecord]) {
        let slot = |record: &&SessionRecord| Slot {
            device: record.device_id.clone(),
            platform: record.platform.clone(),
            outcome: Outcome::Queued,
            open: true,
        };
        let mut state = lock(&self.state);
        state.known = known;
        state.slots = devices.iter().map(slot).collect();
        state.open += devices.len();
    }

    /// Nobody will try.
    pub(crate) fn fail(&self) {
        let mut state = lock(&self.state);
        state.push = None;
        state.open = 0;
        state.recording = Recording::Failed;
        state.abroad = None;
        drop(state);
        self.changed.notify_waiters();
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
            state.report(slot, outcome);
        }
        self.told(state);
    }

    /// A device that had given it up took it after all. Says whether it is in the box by now, or will be.
    pub(crate) fn take_late(&self, slot: usize) -> bool {
        let mut state = lock(&self.state);
        state.slots[slot].outcome = Outcome::Acked;
        state.taken = true;
        let in_box = matches!(state.recording, Recording::UnderWay | Recording::Kept);
        state.report_late(slot);
        self.told(state);
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
            state.report_given_up(slot);
        }
        self.told(state);
        push
    }

    /// All devices have been tried. Returns the push if it has to be recorded now.
    #[must_use]
    pub(crate) fn handed_out(&self, metrics: &DeliveryMetrics) -> Option<Arc<EncodedPush>> {
        let mut state = lock(&self.state);
        state.open -= 1;
        if let Some(abroad) = &mut state.abroad {
            abroad.locating = false;
        }
        let push = state.done(metrics);
        self.told(state);
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
        self.told(state);
    }

    /// It goes to this node too, under this id.
    pub(crate) fn given(&self, link: &Arc<Link>, id: u64) {
        if let Some(abroad) = &mut lock(&self.state).abroad {
            abroad.keepers.push((link.clone(), id));
            abroad.unanswered += 1;
        }
    }

    /// A keeper has said that it has it (`kept`), or never will.
    pub(crate) fn answered(&self, kept: bool) {
        let mut state = lock(&self.state);
        if let Some(abroad) = &mut state.abroad {
            abroad.unanswered = abroad.unanswered.saturating_sub(1);
            abroad.kept |= kept;
        }
        self.told(state);
    }

    /// These sessions did not get it, or nobody knows: should it end in the box, they have to be told.
    pub(crate) fn no_longer_known(&self, sessions: &[SessionId]) {
        lock(&self.state).known.retain(|known| !sessions.contains(known));
    }

    /// The node that it came from is dead: from now on it is this one's. Returns the push if it has to be recorded now.
    #[must_use]
    pub(crate) fn adopt(&self, push: Arc<EncodedPush>) -> Option<Arc<EncodedPush>> {
        let mut state = lock(&self.state);
        state.abroad = None;
        if state.open > 0 {
            state.push = Some(push);
            return None;
        }
        if state.taken {
            return None;
        }
        state.recording = Recording::UnderWay;
        Some(push)
    }

    /// Whether any device took it.
    pub(crate) fn was_taken(&self) -> bool {
        lock(&self.state).taken
    }

    /// Wakes who waits; lets the keepers go once it has ended.
    fn told(&self, mut state: MutexGuard<'_, State>) {
        let ended = state.open == 0 && state.recording != Recording::UnderWay;
        let keepers = match &mut state.abroad {
            Some(abroad) if ended => std::mem::take(&mut abroad.keepers),
            _ => Vec::new(),
        };
        drop(state);
        for (link, id) in keepers {
            link.release(id);
        }
        self.changed.notify_waiters();
    }

    /// Whether this session was there when the push was made.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        lock(&self.state).known.contains(&session)
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

    /// Waits until it can be promised: in the box, ended, or kept by two nodes where there are two.
    pub(crate) async fn secured(&self) {
        self.wait(State::is_secured).await;
    }

    pub(crate) fn is_secured(&self) -> bool {
        lock(&self.state).is_secured()
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

    fn is_secured(&self) -> bool {
        let kept = self
            .abroad
            .as_ref()
            .is_none_or(|abroad| !abroad.locating && (abroad.kept || abroad.unanswered == 0));
        self.recording != Recording::UnderWay && (self.open == 0 || kept)
    }

    fn report(&self, slot: usize, outcome: Outcome) {
        if let Some(report) = self.abroad.as_ref().and_then(|abroad| abroad.report.as_ref()) {
            report.taken(slot, outcome);
        }
    }

    fn report_late(&self, slot: usize) {
        if let Some(report) = self.abroad.as_ref().and_then(|abroad| abroad.report.as_ref()) {
            report.taken_late(slot);
        }
    }

    fn report_given_up(&self, slot: usize) {
        if let Some(report) = self.abroad.as_ref().and_then(|abroad| abroad.report.as_ref()) {
            report.given_up(slot);
        }
    }

    fn is_a_peers(&self) -> bool {
        self.abroad.as_ref().is_some_and(|abroad| abroad.report.is_some())
    }

    fn done(&mut self, metrics: &DeliveryMetrics) -> Option<Arc<EncodedPush>> {
        if self.open > 0 {
            return None;
        }
        let push = self.push.take();
        if self.is_a_peers() {
            // Decided over, and counted, where it came from.
            return None;
        }
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
