//! What must be remembered of tokens: refresh families, and what was revoked before its time.
//!
//! The trait is the seam where a store shared by several gateways can stand; [`EmbeddedTokenStore`] keeps all in
//! this process. No store ever sees a refresh token: only its SHA-256.

mod embedded;
mod families;
mod redis;
mod revocation_file;
mod revocations;

use async_trait::async_trait;
use gateway_codec::{Timestamp, UserId};

pub use embedded::EmbeddedTokenStore;
pub use redis::RedisTokenStore;

use crate::error::AuthError;
use crate::identity::Subject;

/// SHA-256 of a refresh token.
pub type RefreshHash = [u8; 32];

/// Names one access token and its family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRef {
    /// `jti` of the access token: 1 to 128 visible ASCII characters.
    pub jti: Box<str>,
    /// `fid`: the family of refresh tokens that it came from; none where the token was minted without one.
    pub family: Option<FamilyId>,
}

/// Names a family: all refresh tokens that follow from one login. 128 random bits.
/// Kept as bytes: a session holds one, and they need no alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyId([u8; 16]);

impl FamilyId {
    /// The family of this number.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(bits.to_be_bytes())
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self::from_bits))?
    }
}

impl std::fmt::Display for FamilyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A family to open: a login.
#[derive(Debug, Clone)]
pub struct NewFamily {
    /// Its name.
    pub id: FamilyId,
    /// Whom it speaks for, as long as it lives.
    pub subject: Subject,
    /// Its first refresh token.
    pub refresh: NewRefresh,
}

/// A refresh token to give out, with the access token beside it.
#[derive(Debug, Clone, Copy)]
pub struct NewRefresh {
    /// SHA-256 of the refresh token.
    pub hash: RefreshHash,
    /// When the refresh token expires.
    pub expires_at: Timestamp,
    /// Until when a revocation of the access token beside it has to be remembered.
    pub access_until: Timestamp,
}

/// A refresh token that was presented, and its successor should it be accepted.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// SHA-256 of what was presented.
    pub presented: RefreshHash,
    /// The device that presents it; none is taken for the family's.
    pub device_id: Option<String>,
    /// What is given out next.
    pub successor: NewRefresh,
}

/// A rotation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The family.
    pub family: FamilyId,
    /// Whom it speaks for.
    pub subject: Subject,
}

/// Keeps refresh families and revocations. Each call is one indivisible step.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Opens a family.
    ///
    /// # Errors
    /// [`AuthError::StoreUnavailable`].
    async fn open(&self, family: NewFamily, now: Timestamp) -> Result<(), AuthError>;

    /// Spends a refresh token for its successor, by the rules of rotation: a token spent within the last 30 s may
    /// come again from the same device while its successor is unused, and the new successor voids that one; any
    /// other second use revokes the family. A wrong device spends nothing.
    ///
    /// # Errors
    /// The refresh errors of [`AuthError`], [`AuthError::WrongDevice`], [`AuthError::StoreUnavailable`].
    async fn rotate(&self, rotation: Rotation, now: Timestamp) -> Result<Rotated, AuthError>;

    /// Revokes an access token of this user and those of its family until the moment given, and ends the family. The caller
    /// chooses a moment at which all of them are dead.
    ///
    /// # Errors
    /// [`AuthError::StoreUnavailable`], also where it is revoked now but might not be after a restart.
    async fn revoke(
        &self,
        user_id: &UserId,
        token: &TokenRef,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), AuthError>;

    /// Whether an access token or its family is revoked, right now.
    ///
    /// # Errors
    /// [`AuthError::StoreUnavailable`].
    async fn is_revoked(&self, token: &TokenRef, now: Timestamp) -> Result<bool, AuthError>;

    /// As `is_revoked` for many at once, in their order. The caller gives at most some hundred, so that no store
    /// is held up.
    ///
    /// # Errors
    /// [`AuthError::StoreUnavailable`], for all of them.
    async fn are_revoked(&self, tokens: &[TokenRef], now: Timestamp) -> Result<Vec<bool>, AuthError>;
}
