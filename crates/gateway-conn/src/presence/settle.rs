//! Looks at the devices whose flap window is over, whatever node noted them, and tells of those that have not come back.

use std::sync::Arc;
use std::time::Duration;

use gateway_redis::{Command, RedisError, Script, read};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::store::redis::is_bound;
use crate::words;

static CLAIM: Script = Script::new(concat!(include_str!("events.lua"), include_str!("claim.lua")));
static SETTLE: Script = Script::repeatable(concat!(include_str!("events.lua"), include_str!("settle.lua")));

/// How often is looked: so much later than the window an event may be told.
const PERIOD: Duration = Duration::from_millis(500);
/// Devices looked at in one step.
const AT_ONCE: usize = 64;
/// How long a claim lasts: after it another node looks, since this one may be dead.
const CLAIM_MS: u64 = 10_000;
/// How long it is remembered which offline was told, so that who says it late says nothing new.
const TOLD_MS: u64 = 60_000;

pub(super) async fn run(desk: Arc<Desk>, stop: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        loop {
            match desk.settle().await {
                // More may be due.
                Ok(AT_ONCE..) if !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    // What was claimed is due again soon.
                    tracing::debug!(%error, "who has gone offline cannot be looked at");
                    break;
                }
            }
        }
    }
}

impl Desk {
    /// Looks at some of what is due; returns how many that were.
    async fn settle(&self) -> Result<usize, RedisError> {
        let claim = self.script(&CLAIM).arg(CLAIM_MS).arg(AT_ONCE);
        let (due, marks): (usize, Vec<(String, String)>) = read(self.redis.run(claim).await?)?;
        if marks.is_empty() {
            return Ok(due);
        }
        let asked = marks.iter().map(|(device, _)| self.ask_store(device));
        let bound = self.redis.run_all(asked.collect()).await;
        let mut settle = self.script(&SETTLE).arg(TOLD_MS);
        for ((device, mark), bound) in marks.iter().zip(bound) {
            let verdict = if read(bound?)? { "here" } else { "gone" };
            settle = settle.arg(verdict).arg(device).arg(mark);
        }
        self.offline.increment(read(self.redis.run(settle).await?)?);
        Ok(due)
    }

    /// Whether the store has a session of this device.
    fn ask_store(&self, device: &str) -> Command {
        let mut words = words::split(device);
        let mut next = || words.next().unwrap_or_default();
        let (user, platform, device) = (next(), next(), next());
        is_bound(&self.redis, &user, &platform, &device)
    }
}
