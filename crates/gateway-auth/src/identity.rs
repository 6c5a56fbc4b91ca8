//! Who somebody is, as a token proves it, and what a login establishes.

use std::fmt;
use std::sync::Arc;

use gateway_codec::{DeviceId, Platform, Timestamp, UserId};

use crate::keys::KeyNumber;
use crate::store::{FamilyId, TokenRef};

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

/// A subject and its token, as small as they can be: every bound session and every cached token holds one.
#[derive(PartialEq, Eq)]
struct Inner {
    user_id: UserId,
    device_id: DeviceId,
    platform: Platform,
    /// The token's `jti`, which has at most 128 bytes, then the name shown.
    texts: Box<str>,
    jti_bytes: u8,
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three: nearly nobody has any"
    )]
    roles: Option<Box<Vec<String>>>,
    family: Option<FamilyId>,
    expires_at: Timestamp,
    key: KeyNumber,
}

impl Identity {
    pub(crate) fn new(subject: Subject, token: TokenRef, expires_at: Timestamp, key: KeyNumber) -> Self {
        Self(Arc::new(Inner {
            user_id: subject.user_id,
            device_id: subject.device_id,
            platform: subject.platform,
            texts: [&*token.jti, &subject.username].concat().into(),
            jti_bytes: u8::try_from(token.jti.len()).unwrap_or(u8::MAX),
            roles: (!subject.roles.is_empty()).then(|| Box::new(subject.roles)),
            family: token.family,
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
        self.texts().1
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
        self.0.roles.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether it has a role; names are compared byte by byte.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().iter().any(|own| own == role)
    }

    /// The token's `jti`. Names the token without giving access.
    #[must_use]
    pub fn token_id(&self) -> &str {
        self.texts().0
    }

    /// The token's `jti` and the name shown.
    fn texts(&self) -> (&str, &str) {
        let texts = &self.0.texts;
        texts
            .split_at_checked(self.0.jti_bytes.into())
            .unwrap_or((texts, ""))
    }

    /// When the token expires, without leeway.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// The token and its family, as the store knows them.
    pub(crate) fn token(&self) -> TokenRef {
        TokenRef {
            jti: self.token_id().into(),
            family: self.0.family,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_small_and_says_what_it_was_made_of() {
        // Behind its two counts it fills a size class of the allocator.
        assert!(size_of::<Inner>() <= 80, "{}", size_of::<Inner>());
        let subject = Subject {
            user_id: UserId::parse("u1").unwrap(),
            username: "阿丽".into(),
            device_id: DeviceId::parse("d1").unwrap(),
            platform: Platform::parse("web").unwrap(),
            roles: vec!["admin".into()],
        };
        let token = TokenRef {
            jti: "x".repeat(128).into(),
            family: None,
        };
        let make =
            |subject| Identity::new(subject, token.clone(), Timestamp::default(), KeyNumber::default());
        let identity = make(subject.clone());
        assert_eq!((identity.token_id(), identity.username()), (&*token.jti, "阿丽"));
        assert_eq!(
            (identity.token(), identity.roles()),
            (token.clone(), &["admin".to_owned()][..])
        );
        let nobody = make(Subject {
            username: String::new(),
            roles: Vec::new(),
            ..subject
        });
        assert_eq!((nobody.token_id(), nobody.username()), (&*token.jti, ""));
        assert!(nobody.roles().is_empty() && !nobody.has_role("admin"));
    }
}
