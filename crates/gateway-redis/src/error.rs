//! What goes wrong, in the words that callers act on. No text holds an argument of a command, a password or an address
//! that was not understood.

use std::path::PathBuf;

use deadpool_redis::redis::{self, ErrorKind, FromRedisValue, ServerErrorKind, Value};

/// Characters of a server's or the system's words that are passed on.
const WORDS: usize = 200;

/// Why a command has no reply. With [`Unavailable`](Self::Unavailable) and [`TimedOut`](Self::TimedOut) it may have been
/// carried out all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// No server, one that cannot serve now, or too many commands under way.
    #[error("Redis is away: {0}")]
    Unavailable(String),
    /// No reply within the configured time.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The server's error reply: its code first, such as `WRONGTYPE`, then its words, shortened.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// A reply of another type than asked for.
    #[error("Redis answered with something else: {0}")]
    Unexpected(String),
}

impl RedisError {
    /// Whether the same command may succeed later. Whether it may be sent twice is the caller's to know.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut)
    }
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        match error.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Unexpected(words(&error)),
            ErrorKind::AuthenticationFailed => Self::Unavailable("wrong user or password".to_owned()),
            ErrorKind::Server(_) | ErrorKind::Extension if cannot_serve(&error) => {
                Self::Unavailable(words(&error))
            }
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(words(&error)),
            _ => Self::Unavailable(words(&error)),
        }
    }
}

/// Whether the server said that it, or this connection to it, cannot serve now.
pub(crate) fn cannot_serve(error: &redis::RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        ErrorKind::Extension => matches!(
            error.code(),
            Some("NOAUTH" | "BUSY" | "OOM" | "MISCONF" | "NOREPLICAS")
        ),
        _ => false,
    }
}

/// Whether a command that failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The server has answered, and would answer the same.
    Never,
    /// The connection was lost; whether the command was carried out before is not known. The library says the same of a
    /// command that it never wrote.
    IfRepeatable,
    /// The server says that it did not carry it out, and may before long.
    Always,
}

/// Whether a command with this error may be sent again within its deadline.
pub(crate) fn repeat(error: &redis::RedisError) -> Repeat {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Repeat::IfRepeatable,
        // A node of the Cluster that there is no connection to: nothing was written.
        ErrorKind::ClusterConnectionNotFound => Repeat::Always,
        ErrorKind::Server(_) if cannot_serve(error) => Repeat::Always,
        ErrorKind::Extension if matches!(error.code(), Some("BUSY" | "NOAUTH")) => Repeat::Always,
        _ => Repeat::Never,
    }
}

/// Whether the connection is gone, or leads to a server that has to be left.
pub(crate) fn is_broken(error: &redis::RedisError) -> bool {
    match error.kind() {
        // A Cluster's connection finds its way again by itself; one that does not fails with other errors too.
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain) => false,
        ErrorKind::Server(_) => cannot_serve(error),
        ErrorKind::Extension => error.code() == Some("NOAUTH"),
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::ClusterConnectionNotFound => true,
        _ => false,
    }
}

/// The error in a few words. The server's quote what was sent in one case, which is cut off.
pub(crate) fn words(error: &redis::RedisError) -> String {
    let text = match error.kind() {
        ErrorKind::Io => error.to_string(),
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let code = error.code().unwrap_or("ERR");
            let detail = error.detail().unwrap_or_default();
            let detail = detail.split(", with args beginning").next().unwrap_or_default();
            format!("{code} {detail}").trim_end().to_owned()
        }
        kind => format!("{kind:?}"),
    };
    text.chars().take(WORDS).collect()
}

/// Why a Redis cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// This setting is no address. The address is not shown: it may be a URL with a password.
    #[error("{0} is not an address: expected host:port")]
    Address(String),
    /// The file of certificates.
    #[error("cannot use the certificates of {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// What the settings say together cannot be.
    #[error("the settings of Redis cannot be used: {0}")]
    Settings(String),
}

impl From<redis::RedisError> for SetupError {
    fn from(error: redis::RedisError) -> Self {
        Self::Settings(words(&error))
    }
}

/// Reads a reply as a type of Rust's.
///
/// # Errors
/// [`RedisError::Unexpected`] for a reply of another shape; the reply is not shown.
pub fn read<T: FromRedisValue>(value: Value) -> Result<T, RedisError> {
    T::from_redis_value(value).map_err(|_| RedisError::Unexpected("a reply of another shape".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reply: &str) -> redis::RedisError {
        redis::parse_redis_value(format!("-{reply}\r\n").as_bytes())
            .and_then(Value::extract_error)
            .unwrap_err()
    }

    #[test]
    fn what_the_server_says_is_sorted_by_what_can_be_done() {
        for away in [
            "LOADING x",
            "READONLY x",
            "CLUSTERDOWN x",
            "MASTERDOWN x",
            "NOAUTH x",
            "MISCONF x",
        ] {
            let error = RedisError::from(said(away));
            assert!(
                matches!(&error, RedisError::Unavailable(_)) && error.is_retryable(),
                "{error}"
            );
        }
        let refused = RedisError::from(said("WRONGTYPE Operation against a key"));
        assert_eq!(
            refused,
            RedisError::Refused("WRONGTYPE Operation against a key".to_owned())
        );
        assert!(!refused.is_retryable());
    }

    #[test]
    fn what_was_not_carried_out_is_sent_again_and_what_may_have_been_only_where_that_is_harmless() {
        for (reply, expected) in [
            ("LOADING x", Repeat::Always),
            ("BUSY x", Repeat::Always),
            ("MASTERDOWN x", Repeat::Always),
            ("READONLY x", Repeat::Always),
            ("TRYAGAIN x", Repeat::Always),
            ("CLUSTERDOWN x", Repeat::Always),
            ("MOVED 1 a:1", Repeat::Always),
            ("ASK 1 a:1", Repeat::Always),
            ("NOAUTH x", Repeat::Always),
            ("OOM x", Repeat::Never),
            ("MISCONF x", Repeat::Never),
            ("WRONGTYPE x", Repeat::Never),
            ("ERR x", Repeat::Never),
        ] {
            assert_eq!(repeat(&said(reply)), expected, "{reply}");
        }
        let lost = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(repeat(&lost), Repeat::IfRepeatable);
    }

    #[test]
    fn arguments_that_the_server_quotes_are_not_passed_on() {
        let error = RedisError::from(said(
            "ERR unknown command 'X', with args beginning with: 'secret'",
        ));
        assert_eq!(error, RedisError::Refused("ERR unknown command 'X'".to_owned()));
        let long = RedisError::from(said(&format!("ERR {}", "x".repeat(10_000))));
        assert!(long.to_string().len() < 300);
    }

    #[test]
    fn a_late_reply_is_late_and_blamed_on_the_connection() {
        let late = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert!(is_broken(&late));
        assert_eq!(RedisError::from(late), RedisError::TimedOut);
        assert_eq!(
            read::<u32>(Value::Okay),
            Err(RedisError::Unexpected("a reply of another shape".to_owned()))
        );
    }
}
