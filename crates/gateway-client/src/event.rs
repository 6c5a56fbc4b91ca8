//! What comes without being asked for: pushes, notices, and a return after a lost connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::Acknowledge;

/// Something that the gateway sent by itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Command 5001.
    Push(Push),
    /// Command 2.
    Notice(Notice),
    /// The connection was lost and has been made and bound again ([`Persistent`](crate::Persistent) only).
    Returned,
}

/// A pushed message, its `ext` opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Push {
    /// The same on every delivery of this push.
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
/// acknowledged: what the application has not seen is still the gateway's to deliver.
pub(crate) struct EventQueue {
    limit: usize,
    waiting: Mutex<VecDeque<(Event, Option<Acknowledge>)>>,
    arrived: Notify,
    refused: AtomicU64,
    /// Cancelled when nothing more will come.
    over: CancellationToken,
}

impl EventQueue {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            waiting: Mutex::default(),
            arrived: Notify::new(),
            refused: AtomicU64::new(0),
            over: CancellationToken::new(),
        })
    }

    pub(crate) fn offer(&self, event: Event, acknowledge: Option<Acknowledge>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.limit {
            drop(waiting);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push_back((event, acknowledge));
        drop(waiting);
        self.arrived.notify_one();
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(&self) {
        self.over.cancel();
    }

    fn take(&self) -> Option<Event> {
        let taken = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        taken.map(|(event, acknowledge)| {
            if let Some(acknowledge) = acknowledge {
                acknowledge.send();
            }
            event
        })
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

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self, |mut events| async move {
            events.next().await.map(|event| (event, events))
        })
    }
}
