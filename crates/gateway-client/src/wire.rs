//! Messages to bytes and back, in the encoding of the connection. JSON is plain text frames; protobuf is the
//! envelope, with the JSON of the data inside an `im.base.BaseRequest` where the command has no type of its own.

use std::time::Duration;

use bytes::Bytes;
use gateway_codec::proto::im::base::ImHeader;
use gateway_codec::proto::im::push::{PushRequest, PushType};
use gateway_codec::{
    Encoding, JsonRequest, NOTICE_COMMAND, PROTOCOL_VERSION, PUSH_COMMAND, base_response,
    decode_envelope_raw, decode_json_reply, encode_base_request, encode_envelope, encode_json_request,
};
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{Notice, Push};
use crate::transport::Outgoing;
use crate::{ClientError, Ended};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The command's number.
    pub cmd_id: u32,
    /// The command's `seq`.
    pub seq: u32,
    /// The contract's JSON code, 200 for success. From protobuf, where several codes share one `ErrorCode`, the
    /// most general of them.
    pub code: u16,
    /// The gateway's words for the code.
    pub message: String,
    /// The session, where the reply names it (JSON only).
    pub session_id: String,
    /// The session's user, where the reply names it.
    pub user_id: String,
    /// The reply's `data`, opened where it came as a string; `Null` where there is none.
    pub data: Value,
    /// The protobuf type of `body`; empty for JSON.
    pub type_name: String,
    /// The protobuf message as it came; empty for JSON.
    pub body: Bytes,
}

impl Reply {
    /// The reply itself if its code is 200.
    ///
    /// # Errors
    /// [`ClientError::Failed`] with the code and message otherwise.
    pub fn success(self) -> Result<Self, ClientError> {
        if self.code == 200 {
            return Ok(self);
        }
        Err(ClientError::Failed {
            code: self.code,
            message: self.message,
        })
    }
}

/// What a command carries.
pub(crate) enum Data<'a> {
    Json(&'a RawValue),
    Protobuf { type_name: &'a str, body: &'a [u8] },
}

/// One command before it has its `seq`.
pub(crate) struct Command<'a> {
    pub(crate) cmd_id: u32,
    pub(crate) data: Data<'a>,
}

/// Who speaks: goes into every message, as the gateway allows for the session's own device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) platform: String,
}

/// Bytes to send.
pub(crate) fn encode(
    encoding: Encoding,
    command: &Command<'_>,
    seq: u32,
    device: &Device,
) -> Result<Outgoing, ClientError> {
    let cmd_id = command.cmd_id;
    let header = || ImHeader {
        version: PROTOCOL_VERSION.to_owned(),
        seq,
        cmd_id,
        device_id: device.id.clone(),
        platform: device.platform.clone(),
        ..ImHeader::default()
    };
    Ok(match (encoding, &command.data) {
        (_, Data::Protobuf { type_name, body }) => {
            Outgoing::Binary(encode_envelope(&header(), type_name, body))
        }
        (Encoding::Protobuf, Data::Json(data)) => {
            Outgoing::Binary(encode_base_request(&header(), data.get()))
        }
        (Encoding::Json, Data::Json(data)) => {
            let request = JsonRequest {
                cmd_id,
                seq,
                data: data.get(),
                data_as_json: true,
                device_id: &device.id,
                platform: &device.platform,
                ..JsonRequest::default()
            };
            Outgoing::Text(
                encode_json_request(&request)
                    .map_err(|_| ClientError::BadData)?
                    .into(),
            )
        }
    })
}

/// What came, sorted.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(Reply),
    Push(Push),
    Notice(Notice),
}

/// A text frame.
pub(crate) fn decode_text(text: &str) -> Result<Incoming, ClientError> {
    let reply =
        decode_json_reply(text).map_err(|_| ClientError::Protocol("a text frame that is no message"))?;
    sort(Reply {
        cmd_id: reply.cmd_id,
        seq: reply.seq,
        code: reply.code,
        message: reply.message,
        session_id: reply.session_id,
        user_id: reply.user_id,
        data: opened(reply.data.as_bytes()),
        type_name: String::new(),
        body: Bytes::new(),
    })
}

/// A binary frame.
pub(crate) fn decode_binary(bytes: &Bytes) -> Result<Incoming, ClientError> {
    let unreadable = |_| ClientError::Protocol("a binary frame that is no envelope");
    let envelope = decode_envelope_raw(bytes).map_err(unreadable)?;
    if envelope.header.cmd_id == PUSH_COMMAND {
        let request = PushRequest::decode(envelope.body);
        let request = request.map_err(|_| ClientError::Protocol("a push that cannot be read"))?;
        return Ok(Incoming::Push(push(request)));
    }
    let base = base_response(&envelope).map_err(unreadable)?;
    let base = base.ok_or(ClientError::Protocol(
        "an envelope that is neither a push nor a response",
    ))?;
    sort(Reply {
        cmd_id: envelope.header.cmd_id,
        seq: envelope.header.seq,
        code: code(base.error_code),
        message: base.error_message,
        session_id: String::new(),
        data: opened(&base.payload),
        type_name: envelope.type_name.to_owned(),
        body: bytes.slice_ref(envelope.body),
        user_id: envelope.header.to_uid,
    })
}

/// `data` as a value; text that is no JSON stays a string.
fn opened(data: &[u8]) -> Value {
    match serde_json::from_slice(data) {
        Ok(value) => value,
        Err(_) if data.is_empty() => Value::Null,
        Err(_) => Value::String(String::from_utf8_lossy(data).into_owned()),
    }
}

fn sort(reply: Reply) -> Result<Incoming, ClientError> {
    match reply.cmd_id {
        NOTICE_COMMAND => {
            let event = reply.data["event"].as_str().unwrap_or_default().to_owned();
            Ok(Incoming::Notice(Notice {
                event,
                code: reply.code,
                data: reply.data,
            }))
        }
        PUSH_COMMAND if reply.seq == 0 => serde_json::from_value(reply.data)
            .map(Incoming::Push)
            .map_err(|_| ClientError::Protocol("a push that cannot be read")),
        _ => Ok(Incoming::Reply(reply)),
    }
}

/// `ErrorCode` back to a JSON code.
fn code(error_code: i32) -> u16 {
    match error_code {
        0 => 200,
        1 | 6 => 400,
        2 => 401,
        3 => 404,
        4 => 403,
        5 => 409,
        7 => 504,
        _ => 500,
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ext {
    sender_uid: String,
    conversation_type: String,
    conversation_id: String,
}

fn push(request: PushRequest) -> Push {
    let body = request.body.unwrap_or_default();
    let ext: Ext = serde_json::from_str(&body.ext).unwrap_or_default();
    let push_type = match body.r#type() {
        PushType::Message => "message",
        PushType::Notification => "notification",
        PushType::System => "system",
        PushType::Offline => "offline",
    };
    Push {
        push_type: push_type.to_owned(),
        push_id: body.push_id,
        content: body.content,
        message_id: body.related_message_id,
        sender_uid: ext.sender_uid,
        conversation_type: ext.conversation_type,
        conversation_id: ext.conversation_id,
    }
}

/// The Close frame as an end. A draining gateway says in its notice when to come back, and again in the reason, for
/// clients that have missed the notice.
pub(crate) fn ended(code: u16, reason: String, from_notice: Option<Duration>) -> Ended {
    Ended {
        retry_after: from_notice.or_else(|| retry_after(&reason)),
        ..Ended::by_peer(code, reason)
    }
}

/// `retry_after_ms=1234`, alone or among other words.
fn retry_after(reason: &str) -> Option<Duration> {
    let mut words = reason.split([' ', ',', ';']);
    let millis = words.find_map(|word| word.strip_prefix("retry_after_ms="))?;
    let millis = millis.parse().ok().filter(|millis| *millis > 0)?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_say_when_to_come_back_and_the_notice_goes_first() {
        let ms = Duration::from_millis;
        for (reason, from_notice, expected) in [
            ("retry_after_ms=1234", None, Some(ms(1234))),
            ("draining; retry_after_ms=7", None, Some(ms(7))),
            ("retry_after_ms=1234", Some(ms(5)), Some(ms(5))),
            ("retry_after_ms=0", None, None),
            ("retry_after_ms=-1", None, None),
            ("retry_after_ms=soon", None, None),
            ("", None, None),
        ] {
            let ended = ended(1012, reason.to_owned(), from_notice);
            assert_eq!(ended.retry_after, expected, "{reason}");
        }
    }
}
