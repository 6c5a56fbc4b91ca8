//! What comes without being asked for: pushes, notices, and a return after a lost connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::acknowledge::Acknowledge;
use crate::seen::{Known, Seen};

/// Something that the gateway sent by itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Command 5001. Each `push_id` comes once, however often the gateway delivers it: see [`Events::duplicates`].
    Push(Push),
    /// Command 2. `gap` among them says that the stream of pushes has a hole: its `count` pushes were lost on the
    /// way and cannot be had again (0: it is not known how many). What this client was to know has to be fetched
    /// from elsewhere, such as the conversation's history.
    Notice(Notice),
    /// The connection was lost and has been made and bound again ([`Persistent`](crate::Persistent) only).
    Returned,
}

/// A pushed message, its `ext` opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Push {
    /// The same on every delivery of this push. A push without one is never taken for a duplicate.
    pub push_id: String,
    /// `message`, `notification`, `system` or `offline`.
    #[serde(rename = "type")]
    pub push_type: String,
    /// What the sender wrote.
    pub content: String,
    /// The message that this push is about.
    pub message_id: String,
    /// Who wrote it.
    pub sender_uid: String,
    /// `direct`, `group` or `system`.
    pub conversation_type: String,
    /// The peer's user id, or the group's id.
    pub conversation_id: String,
}

/// A notice: `welcome`, `kicked`, `new_login`, `auth_timeout`, `auth_failed`, `token_expiring`, `draining`, `gap`.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Which one.
    pub event: String,
    /// 200, or the error that the notice announces.
    pub code: u16,
    /// All its fields, `event` among them.
    pub data: Value,
}

/// A bounded queue between a connection and the application. Full, it refuses the newest, which is then not
/// acknowledged: what the application has not seen is still the gateway's to deliver. Over all connections that
/// feed it, a push is in it once.
pub(crate) struct EventQueue {
    limit: usize,
    state: Mutex<State>,
    arrived: Notify,
    refused: AtomicU64,
    duplicates: AtomicU64,
    /// Cancelled when nothing more will come.
    over: CancellationToken,
}

/// Under one lock, so that a push is known as waiting exactly as long as it waits.
struct State {
    waiting: VecDeque<(Event, Option<Acknowledge>)>,
    seen: Seen,
}

impl EventQueue {
    /// `last_push_id`, where not empty, counts as taken already.
    pub(crate) fn new(limit: usize, last_push_id: &str) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                seen: Seen::after(last_push_id),
            }),
            arrived: Notify::new(),
            refused: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            over: CancellationToken::new(),
        })
    }

    /// Anything but a push.
    pub(crate) fn offer(&self, event: Event) {
        let mut state = self.state();
        if state.waiting.len() >= self.limit {
            drop(state);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.push_back((event, None));
        drop(state);
        self.arrived.notify_one();
    }

    /// A push, which is given on only if it is not known.
    pub(crate) fn offer_push(&self, push: Push, acknowledge: Acknowledge) {
        let mut state = self.state();
        match state.seen.look(&push.push_id) {
            Known::No if state.waiting.len() >= self.limit => {
                drop(state);
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Known::No => {
                state.seen.wait(&push.push_id);
                state.waiting.push_back((Event::Push(push), Some(acknowledge)));
                drop(state);
                self.arrived.notify_one();
            }
            Known::Waiting => {
                // Acknowledged when it is taken, but over the connection of this delivery: an earlier one may be gone.
                let is_it =
                    |event: &Event| matches!(event, Event::Push(waits) if waits.push_id == push.push_id);
                if let Some((_, of)) = state.waiting.iter_mut().find(|(event, _)| is_it(event)) {
                    *of = Some(acknowledge);
                }
                drop(state);
                self.duplicates.fetch_add(1, Ordering::Relaxed);
            }
            Known::Taken => {
                drop(state);
                self.duplicates.fetch_add(1, Ordering::Relaxed);
                // The gateway has missed the first one, or would not have delivered it again.
                acknowledge.send();
            }
        }
    }

    /// The push that the application took last.
    pub(crate) fn last_push_id(&self) -> Option<Arc<str>> {
        self.state().seen.last()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(&self) {
        self.over.cancel();
    }

    fn take(&self) -> Option<Event> {
        let mut state = self.state();
        let (event, acknowledge) = state.waiting.pop_front()?;
        if let Event::Push(push) = &event {
            state.seen.take(&push.push_id);
        }
        drop(state);
        if let Some(acknowledge) = acknowledge {
            acknowledge.send();
        }
        Some(event)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of a client, oldest first. Several handles share one queue: each event goes to one of them.
#[derive(Clone)]
pub struct Events {
    queue: Arc<EventQueue>,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>) -> Self {
        Self { queue }
    }

    /// The next event; a push is acknowledged by being taken. `None` once the connection has ended and the queue
    /// is empty. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let arrived = self.queue.arrived.notified();
            let over = self.queue.over.is_cancelled();
            if let Some(event) = self.queue.take() {
                return Some(event);
            }
            if over {
                return None;
            }
            tokio::select! {
                () = arrived => {}
                () = self.queue.over.cancelled() => {}
            }
        }
    }

    /// How many pushes came again and were not given to the application a second time. Known are those that wait
    /// and the last 4,096 that were taken, with ids of up to 256 bytes. One that had been taken is acknowledged
    /// again at once, one that waits still when it is taken.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.queue.duplicates.load(Ordering::Relaxed)
    }

    /// The `push_id` of the push that was taken last, for [`Builder::last_push_id`](crate::Builder::last_push_id)
    /// after a restart of the application. `None` before the first, and never one of more than 256 bytes.
    #[must_use]
    pub fn last_push_id(&self) -> Option<String> {
        self.queue.last_push_id().map(|id| String::from(&*id))
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self, |mut events| async move {
            events.next().await.map(|event| (event, events))
        })
    }
}
