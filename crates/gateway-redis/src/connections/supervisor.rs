//! Makes the shared connections and replaces those that break. One task for each; they say together that the server was
//! lost and is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Core, Slot};
use crate::RedisError;
use crate::backoff::Backoff;
use crate::topology::{Shared, Topology};

/// What the log is told: one line when the last connection is lost, one when the first is back.
pub(super) struct Health {
    address: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    standing: usize,
    /// Since when no connection stands, once that was said.
    lost: Option<Instant>,
    why: Option<RedisError>,
}

impl Health {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            state: Mutex::default(),
        }
    }

    /// Why there is no connection, for whoever needs one.
    pub(super) fn why_away(&self) -> String {
        match &self.state().why {
            Some(RedisError::Unavailable(why)) => format!("no connection: {why}"),
            Some(other) => format!("no connection: {other}"),
            None => "no connection".to_owned(),
        }
    }

    fn made(&self) {
        let mut state = self.state();
        state.standing += 1;
        state.why = None;
        if let Some(since) = state.lost.take() {
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis = %self.address, away_ms, "Redis is back");
        }
    }

    fn ended(&self) {
        let mut state = self.state();
        state.standing = state.standing.saturating_sub(1);
    }

    fn failed(&self, error: RedisError) {
        let mut state = self.state();
        if state.standing == 0 {
            if state.lost.is_none() {
                tracing::warn!(redis = %self.address, %error, "Redis cannot be reached");
                state.lost = Some(Instant::now());
            }
            state.why = Some(error);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one connection.
pub(super) struct Supervisor {
    pub(super) core: Arc<Core>,
    pub(super) topology: Arc<Topology>,
    pub(super) place: usize,
    pub(super) idle: Duration,
}

impl Supervisor {
    /// Makes the connection, keeps it while it stands, makes it anew; without end.
    pub(super) async fn keep(self) {
        let slot = &self.core.slots[self.place];
        let mut backoff = Backoff::new();
        loop {
            let error = match self.topology.connect().await {
                Ok(connection) => {
                    let begun = Instant::now();
                    let error = self.watch(slot, Arc::new(connection)).await;
                    backoff.stood(begun.elapsed());
                    error
                }
                Err(error) => error,
            };
            self.core.health.failed(error);
            sleep(backoff.wait()).await;
        }
    }

    /// Returns when the connection has to be replaced, and why.
    async fn watch(&self, slot: &Slot, connection: Arc<Shared>) -> RedisError {
        let standing = Standing::new(&self.core, slot, connection);
        loop {
            // Until a command failed, or the connection may have been idle for long.
            let _ = timeout(self.idle, slot.look.notified()).await;
            match self.topology.look(&standing.connection).await {
                Ok(()) => slot.standing.store(Some(standing.connection.clone())),
                Err(error) => return error,
            }
        }
    }
}

/// A connection in its slot. It leaves it however the watch ends.
struct Standing<'a> {
    core: &'a Core,
    slot: &'a Slot,
    connection: Arc<Shared>,
}

impl<'a> Standing<'a> {
    fn new(core: &'a Core, slot: &'a Slot, connection: Arc<Shared>) -> Self {
        slot.standing.store(Some(connection.clone()));
        core.metrics.connections.increment(1);
        core.health.made();
        Self {
            core,
            slot,
            connection,
        }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.slot.standing.store(None);
        self.core.metrics.connections.decrement(1);
        self.core.health.ended();
    }
}
