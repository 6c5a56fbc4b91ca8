//! What is wrong with a token, and what is wrong with the setup.
//!
//! No text here holds a token or a key, so that every error may be logged and shown to the client.

use std::path::PathBuf;

use gateway_codec::{Code, DeviceId, Platform, UserId};

/// Why a token was refused. Its text may be shown to whoever presented the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a JWT of three parts with JSON in it, too long, or with an algorithm that is not known here.
    #[error("access token is malformed")]
    Malformed,
    /// The signature does not fit, or its algorithm is not that of the key.
    #[error("access token has a bad signature")]
    BadSignature,
    /// `exp` is over.
    #[error("access token expired")]
    Expired,
    /// `nbf`, or far too late an `iat`, lies ahead.
    #[error("access token is not yet valid")]
    NotYetValid,
    /// `iss` is another issuer.
    #[error("access token is of another issuer")]
    WrongIssuer,
    /// `aud` does not name this audience.
    #[error("access token is for another audience")]
    WrongAudience,
    /// `type` is not `access`.
    #[error("token is not an access token")]
    WrongType,
    /// `kid` is not a key that is known here.
    #[error("access token is signed with an unknown key")]
    UnknownKey,
    /// The claim of this name is missing or breaks its rules.
    #[error("access token has a missing or bad claim `{0}`")]
    BadClaim(&'static str),
    /// Logged out, or its family was revoked.
    #[error("access token is revoked")]
    Revoked,
    /// Never given out, logged out, revoked or forgotten.
    #[error("refresh token is unknown")]
    RefreshUnknown,
    /// Its time is over.
    #[error("refresh token expired")]
    RefreshExpired,
    /// A spent refresh token came back. Its family is revoked; the sessions of this device must be closed.
    #[error("refresh token was used twice")]
    RefreshReused {
        /// Whose it was.
        user_id: UserId,
        /// The device that it was given to.
        device_id: DeviceId,
        /// The device's platform.
        platform: Platform,
    },
    /// The refresh token was given to another device; it is not spent by this.
    #[error("token belongs to another device")]
    WrongDevice,
    /// Nothing is wrong with the token, but the store cannot be asked or written.
    #[error("token store is unavailable")]
    StoreUnavailable,
    /// The signing key failed.
    #[error("access token cannot be signed")]
    CannotSign,
}

impl AuthError {
    /// The code that a client gets for it: 503 for the store, 500 for the signing key, else 401.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::StoreUnavailable => Code::Unavailable,
            Self::CannotSign => Code::Internal,
            _ => Code::Unauthorized,
        }
    }

    /// Whether the same token may be accepted a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::StoreUnavailable)
    }
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Neither `auth.jwt_secret` nor a key that can sign.
    #[error("no key can sign tokens: give `auth.jwt_secret` or a key with `private_key_file`")]
    NoKey,
    /// `auth.signing_kid` names a key that is missing or cannot sign.
    #[error("`auth.signing_kid` names `{0}`, which is no key that can sign")]
    SigningKey(String),
    /// Two keys of one name; `auth.jwt_secret` is called `default`.
    #[error("two keys are called `{0}`")]
    DuplicateKey(String),
    /// A key without its secret or its files.
    #[error("key `{kid}` needs `{needs}`")]
    KeyIncomplete {
        /// The key's name.
        kid: String,
        /// What is missing.
        needs: &'static str,
    },
    /// A key file or API key file cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key file is no PEM of a key of its algorithm.
    #[error("{} holds no PEM key for {algorithm}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The algorithm that was configured.
        algorithm: &'static str,
    },
    /// Private and public key do not belong together.
    #[error("the private and the public key of `{0}` do not belong together")]
    KeyMismatch(String),
    /// An API key file that is empty.
    #[error("{} holds no API key", .0.display())]
    EmptyApiKey(PathBuf),
    /// The revocation file cannot be read or written.
    #[error("revocation file {}: {source}", path.display())]
    RevocationFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
