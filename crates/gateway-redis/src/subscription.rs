//! Channels heard on a connection of their own, which comes back by itself. What is published while it is away is not
//! heard; whether anything was missed is not known here.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::Value;
use deadpool_redis::redis::aio::PubSubSink;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::RedisError;
use crate::backoff::Backoff;
use crate::metrics::RedisMetrics;
use crate::topology::Topology;

/// Messages that may wait to be taken; past it the newest is dropped and counted.
const WAITING: usize = 4_096;

/// Something that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel, prefix included.
    pub channel: String,
    /// What was said.
    pub payload: Vec<u8>,
}

/// Channels that are heard until this is dropped or the Redis is closed.
///
/// At most 4,096 messages wait to be taken; past that the newest is dropped and counted in
/// `gateway_redis_subscription_messages_dropped_total`.
pub struct Subscription {
    messages: mpsc::Receiver<Message>,
    restart: Arc<Notify>,
    _ends_when_dropped: DropGuard,
}

impl Subscription {
    /// The next message; `None` once the Redis is closed or all its handles are dropped. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Drops the connection, or whatever it is stuck in, and makes a new one: for a caller whose own messages do not come
    /// back. Messages that wait to be taken stay.
    pub fn restart(&self) {
        self.restart.notify_one();
    }
}

/// After what time an idle connection is asked whether it still stands, and how long that may take.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) idle: Duration,
    pub(crate) response: Duration,
}

pub(crate) fn start(
    topology: Arc<Topology>,
    channels: Vec<String>,
    waits: Waits,
    metrics: RedisMetrics,
    stop: &CancellationToken,
    tasks: &TaskTracker,
    runtime: &Handle,
) -> Subscription {
    let (messages, receiver) = mpsc::channel(WAITING);
    let restart = Arc::new(Notify::new());
    let end = stop.child_token();
    let hearer = Hearer {
        topology,
        channels,
        waits,
        metrics,
        messages,
        restart: restart.clone(),
    };
    let ended = end.clone();
    tasks.spawn_on(
        async move { ended.run_until_cancelled(hearer.keep()).await },
        runtime,
    );
    Subscription {
        messages: receiver,
        restart,
        _ends_when_dropped: end.drop_guard(),
    }
}

struct Hearer {
    topology: Arc<Topology>,
    channels: Vec<String>,
    waits: Waits,
    metrics: RedisMetrics,
    messages: mpsc::Sender<Message>,
    restart: Arc<Notify>,
}

impl Hearer {
    /// Hears, and begins again when the connection is lost; without end.
    async fn keep(self) {
        let mut backoff = Backoff::new();
        let mut lost = None;
        loop {
            let mut stood = None;
            tokio::select! {
                // Whoever wants another connection wants it now.
                () = self.restart.notified() => continue,
                error = self.hear(&mut lost, &mut stood) => {
                    if lost.is_none() {
                        tracing::warn!(redis = %self.topology.describe(), %error, "a subscription was lost");
                        lost = Some(Instant::now());
                    }
                }
            }
            match stood {
                Some(since) => backoff.lost(since.elapsed()),
                None => backoff.failed(),
            }
            let _ = timeout(backoff.wait(), self.restart.notified()).await;
        }
    }

    /// Returns when the connection has to be replaced, and why. `stood`: since when it heard.
    async fn hear(&self, lost: &mut Option<Instant>, stood: &mut Option<Instant>) -> RedisError {
        let pubsub = match self.topology.pubsub(&self.channels).await {
            Ok(pubsub) => pubsub,
            Err(error) => return error,
        };
        *stood = Some(Instant::now());
        if let Some(since) = lost.take() {
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis = %self.topology.describe(), away_ms, "the subscription is back");
        }
        let (sink, mut heard) = pubsub.split();
        let mut silent = std::pin::pin!(self.silent(sink));
        loop {
            tokio::select! {
                message = heard.next() => {
                    let Some(message) = message else {
                        return RedisError::Unavailable("the connection has ended".to_owned());
                    };
                    let message = Message {
                        channel: message.get_channel_name().to_owned(),
                        payload: message.get_payload_bytes().to_vec(),
                    };
                    if self.messages.try_send(message).is_err() {
                        self.metrics.messages_dropped.increment(1);
                    }
                }
                error = &mut silent => return error,
            }
        }
    }

    /// Returns when the server answers no longer.
    async fn silent(&self, mut sink: PubSubSink) -> RedisError {
        loop {
            sleep(self.waits.idle).await;
            match timeout(self.waits.response, sink.ping::<Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return RedisError::TimedOut,
            }
        }
    }
}
