//! What can go wrong between the gateway and a back end, whose fault it is and whether to try again.
//!
//! Nothing here carries an address or a library's words: details are logged where they happen.

use gateway_codec::Code;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The back end, or the way to it.
    Upstream,
    /// This gateway: its configuration, its limits, its shutdown.
    Here,
}

/// Why a command got no valid reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// The route names a service that is not configured.
    #[error("no such service")]
    UnknownService,
    /// No endpoint of the service is healthy.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// The service has as many commands or bytes in flight as it may have.
    #[error("too many commands in flight")]
    Overloaded,
    /// No reply within the route's timeout, repeats included.
    #[error("no reply in time")]
    Timeout,
    /// The connection broke, or could not be made, and the command may not be repeated (any more).
    #[error("the connection to the service broke")]
    Disconnected,
    /// The back end answered with a gRPC error.
    #[error("the service failed with gRPC status {0}", *status as i32)]
    Upstream {
        /// The gRPC status code; its text is logged and not kept.
        status: tonic::Code,
    },
    /// The reply was empty or its code is none of the contract's.
    #[error("the service gave an invalid reply")]
    BadReply,
    /// The reply is larger than the gateway reads.
    #[error("the service's reply is too large")]
    ReplyTooLarge,
    /// The gateway is shutting down and takes no more commands.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl RouterError {
    /// The contract's code that the client is given for this.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownService
            | Self::NoEndpoint
            | Self::Overloaded
            | Self::Disconnected
            | Self::ShuttingDown => Code::Unavailable,
            Self::Timeout => Code::GatewayTimeout,
            Self::Upstream { status } if is_passing(*status) => Code::Unavailable,
            Self::Upstream { .. } | Self::BadReply | Self::ReplyTooLarge => Code::Internal,
        }
    }

    /// Whether the same command may succeed if the client sends it again later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoEndpoint | Self::Overloaded | Self::Timeout | Self::Disconnected | Self::ShuttingDown => {
                true
            }
            Self::Upstream { status } => is_passing(*status),
            Self::UnknownService | Self::BadReply | Self::ReplyTooLarge => false,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::UnknownService | Self::Overloaded | Self::ShuttingDown => Origin::Here,
            Self::NoEndpoint
            | Self::Timeout
            | Self::Disconnected
            | Self::Upstream { .. }
            | Self::BadReply
            | Self::ReplyTooLarge => Origin::Upstream,
        }
    }

    /// What a gRPC status means for a command without a reply: `Unavailable`, `Cancelled` and transport trouble are a
    /// broken connection.
    pub(crate) fn from_status(status: &tonic::Status) -> Self {
        match status.code() {
            // A stream that ends well has no place for its unanswered commands either.
            tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::Unknown | tonic::Code::Ok => {
                Self::Disconnected
            }
            tonic::Code::DeadlineExceeded => Self::Timeout,
            status => Self::Upstream { status },
        }
    }
}

/// gRPC states that pass by themselves.
fn is_passing(status: tonic::Code) -> bool {
    matches!(
        status,
        tonic::Code::Unavailable | tonic::Code::ResourceExhausted | tonic::Code::Aborted
    )
}

/// Why a [`Router`](crate::Router) could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An endpoint is not a URI that gRPC can be spoken to.
    #[error("services.{service}: {endpoint:?} is not a usable endpoint, expected http://host:port")]
    BadEndpoint {
        /// The service it was given for.
        service: String,
        /// The endpoint as configured.
        endpoint: String,
    },
    /// There is no Tokio runtime to run health checks on.
    #[error("a router must be built inside a Tokio runtime")]
    NoRuntime,
}
