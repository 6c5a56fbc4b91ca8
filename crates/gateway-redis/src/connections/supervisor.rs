//! Makes the shared connections and replaces those that break. One task for each; they say together that the server was
//! lost and is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep, timeout};

use super::{Core, Slot};
use crate::RedisError;
use crate::backoff::Backoff;
use crate::topology::{ConnectError, Shared, Topology};

/// How long commands wait for a connection after the last one was lost. A server that is well is connected to again within
/// some milliseconds; after this it counts as away, and commands fail at once.
const HOPE: Duration = Duration::from_millis(250);
/// The same while a server takes connections and closes them at once: it is there.
const LONG_HOPE: Duration = Duration::from_secs(2);

/// Whether the server can be reached, for commands that need a connection and for the log: one line when the last
/// connection is lost, one when the first is back.
pub(super) struct Health {
    address: String,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    standing: usize,
    /// Since when no connection stands, once that was said.
    lost: Option<Instant>,
    /// Since when commands find no connection.
    without: Option<Instant>,
    /// When the server last closed a connection that was being made.
    dropped: Option<Instant>,
    why: Option<RedisError>,
}

impl Health {
    pub(super) fn new(address: String) -> Self {
        let state = State {
            without: Some(Instant::now()),
            ..State::default()
        };
        Self {
            address,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Completes when a connection comes into use.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Until when it makes sense to wait for a connection.
    pub(super) fn hope(&self) -> Instant {
        let state = self.state();
        let since = state.without.unwrap_or_else(Instant::now);
        let longer = state.dropped.map(|at| (at + HOPE).min(since + LONG_HOPE));
        longer.map_or(since + HOPE, |longer| longer.max(since + HOPE))
    }

    /// A connection came into use.
    pub(super) fn stands(&self) {
        let mut state = self.state();
        (state.without, state.dropped) = (None, None);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Commands find no connection from now on.
    pub(super) fn none_stands(&self) {
        self.state().without.get_or_insert_with(Instant::now);
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

    /// A connection was lost. The server may be well: only a connection that cannot be made says more.
    fn lost(&self, error: RedisError) {
        let mut state = self.state();
        if state.standing == 0 {
            state.why = Some(error);
        }
    }

    /// The server took a connection and closed it before it was of use.
    fn dropped(&self, error: RedisError) {
        self.state().dropped = Some(Instant::now());
        self.lost(error);
    }

    /// A connection cannot be made.
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
    /// Between two looks.
    pub(super) idle: Duration,
}

impl Supervisor {
    /// Makes the connection, keeps it while it stands, makes it anew; without end.
    pub(super) async fn keep(self) {
        let slot = &self.core.slots[self.place];
        let mut backoff = Backoff::new();
        loop {
            match self.topology.connect().await {
                Ok(connection) => {
                    let begun = Instant::now();
                    let error = self.watch(slot, Arc::new(connection)).await;
                    backoff.lost(begun.elapsed());
                    tracing::debug!(%error, "a connection to Redis was lost");
                    self.core.health.lost(error);
                }
                Err(ConnectError::Dropped(error)) => {
                    backoff.lost(Duration::ZERO);
                    self.core.health.dropped(error);
                }
                Err(ConnectError::Failed(error)) => {
                    backoff.failed();
                    self.core.health.failed(error);
                }
            }
            sleep(backoff.wait()).await;
        }
    }

    /// Returns when the connection has to be replaced, and why.
    async fn watch(&self, slot: &Slot, connection: Arc<Shared>) -> RedisError {
        let standing = Standing::new(&self.core, slot, connection);
        loop {
            // Until a command failed; else the look itself keeps the connection from being closed as idle.
            let _ = timeout(self.idle, slot.look.notified()).await;
            match self.topology.look(&standing.connection).await {
                Ok(()) => self.core.put(slot, &standing.connection),
                Err(error) => return error.into(),
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
        core.metrics.connections.increment(1);
        core.health.made();
        core.put(slot, &connection);
        Self {
            core,
            slot,
            connection,
        }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.core.take(self.slot, &self.connection);
        self.core.metrics.connections.decrement(1);
        self.core.health.ended();
    }
}
