//! Pushes: what a user is shown unasked (command 5001).
//!
//! A push names no session, no user and no receiver, so that one encoding per form serves every device: it is
//! made when the first receiver of that form comes, and shared.

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;

use crate::PUSH_COMMAND;
use crate::code::Code;
use crate::envelope::{PROTOCOL_VERSION, encode_envelope};
use crate::proto::gateway::{ConversationType, Push, PushType};
use crate::proto::im::base::ImHeader;
use crate::proto::im::push::{PushMessageBody, PushRequest};
use crate::reply::JsonMessage;
use crate::request::Encoding;
use crate::timestamp::Timestamp;

/// Longest push id, in bytes.
pub const MAX_PUSH_ID_BYTES: usize = 128;

/// The type a push travels as.
const PUSH_REQUEST: &str = "im.push.PushRequest";

/// What is pushed. By default a message of a direct conversation with nothing in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushBody {
    /// Makes it idempotent; at most [`MAX_PUSH_ID_BYTES`]. Empty until the gateway has made one.
    pub push_id: String,
    /// Its kind.
    pub push_type: PushType,
    /// What is shown.
    pub content: String,
    /// The chat message it carries; `""` where it carries none.
    pub message_id: String,
    /// Who caused it; `""` for the system.
    pub sender_uid: String,
    /// The kind of conversation it belongs to.
    pub conversation_type: ConversationType,
    /// The conversation: the peer's user id, or the group's id.
    pub conversation_id: String,
}

/// Why a back end's push is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The id is longer than [`MAX_PUSH_ID_BYTES`].
    #[error("push_id is longer than {MAX_PUSH_ID_BYTES} bytes")]
    IdTooLong,
    /// No such push type.
    #[error("type is not a push type")]
    UnknownType,
    /// No such conversation type.
    #[error("conversation_type is not a conversation type")]
    UnknownConversation,
}

impl PushType {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Notification => "notification",
            Self::System => "system",
            Self::Offline => "offline",
        }
    }
}

impl ConversationType {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::System => "system",
        }
    }
}

impl TryFrom<Push> for PushBody {
    type Error = PushError;

    fn try_from(push: Push) -> Result<Self, PushError> {
        if push.push_id.len() > MAX_PUSH_ID_BYTES {
            return Err(PushError::IdTooLong);
        }
        Ok(Self {
            push_type: push.r#type.try_into().map_err(|_| PushError::UnknownType)?,
            conversation_type: push
                .conversation_type
                .try_into()
                .map_err(|_| PushError::UnknownConversation)?,
            push_id: push.push_id,
            content: push.content,
            message_id: push.message_id,
            sender_uid: push.sender_uid,
            conversation_id: push.conversation_id,
        })
    }
}

impl From<&PushBody> for Push {
    fn from(body: &PushBody) -> Self {
        Self {
            push_id: body.push_id.clone(),
            r#type: body.push_type.into(),
            content: body.content.clone(),
            message_id: body.message_id.clone(),
            sender_uid: body.sender_uid.clone(),
            conversation_type: body.conversation_type.into(),
            conversation_id: body.conversation_id.clone(),
        }
    }
}

/// `data` of a push in JSON.
#[derive(Serialize)]
struct Data<'a> {
    push_id: &'a str,
    r#type: &'static str,
    content: &'a str,
    message_id: &'a str,
    #[serde(flatten)]
    ext: Ext<'a>,
}

/// `ext` of a push in protobuf.
#[derive(Serialize)]
struct Ext<'a> {
    sender_uid: &'a str,
    conversation_type: &'static str,
    conversation_id: &'a str,
}

/// A push with its encoded forms, each made once. Share it by `Arc`.
#[derive(Debug)]
pub struct EncodedPush {
    /// What is pushed. Shared, so that it can be remembered without the encoded forms.
    pub body: Arc<PushBody>,
    timestamp: Timestamp,
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl EncodedPush {
    /// A push made at `timestamp`; nothing is encoded yet.
    pub fn new(body: impl Into<Arc<PushBody>>, timestamp: Timestamp) -> Self {
        Self {
            body: body.into(),
            timestamp,
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// When it was made.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The payload of one frame in this encoding: command 5001, number 0, code 200. The first call encodes;
    /// cloning the bytes shares them.
    pub fn bytes(&self, encoding: Encoding) -> &Bytes {
        match encoding {
            Encoding::Json => self.json.get_or_init(|| self.encode_json()),
            Encoding::Protobuf => self.protobuf.get_or_init(|| self.encode_protobuf()),
        }
    }

    fn ext(&self) -> Ext<'_> {
        Ext {
            sender_uid: &self.body.sender_uid,
            conversation_type: self.body.conversation_type.name(),
            conversation_id: &self.body.conversation_id,
        }
    }

    fn encode_json(&self) -> Bytes {
        let data = Data {
            push_id: &self.body.push_id,
            r#type: self.body.push_type.name(),
            content: &self.body.content,
            message_id: &self.body.message_id,
            ext: self.ext(),
        };
        // Strings serialize without fail.
        let data = serde_json::to_string(&data).unwrap_or_default();
        let mut out = JsonMessage::begin(PUSH_COMMAND, 0, Code::Success, "", data.len());
        out.text("data", &data);
        out.end(self.timestamp)
    }

    fn encode_protobuf(&self) -> Bytes {
        let header = ImHeader {
            version: PROTOCOL_VERSION.to_owned(),
            cmd_id: PUSH_COMMAND,
            timestamp: self.timestamp.as_millis(),
            ..ImHeader::default()
        };
        let body = PushMessageBody {
            push_id: self.body.push_id.clone(),
            r#type: self.body.push_type.into(),
            content: self.body.content.clone(),
            related_message_id: self.body.message_id.clone(),
            ext: serde_json::to_string(&self.ext()).unwrap_or_default(),
        };
        // The envelope's header is the header; a second one inside would say it twice.
        let request = PushRequest {
            header: None,
            body: Some(body),
        };
        encode_envelope(&header, PUSH_REQUEST, &request.encode_to_vec())
    }
}
