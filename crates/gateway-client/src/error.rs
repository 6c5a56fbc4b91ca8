//! What can go wrong on this side. A reply with an error code is not here unless asked for: see
//! [`Reply::success`](crate::Reply::success).

use std::io;
use std::time::Duration;

use crate::Ended;

/// Why a connection or a command did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is none that this client can use.
    #[error("URL: {0}")]
    Url(&'static str),
    /// A token, device or platform has characters that a header cannot carry.
    #[error("{0} cannot be sent in a header")]
    Header(&'static str),
    /// The TCP connection could not be made or was lost during the handshake.
    #[error("connecting: {0}")]
    Connect(#[from] io::Error),
    /// The HTTP exchange of the handshake, or of a log-out, went wrong.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The gateway answered the handshake with another status than 101.
    #[error("refused with HTTP status {status}")]
    Refused {
        /// The HTTP status: 404 unknown path, 403 refused, 503 full.
        status: u16,
        /// From `Retry-After`, where the answer had one.
        retry_after: Option<Duration>,
    },
    /// A command was answered with an error code.
    #[error("answered with {code} {message}")]
    Failed {
        /// The contract's JSON code, such as 401.
        code: u16,
        /// The gateway's words.
        message: String,
    },
    /// No answer within the time allowed. The command may have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// The connection has ended. The command may have been carried out, unless [`Ended::may_resend`] holds.
    #[error("the connection has ended: {} {}", .0.code.map_or_else(|| "-".to_owned(), |code| code.to_string()), .0.reason)]
    Closed(Ended),
    /// The queue of unsent messages is full ([`Client::submit`](crate::Client::submit) only, which does not wait).
    #[error("the queue of unsent messages is full")]
    QueueFull,
    /// More commands are unanswered than the builder allows.
    #[error("too many unanswered commands")]
    TooManyInFlight,
    /// The data is not valid JSON.
    #[error("the data is not valid JSON")]
    BadData,
    /// The gateway sent what its contract does not allow.
    #[error("protocol: {0}")]
    Protocol(&'static str),
    /// This needs something that the builder was not given.
    #[error("not set in the builder: {0}")]
    NotSet(&'static str),
}

impl ClientError {
    /// Whether the same attempt may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Http(_) | Self::Timeout | Self::QueueFull | Self::TooManyInFlight => {
                true
            }
            Self::Refused { status, .. } => matches!(status, 429 | 500..=599),
            Self::Failed { code, .. } => matches!(code, 429 | 500..=599),
            Self::Closed(ended) => ended.may_reconnect(),
            Self::Url(_) | Self::Header(_) | Self::BadData | Self::Protocol(_) | Self::NotSet(_) => false,
        }
    }
}
