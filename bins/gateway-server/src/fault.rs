//! What can go wrong with a command, and what its sender is told.
//!
//! Every error of the trades below keeps its origin until here; [`Fault::code`] leads into the one table
//! ([`gateway_codec::Code`]), and [`Fault::told`] is the sentence that a client sees. It names the fault and
//! never the inside; the inside goes to the log where the fault is handled.

use std::borrow::Cow;

use gateway_auth::AuthError;
use gateway_codec::{Code, DecodeError, ReadError, Unreadable};
use gateway_conn::BindError;
use gateway_router::RouterError;

use crate::params::ParamError;

/// Why a command was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The message itself cannot be read.
    #[error("unreadable message: {0}")]
    Decode(#[from] DecodeError),
    /// A token, or what stands behind it.
    #[error("authentication: {0}")]
    Auth(#[from] AuthError),
    /// The session could not be bound.
    #[error("bind: {0}")]
    Bind(#[from] BindError),
    /// The way to the back end, or the back end's own trouble.
    #[error("back end: {0}")]
    Router(#[from] RouterError),
    /// The back end said no, with its own code and text.
    #[error("refused by the back end: {} {message}", code.json())]
    Refused { code: Code, message: String },
    /// A rule of the gateway itself.
    #[error("{message}")]
    Rule { code: Code, message: Cow<'static, str> },
}

impl From<Unreadable> for Fault {
    fn from(unreadable: Unreadable) -> Self {
        Self::Decode(unreadable.error)
    }
}

impl From<ParamError> for Fault {
    fn from(error: ParamError) -> Self {
        Self::rule(Code::BadRequest, error.to_string())
    }
}

impl Fault {
    /// A rule of the gateway that the sender broke.
    pub fn rule(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Rule {
            code,
            message: message.into(),
        }
    }

    /// The code that the sender gets.
    pub fn code(&self) -> Code {
        match self {
            Self::Decode(_) => Code::BadRequest,
            Self::Auth(error) => error.code(),
            Self::Bind(error) => error.code(),
            Self::Router(error) => error.code(),
            Self::Refused { code, .. } | Self::Rule { code, .. } => *code,
        }
    }

    /// The sentence that the sender gets. For trouble of our own, that is the code's text and no more, except where the
    /// sender can do something about it.
    pub fn told(&self) -> Cow<'_, str> {
        match self {
            Self::Rule { message, .. } => Cow::Borrowed(message),
            // A back end's words about its own trouble may name what is behind it.
            Self::Refused { message, .. } if !message.is_empty() && !self.is_ours() => Cow::Borrowed(message),
            // Its sender can ask for less.
            Self::Router(RouterError::ReplyTooLarge) => Cow::Borrowed("The reply is too large"),
            _ if self.is_ours() => Cow::Borrowed(self.code().text()),
            Self::Decode(error) => Cow::Owned(error.to_string()),
            Self::Auth(error) => Cow::Owned(error.to_string()),
            Self::Bind(error) => Cow::Owned(error.to_string()),
            Self::Router(_) | Self::Refused { .. } => Cow::Borrowed(self.code().text()),
        }
    }

    /// 400: JSON that `what` should be, and is not.
    pub fn unreadable(what: &str, error: &ReadError) -> Self {
        Self::rule(Code::BadRequest, format!("{what}: {error}"))
    }

    /// 400: a field that has to be there is not, or is empty.
    pub fn missing(field: &'static str) -> Self {
        Self::rule(Code::BadRequest, format!("{field} is missing"))
    }

    /// Whether an operator should hear of it: the fault lies here or behind us, not with the sender.
    pub fn is_ours(&self) -> bool {
        matches!(
            self.code(),
            Code::Internal | Code::Unavailable | Code::GatewayTimeout
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_back_ends_fault_the_sender_is_told_what_it_can_change() {
        let told = |error: RouterError| Fault::from(error).told().into_owned();
        assert_eq!(told(RouterError::ReplyTooLarge), "The reply is too large");
        assert_eq!(told(RouterError::BadReply), Code::Internal.text());
    }
}
