//! What this crate counts, with every name in one place.
//!
//! Handles are made once and kept, because looking a metric up by name at each call costs ten times as much. A
//! recorder that is installed later than the [`Authenticator`](crate::Authenticator) is made gets nothing. No
//! label holds a user or a token.

use metrics::{Counter, counter};

use crate::error::AuthError;

/// Checks of access tokens, by what came of them.
///
/// `gateway_auth_verifications_total{result}`, and `gateway_auth_cache_hits_total`: those of them for which
/// neither a signature was checked nor the store was asked.
pub(crate) struct Verifications {
    ok: Counter,
    invalid: Counter,
    expired: Counter,
    revoked: Counter,
    unavailable: Counter,
    pub(crate) cache_hits: Counter,
}

impl Verifications {
    pub(crate) fn new() -> Self {
        let of = |result| counter!("gateway_auth_verifications_total", "result" => result);
        Self {
            ok: of("ok"),
            invalid: of("invalid"),
            expired: of("expired"),
            revoked: of("revoked"),
            unavailable: of("unavailable"),
            cache_hits: counter!("gateway_auth_cache_hits_total"),
        }
    }

    pub(crate) fn count<T>(&self, result: &Result<T, AuthError>) {
        let Err(error) = result else {
            return self.ok.increment(1);
        };
        let counter = match error {
            AuthError::Expired => &self.expired,
            AuthError::Revoked => &self.revoked,
            AuthError::StoreUnavailable | AuthError::CannotSign => &self.unavailable,
            AuthError::Malformed
            | AuthError::BadSignature
            | AuthError::NotYetValid
            | AuthError::WrongIssuer
            | AuthError::WrongAudience
            | AuthError::WrongType
            | AuthError::UnknownKey
            | AuthError::BadClaim(_)
            | AuthError::RefreshUnknown
            | AuthError::RefreshExpired
            | AuthError::RefreshReused { .. }
            | AuthError::WrongDevice => &self.invalid,
        };
        counter.increment(1);
    }
}

/// Uses of refresh tokens, by what came of them: `gateway_auth_refreshes_total{result}`.
pub(crate) struct Refreshes {
    ok: Counter,
    unknown: Counter,
    expired: Counter,
    reused: Counter,
    wrong_device: Counter,
    unavailable: Counter,
}

impl Refreshes {
    pub(crate) fn new() -> Self {
        let of = |result| counter!("gateway_auth_refreshes_total", "result" => result);
        Self {
            ok: of("ok"),
            unknown: of("unknown"),
            expired: of("expired"),
            reused: of("reused"),
            wrong_device: of("wrong_device"),
            unavailable: of("unavailable"),
        }
    }

    pub(crate) fn count<T>(&self, result: &Result<T, AuthError>) {
        let Err(error) = result else {
            return self.ok.increment(1);
        };
        let counter = match error {
            AuthError::RefreshExpired => &self.expired,
            AuthError::RefreshReused { .. } => &self.reused,
            AuthError::WrongDevice => &self.wrong_device,
            AuthError::StoreUnavailable | AuthError::CannotSign => &self.unavailable,
            AuthError::RefreshUnknown
            | AuthError::Malformed
            | AuthError::BadSignature
            | AuthError::Expired
            | AuthError::NotYetValid
            | AuthError::WrongIssuer
            | AuthError::WrongAudience
            | AuthError::WrongType
            | AuthError::UnknownKey
            | AuthError::BadClaim(_)
            | AuthError::Revoked => &self.unknown,
        };
        counter.increment(1);
    }
}

/// Revocations, by their cause: `gateway_auth_revocations_total{cause}`.
pub(crate) struct Revoked {
    pub(crate) logout: Counter,
    pub(crate) reuse: Counter,
}

impl Revoked {
    pub(crate) fn new() -> Self {
        let of = |cause| counter!("gateway_auth_revocations_total", "cause" => cause);
        Self {
            logout: of("logout"),
            reuse: of("reuse"),
        }
    }
}

/// What the embedded store could not keep.
pub(crate) struct Dropped {
    /// `gateway_auth_families_dropped_total`: families that had to go for others.
    pub(crate) families: Counter,
    /// `gateway_auth_revocations_lost_total`: revocations that a full list did not take, or that are not on disk
    /// and would be lost by a restart.
    pub(crate) revocations: Counter,
}

impl Dropped {
    pub(crate) fn new() -> Self {
        Self {
            families: counter!("gateway_auth_families_dropped_total"),
            revocations: counter!("gateway_auth_revocations_lost_total"),
        }
    }
}
