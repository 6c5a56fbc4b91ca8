//! Notices: what the gateway tells a client unasked about its connection (command 2).

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;

use crate::NOTICE_COMMAND;
use crate::code::Code;
use crate::envelope::PROTOCOL_VERSION;
use crate::id::SessionId;
use crate::proto::im::base::ImHeader;
use crate::reply::{JsonMessage, encode_base_response};
use crate::request::Encoding;
use crate::timestamp::Timestamp;

/// What a client is told. In `data` each is an object whose `event` is its name in lower case, `kicked` or
/// `new_login`, with the fields below beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice<'a> {
    /// The connection stands.
    Welcome {
        /// Its session.
        session_id: SessionId,
        /// Whether a token came with the handshake; it is verified and bound before any command runs.
        authenticated: bool,
        /// Seconds left to authenticate; `timeout` in JSON.
        #[serde(rename = "timeout")]
        timeout_seconds: u64,
    },
    /// The session ends because somebody ended it; a close follows.
    Kicked {
        /// Why, for the user to read.
        reason: &'a str,
    },
    /// The same user logged in elsewhere.
    NewLogin {
        /// The new device.
        device_id: &'a str,
        /// Its platform.
        platform: &'a str,
        /// Where it comes from; left out where that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
    },
    /// Not authenticated in time; a close follows.
    AuthTimeout,
    /// The token does not count; a close follows.
    AuthFailed {
        /// Why.
        reason: &'a str,
    },
    /// The access token ends soon.
    TokenExpiring {
        /// Seconds left; `expires_in` in JSON.
        #[serde(rename = "expires_in")]
        expires_in_seconds: u64,
    },
    /// The node goes away; a close follows.
    Draining {
        /// When to come back, in milliseconds.
        retry_after_ms: u64,
    },
    /// Pushes were lost on the way to this device.
    Gap {
        /// How many.
        count: u64,
    },
}

impl Notice<'_> {
    /// The notice's code: 408 for [`Notice::AuthTimeout`], 401 for [`Notice::AuthFailed`], otherwise 200.
    pub fn code(&self) -> Code {
        match self {
            Self::AuthTimeout => Code::AuthTimeout,
            Self::AuthFailed { .. } => Code::Unauthorized,
            Self::Welcome { .. }
            | Self::Kicked { .. }
            | Self::NewLogin { .. }
            | Self::TokenExpiring { .. }
            | Self::Draining { .. }
            | Self::Gap { .. } => Code::Success,
        }
    }

    /// Writes the notice as one frame's payload: command 2, number 0. In JSON `data` is a string.
    pub fn encode(&self, encoding: Encoding, timestamp: Timestamp) -> Bytes {
        // Strings, numbers and ids serialize without fail.
        let data = serde_json::to_string(self).unwrap_or_default();
        match encoding {
            Encoding::Json => {
                let mut out = JsonMessage::begin(NOTICE_COMMAND, 0, self.code(), "", data.len());
                match self {
                    Self::Welcome { session_id, .. } => out.session(*session_id),
                    _ => out.text("session_id", ""),
                }
                out.text("user_id", "");
                out.text("data", &data);
                out.text("platform", "");
                out.end(timestamp)
            }
            Encoding::Protobuf => {
                let header = ImHeader {
                    version: PROTOCOL_VERSION.to_owned(),
                    cmd_id: NOTICE_COMMAND,
                    timestamp: timestamp.as_millis(),
                    ..ImHeader::default()
                };
                let code = self.code();
                let message = if code.is_success() { "" } else { code.text() };
                encode_base_response(&header, code, message, data.as_bytes())
            }
        }
    }
}
