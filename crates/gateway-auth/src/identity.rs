//! Who somebody is, as a token proves it, and what a login establishes.

use std::fmt;
use std::sync::Arc;

use gateway_codec::{DeviceId, Platform, Timestamp, UserId};

use crate::keys::KeyNumber;
use crate::store::TokenRef;

/// What a login has established. Anybody can make one: it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The user.
    pub user_id: UserId,
    /// Name shown.
    pub username: String,
    /// The device that logged in.
    pub device_id: DeviceId,
    /// The device's platform.
    pub platform: Platform,
    /// Roles, such as `admin`.
    pub roles: Vec<String>,
}

/// What a verified access token says of its bearer. Only an [`Authenticator`](crate::Authenticator) makes one.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Arc<Inner>);

/// A subject, without the room to grow that its texts do not need: every bound session holds one.
#[derive(PartialEq, Eq)]
struct Inner {
    user_id: UserId,
    device_id: DeviceId,
    platform: Platform,
    username: Box<str>,
    roles: Box<[String]>,
    token: TokenRef,
    expires_at: Timestamp,
    key: KeyNumber,
}

impl Identity {
    pub(crate) fn new(subject: Subject, token: TokenRef, expires_at: Timestamp, key: KeyNumber) -> Self {
        Self(Arc::new(Inner {
            user_id: subject.user_id,
            device_id: subject.device_id,
            platform: subject.platform,
            username: subject.username.into(),
            roles: subject.roles.into(),
            token,
            expires_at,
            key,
        }))
    }

    /// The user.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.0.user_id
    }

    /// Name shown.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.0.username
    }

    /// The device that the token was given to.
    #[must_use]
    pub fn device_id(&self) -> &DeviceId {
        &self.0.device_id
    }

    /// The device's platform.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.0.platform
    }

    /// Roles, in the token's order.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.0.roles
    }

    /// Whether it has a role; names are compared byte by byte.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().iter().any(|own| own == role)
    }

    /// The token's `jti`. Names the token without giving access.
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.0.token.jti
    }

    /// When the token expires, without leeway.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// The token and its family, as the store knows them.
    pub(crate) fn token(&self) -> &TokenRef {
        &self.0.token
    }

    /// The key that signed the token.
    pub(crate) fn key(&self) -> KeyNumber {
        self.0.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user_id", self.user_id())
            .field("device_id", self.device_id())
            .field("platform", self.platform())
            .field("roles", &self.roles())
            .field("token_id", &self.token_id())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// What a login or a refresh gives. Its `Debug` hides both tokens.
#[derive(Clone)]
pub struct TokenPair {
    /// The access token, a JWT.
    pub access_token: String,
    /// The refresh token: 32 random bytes, base64url without padding.
    pub refresh_token: String,
    /// Life of the access token, in seconds.
    pub expires_in: u64,
    /// Whom the access token speaks for.
    pub identity: Identity,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("access_token", &"(hidden)")
            .field("refresh_token", &"(hidden)")
            .field("expires_in", &self.expires_in)
            .field("identity", &self.identity)
            .finish()
    }
}
