//! Writes what has been queued: one script for all that has gathered, one after the other, so that a device's events
//! keep their order.

use std::sync::Arc;
use std::time::Duration;

use gateway_redis::{RedisError, Script, read};
use metrics::Counter;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Desk, Event};

static WRITE: Script = Script::new(concat!(include_str!("events.lua"), include_str!("write.lua")));

/// Events of one script; Redis does nothing else meanwhile, about half a millisecond.
const AT_ONCE: usize = 64;
/// Between two tries while Redis is away.
const AGAIN: Duration = Duration::from_millis(250);
/// Time to write what is left at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

pub(super) async fn run(
    desk: Arc<Desk>,
    mut waiting: mpsc::Receiver<Event>,
    stop: CancellationToken,
    lost: Counter,
) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    // A write is never cut off because of the stop: it might have reached Redis, and would be there twice.
    let writing = async {
        while let Some(1..) = stop
            .run_until_cancelled(waiting.recv_many(&mut batch, AT_ONCE))
            .await
        {
            desk.write(&mut batch, &lost).await;
        }
        // What comes from here on is lost, and counted where it comes.
        waiting.close();
        while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
            desk.write(&mut batch, &lost).await;
        }
    };
    let patience = async {
        stop.cancelled().await;
        sleep(LAST_WRITE).await;
    };
    let all_written = tokio::select! {
        () = writing => true,
        () = patience => false,
    };
    if !all_written {
        let left = batch.len() + waiting.len();
        lost.increment(left as u64);
        tracing::warn!(left, "online and offline events were not written at the end");
    }
}

impl Desk {
    /// Writes a batch and empties it; while Redis is away, again and again.
    async fn write(&self, batch: &mut Vec<Event>, lost: &Counter) {
        let mut away = false;
        while !batch.is_empty() {
            match self.try_write(batch).await {
                Ok((told, flaps)) => {
                    self.online.increment(told);
                    self.flaps.increment(flaps);
                    batch.clear();
                }
                Err(error) if error.is_retryable() => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::debug!(%error, "online and offline events wait for Redis");
                    }
                    sleep(AGAIN).await;
                }
                Err(error) => {
                    tracing::error!(%error, events = batch.len(), "online and offline events cannot be written");
                    lost.increment(batch.len() as u64);
                    batch.clear();
                }
            }
        }
    }

    async fn try_write(&self, batch: &[Event]) -> Result<(u64, u64), RedisError> {
        let mut command = self.script(&WRITE).arg(self.window);
        for event in batch {
            command = command
                .arg(event.what)
                .arg(&event.device)
                .arg(event.epoch)
                .arg(&event.rest);
        }
        read(self.redis.run(command).await?)
    }
}
