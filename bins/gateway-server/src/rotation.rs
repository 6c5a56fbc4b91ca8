//! Keys and certificates that change while the gateway runs.
//!
//! Every node has files of its own and looks at them itself: on a reload of `auth`, as soon as another node says that
//! its keys have changed (a hint), and every `auth.key_check_seconds` without being told. The keys are taken all or none;
//! a file that does not hold leaves them as they are, and is looked at again.
//!
//! What a key has signed that is taken out is refused from then on, and live sessions that were bound by it end (4401).
//! Refresh tokens are signed by no key: their clients get a new pair and come back. Whoever wants nobody disturbed keeps
//! the old key for as long as its tokens live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_auth::{ApiKeys, Authenticator, KeyChange, SetupError};
use gateway_codec::Code;
use gateway_config::{Auth, Change, Config, LoadOptions, ReloadError, reload_auth};
use gateway_conn::{Hints, Registry};
use metrics::{Counter, counter};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::gateway::GatewayError;
use crate::grpc::caller::BackEnds;
use crate::tls::Certificates;

/// Looks at keys and certificates. Shared by `Arc`.
pub struct Rotation {
    /// The configuration in force.
    pub current: Arc<Mutex<Config>>,
    /// What the configuration was loaded with; without it only the files that it names are looked at.
    pub options: Option<LoadOptions>,
    pub auth: Arc<Authenticator>,
    pub callers: BackEnds,
    pub certificates: Certificates,
    pub registry: Arc<Registry>,
    /// Where there are other nodes.
    pub hints: Option<Hints>,
    /// Told where another node says that keys have changed.
    pub told: Arc<Notify>,
    pub period: Duration,
    pub outcomes: Outcomes,
}

/// Looks by what came of them.
pub struct Outcomes {
    changed: Counter,
    failed: Counter,
    /// What failed last, by what was looked at, so that it is not said again with every look.
    said: Mutex<HashMap<&'static str, String>>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let outcome = |outcome| counter!("gateway_key_rotations_total", "outcome" => outcome);
        Self {
            changed: outcome("changed"),
            failed: outcome("failed"),
            said: Mutex::default(),
        }
    }
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Rotated {
    /// The difference in the configuration, secrets hidden.
    pub changes: Vec<Change>,
    /// Signing keys by name.
    pub keys: KeyChange,
    /// API keys, or names of back ends, are others.
    pub callers: bool,
}

impl Rotated {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.keys.is_empty() && !self.callers
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The main file.
    #[error(transparent)]
    Config(#[from] ReloadError),
    /// A key file.
    #[error(transparent)]
    Keys(#[from] SetupError),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Rotation {
    /// Looks until `stop`.
    ///
    /// # Errors
    /// None: it is one of the servers, and they may fail.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) -> Result<(), GatewayError> {
        let mut period = tokio::time::interval(self.period);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        period.tick().await;
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.told.notified() => true,
                _ = period.tick() => false,
            };
            self.look_at_certificates().await;
            // Failures are told and counted where they are found.
            if let Ok(found) = self.look().await
                && !found.is_empty()
                && !told
            {
                self.tell_others();
            }
        }
    }

    /// Looks now, because somebody asks for it, and has the other nodes look too, whether or not something is new here.
    ///
    /// # Errors
    /// 400 with what does not hold; the keys stay.
    pub async fn reload(self: &Arc<Self>) -> Result<Rotated, Fault> {
        self.look_at_certificates().await;
        let found = self.look().await.map_err(|error| match error {
            RotationError::Stopping => Fault::rule(Code::Unavailable, error.to_string()),
            // The caller is an administrator: files are named, nothing in them is.
            error => Fault::rule(Code::BadRequest, error.to_string()),
        })?;
        self.tell_others();
        Ok(found)
    }

    fn tell_others(&self) {
        if let Some(hints) = &self.hints {
            hints.keys_changed();
        }
    }

    async fn look(self: &Arc<Self>) -> Result<Rotated, RotationError> {
        let looking = self.clone();
        let found = tokio::task::spawn_blocking(move || looking.take_keys())
            .await
            .map_err(|_| RotationError::Stopping)?;
        match &found {
            Ok(found) if found.is_empty() => self.outcomes.is_well("keys"),
            Ok(found) => {
                self.outcomes.is_well("keys");
                self.outcomes.changed.increment(1);
                tracing::info!(added = ?found.keys.added, removed = ?found.keys.removed, signs = ?found.keys.signs,
                    callers = found.callers, "keys have changed");
            }
            Err(error) => self.outcomes.failed("keys", error),
        }
        found
    }

    /// Swaps the keys. Blocks to read files.
    fn take_keys(&self) -> Result<Rotated, RotationError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, changes) = match &self.options {
            Some(options) => {
                let reloaded = reload_auth(&current, options)?;
                (reloaded.config, reloaded.changes)
            }
            None => (current.clone(), Vec::new()),
        };
        let api_keys = ApiKeys::load(&config.auth)?;
        // The last that may fail: from here on all of it is new.
        let keys = self.auth.rotate_keys(&config.auth)?;
        let callers = self.take_callers(&api_keys, &current.auth, &config.auth);
        *current = config;
        drop(current);
        if !keys.removed.is_empty() {
            for live in self.registry.all_live() {
                live.link.recheck();
            }
        }
        Ok(Rotated {
            changes,
            keys,
            callers,
        })
    }

    fn take_callers(&self, keys: &ApiKeys, before: &Auth, after: &Auth) -> bool {
        let other_names = before.service_certificates != after.service_certificates;
        self.callers.set_certificates(after.service_certificates.clone());
        self.callers.keys().replace(keys) || other_names
    }

    async fn look_at_certificates(&self) {
        let certificates = self.certificates.clone();
        match tokio::task::spawn_blocking(move || certificates.reload()).await {
            Ok(Ok(new)) => {
                self.outcomes.is_well("certificates");
                if new {
                    tracing::info!("certificates have changed");
                }
            }
            Ok(Err(error)) => self.outcomes.failed("certificates", &error),
            // The runtime is being shut down.
            Err(_) => {}
        }
    }
}

impl Outcomes {
    fn is_well(&self, what: &'static str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.remove(what);
    }

    fn failed(&self, what: &'static str, error: &dyn std::fmt::Display) {
        self.failed.increment(1);
        let text = error.to_string();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(what) != Some(&text) {
            tracing::error!(%error, what, "the former ones stay");
            said.insert(what, text);
        }
    }
}
