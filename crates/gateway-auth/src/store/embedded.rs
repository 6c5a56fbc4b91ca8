//! The store inside this process. A restart forgets the refresh families (everybody's next refresh is a login);
//! revocations outlive it where a file is given.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gateway_codec::{Timestamp, UserId};

use super::families::{Families, Refused};
use super::revocation_file::RevocationFile;
use super::revocations::Revocations;
use super::{NewFamily, Rotated, Rotation, TokenRef, TokenStore};
use crate::error::{AuthError, SetupError};
use crate::metrics::Dropped;

/// Keeps families and revocations in memory.
///
/// Bounds: 16 families a user and 1,000,000 in all (the oldest, or the first to expire, can no longer refresh;
/// counted in `gateway_auth_families_dropped_total`), 1,000,000 revocations (a further one is refused, counted in
/// `gateway_auth_revocations_lost_total`). The file grows by two lines a logout until the next start compacts it.
pub struct EmbeddedTokenStore {
    // Held for map operations only, never across an await or a write.
    state: Mutex<State>,
    file: Option<Arc<Mutex<RevocationFile>>>,
    dropped: Dropped,
}

struct State {
    families: Families,
    revocations: Revocations,
}

impl State {
    fn is_revoked(&self, token: &TokenRef, now: Timestamp) -> bool {
        self.revocations.has(&token.jti, now)
            || token
                .family
                .is_some_and(|family| self.revocations.has(&family.to_string(), now))
    }
}

impl EmbeddedTokenStore {
    /// An empty store, or one that knows the revocations of a file; the file is read and compacted now, and made
    /// where it is missing.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn new(file: Option<&Path>, now: Timestamp) -> Result<Self, SetupError> {
        let opened = file.map(|path| {
            RevocationFile::open(path, now).map_err(|source| SetupError::RevocationFile {
                path: path.to_owned(),
                source,
            })
        });
        let (file, revocations) = match opened.transpose()? {
            Some((file, revocations)) => (Some(Arc::new(Mutex::new(file))), revocations),
            None => (None, Revocations::default()),
        };
        Ok(Self {
            state: Mutex::new(State {
                families: Families::default(),
                revocations,
            }),
            file,
            dropped: Dropped::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step below can panic half way, so the state is whole even behind a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes revocations to the file. In a blocking task, because the wait for the disk must not hold up the
    /// runtime's workers; the task ends by itself if the caller has gone, so the line is written all the same.
    async fn keep(&self, lines: Vec<(String, Timestamp)>) -> Result<(), AuthError> {
        let Some(file) = self.file.clone() else {
            return Ok(());
        };
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(&lines)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(std::io::Error::other).flatten().map_err(|error| {
            self.dropped.revocations.increment(1);
            tracing::error!(%error, "a revocation is not on disk and would be lost by a restart");
            AuthError::StoreUnavailable
        })
    }
}

#[async_trait]
impl TokenStore for EmbeddedTokenStore {
    async fn open(&self, family: NewFamily, now: Timestamp) -> Result<(), AuthError> {
        let dropped = self.state().families.open(family, now);
        self.dropped.families.increment(dropped as u64);
        Ok(())
    }

    async fn rotate(&self, rotation: Rotation, now: Timestamp) -> Result<Rotated, AuthError> {
        let (family, ended) = {
            let state = &mut *self.state();
            match state.families.rotate(&rotation, now) {
                Ok(rotated) => return Ok(rotated),
                Err(Refused::Plainly(error)) => return Err(error),
                Err(Refused::Reused(id, ended)) => {
                    let family = id.to_string();
                    if state.revocations.add(&family, ended.access_until, now).is_err() {
                        self.dropped.revocations.increment(1);
                        tracing::error!(
                            "too many revocations; the access tokens of a reused family stay valid"
                        );
                    }
                    (family, ended)
                }
            }
        };
        // A failure is logged. The caller must hear of the reuse in any case, and here the family has ended.
        let _ = self.keep(vec![(family, ended.access_until)]).await;
        let subject = ended.subject;
        Err(AuthError::RefreshReused {
            user_id: subject.user_id,
            device_id: subject.device_id,
            platform: subject.platform,
        })
    }

    async fn revoke(
        &self,
        _: &UserId,
        token: &TokenRef,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let mut lines = vec![(token.jti.to_string(), until)];
        {
            let state = &mut *self.state();
            if let Some(id) = token.family {
                let access_until = state.families.end(id).map_or(until, |ended| ended.access_until);
                lines.push((id.to_string(), access_until.max(until)));
            }
            for (id, until) in &lines {
                let full = state.revocations.add(id, *until, now);
                full.map_err(|_| {
                    self.dropped.revocations.increment(1);
                    AuthError::StoreUnavailable
                })?;
            }
        }
        self.keep(lines).await
    }

    async fn is_revoked(&self, token: &TokenRef, now: Timestamp) -> Result<bool, AuthError> {
        Ok(self.state().is_revoked(token, now))
    }

    async fn are_revoked(&self, tokens: &[TokenRef], now: Timestamp) -> Result<Vec<bool>, AuthError> {
        let state = self.state();
        Ok(tokens.iter().map(|token| state.is_revoked(token, now)).collect())
    }
}
