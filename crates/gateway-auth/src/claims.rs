//! The claims of an access token: written in one place, checked in one place.
//!
//! Every claim has its own error, so that whoever mints tokens elsewhere learns what is missing. Times are checked
//! here with the clock that is passed in. It knows no keys and no revocation.

use std::time::Duration;

use gateway_codec::{DeviceId, Platform, Timestamp, UserId};
use gateway_config::Auth;
use serde_json::{Map, Value, json};

use crate::error::AuthError;
use crate::identity::{Identity, Subject};
use crate::keys::KeyNumber;
use crate::store::{FamilyId, TokenRef};

/// How far `iat` may lie ahead, beside the leeway: it grants nothing, but a far one shows a broken clock.
const FAR_FUTURE: Duration = Duration::from_secs(60);

/// Longest `jti`, in bytes.
const MAX_JTI_BYTES: usize = 128;

/// What tokens must say.
pub(crate) struct Rules {
    issuer: String,
    audience: String,
    leeway: Duration,
}

impl Rules {
    pub(crate) fn new(auth: &Auth) -> Self {
        Self {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: auth.leeway,
        }
    }

    /// A new token's claims, and the identity that they will give once `key` has signed them.
    pub(crate) fn issue(
        &self,
        subject: Subject,
        token: TokenRef,
        life: Duration,
        key: KeyNumber,
        now: Timestamp,
    ) -> (Value, Identity) {
        let issued_at = now.as_seconds();
        let expires_at = issued_at.saturating_add(life.as_secs());
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject.user_id.as_str(),
            "jti": token.jti,
            "iat": issued_at,
            "exp": expires_at,
            "username": subject.username,
            "device_id": subject.device_id.as_str(),
            "platform": subject.platform.as_str(),
            "type": "access",
            "roles": subject.roles,
        });
        if let Some(family) = token.family {
            claims["fid"] = family.to_string().into();
        }
        let expires_at = Timestamp::from_millis(expires_at.saturating_mul(1_000));
        (claims, Identity::new(subject, token, expires_at, key))
    }

    /// Checks every claim but the expiry's counterpart in the store: revocation. `key` signed them.
    pub(crate) fn check(
        &self,
        claims: &Map<String, Value>,
        key: KeyNumber,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        if text(claims, "type")? != "access" {
            return Err(AuthError::WrongType);
        }
        if text(claims, "iss")? != self.issuer {
            return Err(AuthError::WrongIssuer);
        }
        self.check_audience(claims)?;
        let expires_at = time(claims, "exp")?.ok_or(AuthError::BadClaim("exp"))?;
        let issued_at = time(claims, "iat")?.ok_or(AuthError::BadClaim("iat"))?;
        let not_before = time(claims, "nbf")?.unwrap_or_default();
        let latest = now.plus(self.leeway);
        if not_before > latest || issued_at > latest.plus(FAR_FUTURE) {
            return Err(AuthError::NotYetValid);
        }
        self.check_expiry(expires_at, now)?;
        let subject = Subject {
            user_id: id(claims, "sub", UserId::parse)?,
            username: text(claims, "username")?.to_owned(),
            device_id: id(claims, "device_id", DeviceId::parse)?,
            platform: id(claims, "platform", Platform::parse)?,
            roles: roles(claims)?,
        };
        let token = TokenRef {
            jti: jti(claims)?.into(),
            family: family(claims)?,
        };
        Ok(Identity::new(subject, token, expires_at, key))
    }

    /// Whether a token still lives.
    pub(crate) fn check_expiry(&self, expires_at: Timestamp, now: Timestamp) -> Result<(), AuthError> {
        if now < self.dead_at(expires_at) {
            Ok(())
        } else {
            Err(AuthError::Expired)
        }
    }

    /// When a token is refused for its age: what is remembered of it can then be forgotten.
    pub(crate) fn dead_at(&self, expires_at: Timestamp) -> Timestamp {
        expires_at.plus(self.leeway)
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), AuthError> {
        // RFC 7519, 4.1.3: one text or a list of texts.
        let fits = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => list
                .iter()
                .any(|audience| audience.as_str() == Some(&self.audience)),
            _ => return Err(AuthError::BadClaim("aud")),
        };
        if fits {
            Ok(())
        } else {
            Err(AuthError::WrongAudience)
        }
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, AuthError> {
    claims
        .get(name)
        .and_then(Value::as_str)
        .ok_or(AuthError::BadClaim(name))
}

fn id<T, E>(
    claims: &Map<String, Value>,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, AuthError> {
    parse(text(claims, name)?).map_err(|_| AuthError::BadClaim(name))
}

/// A NumericDate (RFC 7519, 2): seconds since 1970, perhaps with a fraction. `null` is as good as absent.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, AuthError> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(Timestamp::from_millis(seconds.saturating_mul(1_000))));
    }
    let seconds = value
        .as_f64()
        .filter(|seconds| *seconds >= 0.0)
        .ok_or(AuthError::BadClaim(name))?;
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| AuthError::BadClaim(name))?;
    Ok(Some(Timestamp::default().plus(since)))
}

fn roles(claims: &Map<String, Value>) -> Result<Vec<String>, AuthError> {
    let list = claims
        .get("roles")
        .and_then(Value::as_array)
        .ok_or(AuthError::BadClaim("roles"))?;
    let role = |role: &Value| {
        role.as_str()
            .map(str::to_owned)
            .ok_or(AuthError::BadClaim("roles"))
    };
    list.iter().map(role).collect()
}

/// Visible ASCII only, since it becomes a line of a file and a key of a store.
fn jti(claims: &Map<String, Value>) -> Result<&str, AuthError> {
    let jti = text(claims, "jti")?;
    let fits = (1..=MAX_JTI_BYTES).contains(&jti.len()) && jti.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(jti)
    } else {
        Err(AuthError::BadClaim("jti"))
    }
}

fn family(claims: &Map<String, Value>) -> Result<Option<FamilyId>, AuthError> {
    match claims.get("fid") {
        None => Ok(None),
        Some(_) => FamilyId::parse(text(claims, "fid")?)
            .map(Some)
            .ok_or(AuthError::BadClaim("fid")),
    }
}

#[cfg(test)]
mod tests;
