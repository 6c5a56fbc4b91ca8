//! What nodes tell each other through Redis, so that it is known at once what the store would tell within half a minute:
//! sessions that were ended, tokens that were revoked, nodes that came.
//!
//! A hint may be lost; nothing depends on it but how soon something is known. Whether hints come through at all is known
//! by a canary: a node sends one to itself every second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_codec::{NodeId, SessionId, Timestamp};
use gateway_redis::{Command, Redis, Subscription};
use metrics::{Counter, counter};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::KickKind;

/// Hints that may wait to be sent; past it one is dropped and counted.
const WAITING: usize = 16_384;
const AT_ONCE: usize = 256;

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hint", rename_all = "snake_case")]
pub(crate) enum Hint {
    Canary {
        boot: String,
    },
    /// Sessions of the node that is told were ended by somebody else.
    End {
        sessions: Vec<SessionId>,
        kind: String,
        reason: String,
    },
    /// An access token or a family was revoked until this moment.
    Revoked {
        id: String,
        until: u64,
    },
    /// Signing keys were changed somewhere: every node is to look at its own.
    KeysChanged,
    /// A node has begun to serve.
    Joined {
        node: String,
    },
}

/// Sends hints. Cheap to clone.
#[derive(Clone)]
pub struct Hints {
    redis: Redis,
    queue: mpsc::Sender<(String, Hint)>,
    stop: CancellationToken,
    tasks: TaskTracker,
    dropped: Counter,
}

impl Hints {
    /// Sends through `redis`, on a task of `runtime`.
    #[must_use]
    pub fn new(redis: Redis, runtime: &Handle) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn_on(publish(redis.clone(), waiting, stop.clone()), runtime);
        tasks.close();
        Self {
            redis,
            queue,
            stop,
            tasks,
            dropped: counter!("gateway_hints_dropped_total"),
        }
    }

    /// Sends what waits and ends.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Tells every node that a token or a family is revoked.
    pub fn revoked(&self, id: &str, until: Timestamp) {
        let hint = Hint::Revoked {
            id: id.to_owned(),
            until: until.as_millis(),
        };
        self.send(everybody(&self.redis), hint);
    }

    /// Tells every node to look whether its keys have changed.
    pub fn keys_changed(&self) {
        self.send(everybody(&self.redis), Hint::KeysChanged);
    }

    pub(crate) fn ended(&self, node: &NodeId, sessions: Vec<SessionId>, kind: KickKind, reason: &str) {
        let hint = Hint::End {
            sessions,
            kind: kind.text().to_owned(),
            reason: reason.to_owned(),
        };
        self.send(channel(&self.redis, node), hint);
    }

    pub(super) fn canary(&self, node: &NodeId, boot: &str) {
        let boot = boot.to_owned();
        self.send(channel(&self.redis, node), Hint::Canary { boot });
    }

    pub(super) fn joined(&self, node: &NodeId) {
        let node = node.to_string();
        self.send(everybody(&self.redis), Hint::Joined { node });
    }

    /// Hears what is told to `node` and to everybody.
    pub(super) fn subscribe(&self, node: &NodeId) -> Subscription {
        self.redis
            .subscribe(vec![channel(&self.redis, node), everybody(&self.redis)])
    }

    fn send(&self, channel: String, hint: Hint) {
        if self.queue.try_send((channel, hint)).is_err() {
            self.dropped.increment(1);
        }
    }
}

fn channel(redis: &Redis, node: &NodeId) -> String {
    redis.key(&format!("gateway:hints:{node}"))
}

fn everybody(redis: &Redis) -> String {
    redis.key("gateway:hints")
}

async fn publish(redis: Redis, mut waiting: mpsc::Receiver<(String, Hint)>, stop: CancellationToken) {
    let mut batch = Vec::new();
    while let Some(1..) = stop
        .run_until_cancelled(waiting.recv_many(&mut batch, AT_ONCE))
        .await
    {
        tell(&redis, &mut batch).await;
    }
    while let Ok(one) = waiting.try_recv() {
        batch.push(one);
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), tell(&redis, &mut batch)).await;
}

async fn tell(redis: &Redis, batch: &mut Vec<(String, Hint)>) {
    let commands = batch.drain(..).map(|(channel, hint)| {
        let text = serde_json::to_string(&hint).unwrap_or_default();
        Command::new("PUBLISH").arg(channel).arg(text)
    });
    // One that is lost is found in the store a little later.
    let _ = redis.run_all(commands.collect()).await;
}

/// When something last came back: milliseconds since this was made.
#[derive(Clone)]
pub(super) struct Heard {
    since: Instant,
    at: Arc<AtomicU64>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            at: Arc::default(),
        }
    }

    pub(super) fn now(&self) {
        self.at
            .store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago.
    pub(super) fn ago(&self) -> Duration {
        let at = Duration::from_millis(self.at.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(at)
    }
}
