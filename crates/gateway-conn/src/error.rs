//! The errors of this crate, each with the code a client or caller is shown.

use gateway_codec::Code;

use crate::KickKind;

/// The session store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer. Bound sessions live on; new logins are refused.
    #[error("the session store is unavailable: {0}")]
    Unavailable(String),
    /// The store answered with something that cannot be read.
    #[error("the session store holds something unreadable: {0}")]
    Corrupt(String),
    /// A cursor that this store never gave out.
    #[error("unknown cursor")]
    BadCursor,
}

impl StoreError {
    /// The code this is answered with.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) => Code::Unavailable,
            Self::Corrupt(_) => Code::Internal,
            Self::BadCursor => Code::BadRequest,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a session was not bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The platform admits one device, another one is on it, and it is not to be sent away.
    #[error("another device is logged in on this platform")]
    Refused,
    /// No policy names this platform.
    #[error("unknown platform")]
    UnknownPlatform,
    /// This session is bound already, or is being bound.
    #[error("the session is bound already")]
    AlreadyBound,
    /// Somebody ended the session while it was being bound; its connection has been told and closed.
    #[error("the session was ended while it was being bound")]
    Displaced(KickKind),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BindError {
    /// The code this is answered with.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused | Self::AlreadyBound | Self::Displaced(_) => Code::Conflict,
            Self::UnknownPlatform => Code::BadRequest,
            Self::Store(error) => error.code(),
        }
    }
}

/// A device policy table that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The name of a platform breaks the rules for platform names.
    #[error("`{0}` cannot be the name of a platform")]
    BadPlatform(String),
}

/// The offline box could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// No answer, or not in time: worth another try.
    #[error("the offline box is unavailable: {0}")]
    Unavailable(String),
    /// The service refused; the same call will be refused again.
    #[error("the offline box refused: {0}")]
    Rejected(String),
}

impl OfflineError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
