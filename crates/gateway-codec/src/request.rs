//! A client's message as the gateway sees it: the head decoded, the payload a slice of what arrived.
//!
//! It is the same for both encodings. What a message says of its sender stays in [`Claims`], apart from any
//! identity: who speaks is the session's matter.

use std::borrow::Cow;
use std::fmt;

use crate::envelope::PROTOCOL_VERSION;
use crate::error::DecodeError;

/// The two ways a message is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// Text frames, one JSON object each.
    #[default]
    Json,
    /// Binary frames, one protobuf envelope each.
    Protobuf,
}

/// A client's message.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The command, 1 or more.
    pub cmd_id: u32,
    /// The client's own number for this message; its reply repeats it. 0 where the client gives none. In JSON up to
    /// 2^53 − 1, in an envelope 32 bits.
    pub seq: u64,
    /// What the message says of its sender.
    pub claims: Claims<'a>,
    /// W3C trace context as sent, unchecked; `""` where there is none.
    pub traceparent: Cow<'a, str>,
    /// What is passed on.
    pub payload: Payload<'a>,
    /// What a reply needs to know of its request.
    pub reply_to: ReplyTo,
}

/// A message that cannot be read, with what of it could be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// What is wrong with it.
    pub error: DecodeError,
    /// Command and number as far as they could be read, for the reply that says so.
    pub reply_to: ReplyTo,
}

/// What a message says of its sender, `""` for what it does not say. Never an identity: it is compared with
/// the session's, and nothing else.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// The user; in an envelope, `from_uid`.
    pub user_id: Cow<'a, str>,
    /// The session; envelopes have none.
    pub session_id: Cow<'a, str>,
    /// The device.
    pub device_id: Cow<'a, str>,
    /// The platform, as sent.
    pub platform: Cow<'a, str>,
    /// An access token: a secret.
    pub token: Cow<'a, str>,
}

impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("user_id", &self.user_id)
            .field("session_id", &self.session_id)
            .field("device_id", &self.device_id)
            .field("platform", &self.platform)
            .field("token", &if self.token.is_empty() { "" } else { "[redacted]" })
            .finish()
    }
}

/// What a message carries, unread.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The JSON text of `data`: a string unescaped, anything else as it stands, `{}` where there is none. A
    /// string's content is not checked to be JSON; its receiver does that.
    Json(Cow<'a, str>),
    /// A protobuf message.
    Protobuf {
        /// Its full name: `im.message.SendMessageRequest`.
        type_name: &'a str,
        /// Its bytes, unchecked.
        body: &'a [u8],
    },
}

impl fmt::Debug for Payload<'_> {
    /// Shows the length alone: logins carry passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) => f.debug_struct("Json").field("bytes", &text.len()).finish(),
            Self::Protobuf { type_name, body } => f
                .debug_struct("Protobuf")
                .field("type_name", type_name)
                .field("bytes", &body.len())
                .finish(),
        }
    }
}

/// What a reply needs to know of its request. Owned, because the reply is written when the request is gone,
/// and small, because one is kept for each command in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The request's command; 0 where it could not be read.
    pub cmd_id: u32,
    /// The request's number; 0 where it could not be read.
    pub seq: u64,
    pub(crate) form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Json { as_string: bool },
    Protobuf(Box<Addressing>),
}

/// What a reply's header repeats of its request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addressing {
    pub(crate) version: Box<str>,
    pub(crate) from_uid: Box<str>,
    pub(crate) to_uid: Box<str>,
}

impl ReplyTo {
    /// For a JSON request; `as_string` says whether the reply's `data` is a JSON string, or JSON itself.
    pub fn json(cmd_id: u32, seq: u64, as_string: bool) -> Self {
        Self {
            cmd_id,
            seq,
            form: Form::Json { as_string },
        }
    }

    /// For a protobuf request, with the `version`, `from_uid` and `to_uid` of its header.
    pub fn protobuf(cmd_id: u32, seq: u32, version: &str, from_uid: &str, to_uid: &str) -> Self {
        let addressing = Addressing {
            version: version.into(),
            from_uid: from_uid.into(),
            to_uid: to_uid.into(),
        };
        Self {
            cmd_id,
            seq: seq.into(),
            form: Form::Protobuf(Box::new(addressing)),
        }
    }

    /// For a message that could not be read: command 0, number 0.
    pub fn unreadable(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Self::json(0, 0, true),
            Encoding::Protobuf => Self::protobuf(0, 0, PROTOCOL_VERSION, "", ""),
        }
    }

    /// The same for a command that only the server may send: a reply under a notice's or a push's number would be taken
    /// for one, so it has command 0 and the request's `seq`.
    #[must_use]
    pub fn under_no_command(mut self) -> Self {
        self.cmd_id = 0;
        self
    }

    /// The encoding of the request, which is the reply's.
    pub fn encoding(&self) -> Encoding {
        match self.form {
            Form::Json { .. } => Encoding::Json,
            Form::Protobuf(_) => Encoding::Protobuf,
        }
    }
}
