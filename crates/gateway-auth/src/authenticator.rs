//! The front of the crate: tokens are given out, renewed, checked and revoked here.
//!
//! A check of a signature costs far more than a look at a map, so what was verified is kept for up to 30 s under
//! the token's SHA-256. A revocation made here counts at once all the same: it opens a new era, and what was
//! checked in an older one asks the store again (not the signature). A key that is taken out counts at once too: what
//! it signed is refused, remembered or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_codec::Timestamp;
use gateway_config::Auth;
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::claims::Rules;
use crate::clock::Clock;
use crate::error::{AuthError, SetupError};
use crate::identity::{Identity, Subject, TokenPair};
use crate::keys::{KeyChange, KeyRing};
use crate::metrics::{Refreshes, Revoked, Verifications};
use crate::random::{Random, random_id};
use crate::store::{EmbeddedTokenStore, FamilyId, NewFamily, NewRefresh, Rotation, TokenRef, TokenStore};

/// Tokens whose check is remembered; beyond it, those least used are checked anew.
const CACHED_TOKENS: usize = 65_536;

/// By what a checked token is known again.
type TokenKey = [u8; 16];

/// Longest time that the store is not asked about a token.
const MAX_CHECK_AGE: Duration = Duration::from_secs(30);

/// Identities that are confirmed by one question to the store.
const CONFIRMED_AT_ONCE: usize = 256;

/// Gives out and checks tokens.
pub struct Authenticator {
    keys: ArcSwap<KeyRing>,
    rules: Rules,
    access_life: Duration,
    refresh_life: Duration,
    check_age: Duration,
    store: Arc<dyn TokenStore>,
    cache: Cache<TokenKey, Checked>,
    /// Counts the revocations made here.
    era: AtomicU64,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    verifications: Verifications,
    refreshes: Refreshes,
    revoked: Revoked,
}

/// A token whose signature and claims are good, and which was not revoked at `at`.
#[derive(Clone)]
struct Checked {
    identity: Identity,
    at: Timestamp,
    era: u64,
}

impl Authenticator {
    /// Reads the keys, and keeps families and revocations in this process. Blocks to read files; meant for the
    /// start.
    ///
    /// # Errors
    /// A key that is missing or bad, or a revocation file that cannot be used.
    pub fn new(auth: &Auth, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, SetupError> {
        let store = EmbeddedTokenStore::new(auth.revocation_file.as_deref(), clock.now())?;
        Self::with_store(auth, Arc::new(store), clock, random)
    }

    /// As [`Authenticator::new`], with another store; `auth.revocation_file` is then not used.
    ///
    /// # Errors
    /// A key that is missing or bad.
    pub fn with_store(
        auth: &Auth,
        store: Arc<dyn TokenStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            keys: ArcSwap::from_pointee(KeyRing::load(auth, None)?),
            rules: Rules::new(auth),
            access_life: auth.token_expire,
            refresh_life: auth.refresh_expire,
            check_age: auth.revocation_check.min(MAX_CHECK_AGE),
            store,
            cache: Cache::new(CACHED_TOKENS),
            era: AtomicU64::new(0),
            clock,
            random,
            verifications: Verifications::new(),
            refreshes: Refreshes::new(),
            revoked: Revoked::new(),
        })
    }

    /// Gives a token pair to a login, whose truth the caller answers for. Older pairs of the same device live on
    /// until they expire or log out; a user's seventeenth login ends the refreshing of the oldest.
    ///
    /// # Errors
    /// The store cannot be written, or the key does not sign.
    pub async fn login(&self, subject: Subject) -> Result<TokenPair, AuthError> {
        let now = self.clock.now();
        let family = FamilyId::from_bits(random_id(&*self.random));
        let (token, refresh) = self.new_refresh(now);
        let pair = self.pair(subject.clone(), family, token, now)?;
        self.store
            .open(
                NewFamily {
                    id: family,
                    subject,
                    refresh,
                },
                now,
            )
            .await?;
        Ok(pair)
    }

    /// A new pair for a refresh token, which is spent by it. Used again within 30 s from the same device while
    /// its successor is unused, it gives a new successor that voids that one; any other second use revokes the
    /// family. `device_id` left out is taken for the token's own.
    ///
    /// # Errors
    /// The refresh errors, [`AuthError::WrongDevice`], which spends nothing, or the store cannot be asked.
    pub async fn refresh(
        &self,
        refresh_token: &str,
        device_id: Option<&str>,
    ) -> Result<TokenPair, AuthError> {
        let refreshed = self.rotate(refresh_token, device_id).await;
        self.refreshes.count(&refreshed);
        refreshed
    }

    async fn rotate(&self, refresh_token: &str, device_id: Option<&str>) -> Result<TokenPair, AuthError> {
        let now = self.clock.now();
        let (token, successor) = self.new_refresh(now);
        let rotation = Rotation {
            presented: digest(refresh_token),
            device_id: device_id.map(str::to_owned),
            successor,
        };
        let rotated = self.store.rotate(rotation, now).await;
        if matches!(rotated, Err(AuthError::RefreshReused { .. })) {
            self.revoked.reuse.increment(1);
            self.new_era();
        }
        let rotated = rotated?;
        self.pair(rotated.subject, rotated.family, token, now)
    }

    /// Revokes an access token, its family, and with it all that came from the same login. It counts at once.
    ///
    /// # Errors
    /// Where the revocation would not outlive a restart; it may count until then.
    pub async fn logout(&self, identity: &Identity) -> Result<(), AuthError> {
        let now = self.clock.now();
        // A sibling from the same login may be younger, and the store need not know the family any more: after a
        // restart, say.
        let youngest = now.plus(self.access_life);
        let until = self.rules.dead_at(identity.expires_at().max(youngest));
        let revoked = self
            .store
            .revoke(identity.user_id(), &identity.token(), until, now)
            .await;
        self.new_era();
        if revoked.is_ok() {
            self.revoked.logout.increment(1);
        }
        revoked
    }

    /// Checks a token: signature, claims, expiry, revocation. All but the expiry may have been checked up to 30 s
    /// ago; what is revoked here counts at once.
    ///
    /// # Errors
    /// What is wrong with the token, or that the store cannot be asked.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let checked = self.check(token).await;
        self.verifications.count(&checked);
        checked
    }

    async fn check(&self, token: &str) -> Result<Identity, AuthError> {
        let now = self.clock.now();
        // Read before the store is asked: a revocation in between makes the answer an old one.
        let era = self.era.load(Ordering::SeqCst);
        let known = token_key(token);
        let identity = match self.cache.get(&known) {
            Some(checked) => {
                if !self.knows_key(&checked.identity) {
                    self.cache.remove(&known);
                    return Err(AuthError::UnknownKey);
                }
                self.rules.check_expiry(checked.identity.expires_at(), now)?;
                if checked.era == era && now.saturating_since(checked.at) < self.check_age {
                    self.verifications.cache_hits.increment(1);
                    return Ok(checked.identity);
                }
                checked.identity
            }
            None => {
                let (claims, key) = self.keys.load().verify(token)?;
                self.rules.check(&claims, key, now)?
            }
        };
        if self.store.is_revoked(&identity.token(), now).await? {
            self.cache.remove(&known);
            return Err(AuthError::Revoked);
        }
        self.cache.insert(
            known,
            Checked {
                identity: identity.clone(),
                at: now,
                era,
            },
        );
        Ok(identity)
    }

    /// Checks an identity right now: key, expiry and revocation, from no cache.
    ///
    /// # Errors
    /// [`AuthError::UnknownKey`], [`AuthError::Expired`], [`AuthError::Revoked`], or the store cannot be asked.
    pub async fn confirm(&self, identity: &Identity) -> Result<(), AuthError> {
        let now = self.clock.now();
        if !self.knows_key(identity) {
            return Err(AuthError::UnknownKey);
        }
        self.rules.check_expiry(identity.expires_at(), now)?;
        if self.store.is_revoked(&identity.token(), now).await? {
            return Err(AuthError::Revoked);
        }
        Ok(())
    }

    /// Reads the keys of `auth` anew, all of them or none, and signs and verifies with them from now on. Of the rest of
    /// `auth` nothing is taken. Blocks to read files.
    ///
    /// # Errors
    /// A key that is missing or bad; the former keys stay.
    pub fn rotate_keys(&self, auth: &Auth) -> Result<KeyChange, SetupError> {
        let former = self.keys.load_full();
        let ring = KeyRing::load(auth, Some(&former))?;
        let change = ring.change_from(&former);
        self.keys.store(Arc::new(ring));
        Ok(change)
    }

    /// Whether the key that signed an identity's token is still one of the keys.
    #[must_use]
    pub fn knows_key(&self, identity: &Identity) -> bool {
        self.keys.load().knows(identity.key())
    }

    /// What was checked before asks the store again: something was revoked elsewhere, or the store was away.
    pub fn distrust(&self) {
        self.new_era();
    }

    /// Checks many identities right now, as [`Authenticator::confirm`] does: `true`, at the place of each, where it
    /// still stands. For renewing sessions in the background; the store is asked for 256 at a time.
    ///
    /// # Errors
    /// The store cannot be asked: nothing is known of any of them then.
    pub async fn confirm_many(&self, identities: &[Identity]) -> Result<Vec<bool>, AuthError> {
        let now = self.clock.now();
        let mut stands = Vec::with_capacity(identities.len());
        for some in identities.chunks(CONFIRMED_AT_ONCE) {
            let tokens: Vec<TokenRef> = some.iter().map(|identity| identity.token()).collect();
            let revoked = self.store.are_revoked(&tokens, now).await?;
            if revoked.len() != some.len() {
                tracing::error!(
                    "the token store answered for another number of tokens than it was asked for"
                );
                return Err(AuthError::StoreUnavailable);
            }
            stands.extend(some.iter().zip(revoked).map(|(identity, revoked)| {
                !revoked
                    && self.knows_key(identity)
                    && self.rules.check_expiry(identity.expires_at(), now).is_ok()
            }));
        }
        Ok(stands)
    }

    /// An access token alone, without a family: it cannot be refreshed. `life` counts in whole seconds.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn mint(&self, subject: Subject, life: Duration) -> Result<String, AuthError> {
        let token = TokenRef {
            jti: self.new_jti(),
            family: None,
        };
        let keys = self.keys.load();
        let (claims, _) = self
            .rules
            .issue(subject, token, life, keys.signer(), self.clock.now());
        keys.sign(&claims)
    }

    /// The claims of a token whose signature and claims are good. Revocation is not looked at.
    ///
    /// # Errors
    /// What is wrong with the token.
    pub fn inspect(&self, token: &str) -> Result<Value, AuthError> {
        let (claims, key) = self.keys.load().verify(token)?;
        self.rules.check(&claims, key, self.clock.now())?;
        Ok(Value::Object(claims))
    }

    fn pair(
        &self,
        subject: Subject,
        family: FamilyId,
        refresh_token: String,
        now: Timestamp,
    ) -> Result<TokenPair, AuthError> {
        let token = TokenRef {
            jti: self.new_jti(),
            family: Some(family),
        };
        let keys = self.keys.load();
        let (claims, identity) = self
            .rules
            .issue(subject, token, self.access_life, keys.signer(), now);
        let access_token = keys.sign(&claims)?;
        Ok(TokenPair {
            access_token,
            refresh_token,
            expires_in: self.access_life.as_secs(),
            identity,
        })
    }

    /// A refresh token, and what the store is to know of it.
    fn new_refresh(&self, now: Timestamp) -> (String, NewRefresh) {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let refresh = NewRefresh {
            hash: digest(&token),
            expires_at: now.plus(self.refresh_life),
            access_until: self.rules.dead_at(now.plus(self.access_life)),
        };
        (token, refresh)
    }

    fn new_jti(&self) -> Box<str> {
        format!("{:032x}", random_id(&*self.random)).into()
    }

    fn new_era(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
    }
}

/// The first half of the token's SHA-256. To be taken for a good token another one has to have the same 128 bits,
/// which is a second preimage, not a collision; the other half of each entry would tell nobody anything.
fn token_key(token: &str) -> TokenKey {
    let mut key = TokenKey::default();
    for (kept, byte) in key.iter_mut().zip(digest(token)) {
        *kept = byte;
    }
    key
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
