//! The workers of the outbox: one per user with something to say, each call with a deadline and few tries.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use gateway_codec::{EncodedPush, UserId};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Core;
use super::flight::Flight;
use super::outbox::{Call, Job};
use crate::sharded::lock;
use crate::{OfflineError, OfflinePush};

/// Pauses between the tries of one call: three tries in all.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// How long boxes to be asked gather: the sink may ask for all in one call, and its runtime is woken once for them.
pub(crate) const GATHER: Duration = Duration::from_millis(2);
/// What one try may take.
const DEADLINE: Duration = Duration::from_secs(5);

impl Core {
    /// Has the offline box keep a push; without room for that it has failed.
    pub(super) fn record(self: &Arc<Self>, flight: Arc<Flight>, push: Arc<EncodedPush>) {
        let user = flight.user.clone();
        if !self.submit(&user, Job::Record(flight.clone(), push)) {
            self.metrics.record_refused.increment(1);
            flight.recorded(false, &self.metrics);
        }
    }

    /// Puts a job into the user's queue, and a worker to it. False: there is no room.
    pub(super) fn submit(self: &Arc<Self>, user: &UserId, job: Job) -> bool {
        let is_patient = matches!(job, Job::Ask(..));
        match self.outbox.put(user, job) {
            Ok(true) if is_patient => self.start_soon(user.clone()),
            Ok(true) => self.start(user.clone()),
            Ok(false) => {}
            Err(_) => return false,
        }
        true
    }

    /// Starts a user's worker.
    fn start(self: &Arc<Self>, user: UserId) {
        let core = self.clone();
        let worker = async move {
            while let Some(call) = core.outbox.next(&user) {
                core.say(&user, call).await;
            }
        };
        self.tasks.spawn_on(worker, &self.runtime);
    }

    /// Starts a user's worker in a moment, with those of others. As many users gather as the outbox has jobs at most, each
    /// having put one.
    fn start_soon(self: &Arc<Self>, user: UserId) {
        {
            let mut gathered = lock(&self.gathered);
            gathered.push(user);
            if gathered.len() > 1 {
                return;
            }
        }
        let core = self.clone();
        let start = async move {
            sleep(GATHER).await;
            let users = std::mem::take(&mut *lock(&core.gathered));
            for user in users {
                core.start(user);
            }
        };
        self.tasks.spawn_on(start, &self.runtime);
    }

    async fn say(self: &Arc<Self>, user: &UserId, call: Call) {
        match call {
            Call::Ask(live, at, tries) => self.ask(live, at, tries).await,
            Call::Delivered(ids) => {
                let said = self.try_often(|| self.sink.delivered(user, ids.clone())).await;
                if let Err(error) = said {
                    self.metrics.delivered_lost.increment(ids.len() as u64);
                    warn!(%error, count = ids.len(), "delivered pushes stay in the offline box");
                }
            }
            Call::Record(batch) => self.say_record(user, &batch).await,
        }
    }

    async fn say_record(self: &Arc<Self>, user: &UserId, batch: &[(Arc<Flight>, Arc<EncodedPush>)]) {
        let pushes: Vec<_> = batch
            .iter()
            .map(|(flight, push)| OfflinePush {
                user_id: flight.user.clone(),
                push: push.clone(),
            })
            .collect();
        let said = self.try_often(|| self.sink.record_offline(pushes.clone())).await;
        let count = batch.len() as u64;
        match &said {
            Ok(()) => self.metrics.recorded.increment(count),
            Err(error) => {
                self.metrics.record_failed.increment(count);
                warn!(%error, count, "pushes were neither delivered nor recorded");
            }
        }
        for (flight, _) in batch {
            flight.recorded(said.is_ok(), &self.metrics);
        }
        if said.is_ok() {
            self.hint(user, batch);
            let flights: Vec<_> = batch.iter().map(|(flight, _)| flight).collect();
            self.hint_elsewhere(user, &flights).await;
        }
    }

    async fn try_often<F>(&self, mut call: impl FnMut() -> F) -> Result<(), OfflineError>
    where
        F: Future<Output = Result<(), OfflineError>>,
    {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match bounded(&self.recording_calls, DEADLINE, call()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match pauses.next() {
                Some(pause) if error.is_retryable() && !self.is_closing() => sleep(*pause).await,
                _ => return Err(error),
            }
        }
    }
}

/// Makes a call of the sink with a permit and a deadline. A sink that panics has refused: one user's worker must not
/// die with its queue.
pub(super) async fn bounded<T>(
    permits: &Semaphore,
    deadline: Duration,
    call: impl Future<Output = Result<T, OfflineError>>,
) -> Result<T, OfflineError> {
    // Never closed, so a permit is only ever late.
    let _permit = permits.acquire().await.ok();
    match timeout(deadline, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(OfflineError::Rejected("the sink panicked".to_owned())),
        Err(_) => Err(OfflineError::Unavailable("no answer in time".to_owned())),
    }
}
