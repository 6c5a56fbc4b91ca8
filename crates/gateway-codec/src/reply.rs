//! Writes replies, in the encoding of their request.
//!
//! One reply is written once, straight into the bytes that go to the socket. A body is checked only as far as
//! the other parts of the message depend on it: JSON must be JSON, or the whole message would not be.

mod json;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

pub(crate) use json::JsonMessage;

use crate::code::Code;
use crate::envelope::{BASE_RESPONSE, encode_with};
use crate::error::EncodeError;
use crate::id::SessionId;
use crate::proto::im::base::{BaseResponse, ImHeader};
use crate::request::{Addressing, Encoding, Form, ReplyTo};
use crate::timestamp::Timestamp;

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// How it went.
    pub code: Code,
    /// What a client is told of it; `""` stands for [`Code::text`].
    pub message: Cow<'a, str>,
    /// The connection's session, where there is one. Envelopes have no place for it.
    pub session_id: Option<SessionId>,
    /// The session's user; `""` before login. Envelopes have no place for it.
    pub user_id: &'a str,
    /// The session's platform; `""` before login. Envelopes have no place for it.
    pub platform: &'a str,
    /// When the reply is made.
    pub timestamp: Timestamp,
    /// What came of the command.
    pub body: Body<'a>,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing: in JSON an empty object.
    Empty,
    /// JSON in UTF-8, as somebody else has written it. To a protobuf client it goes as the payload of an
    /// `im.base.BaseResponse`.
    Json(&'a [u8]),
    /// JSON that this program has written: it is not checked once more.
    Written(&'a str),
    /// A protobuf message, for protobuf clients alone.
    Protobuf {
        /// Its full name.
        type_name: &'a str,
        /// Its bytes, unchecked.
        body: &'a [u8],
    },
}

/// One message as it goes into one WebSocket frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Which kind of frame: JSON goes as text, protobuf as binary.
    pub encoding: Encoding,
    /// The frame's payload.
    pub bytes: Bytes,
}

/// Writes a reply for its request. A code other than [`Code::Success`] goes to a protobuf client as an
/// `im.base.BaseResponse`, whatever the body's type.
///
/// # Errors
/// [`EncodeError::BadBody`] for a body that says JSON and is none, a protobuf body for a JSON client, or one
/// without a type name: a fault of whoever made the body.
pub fn encode_reply(to: &ReplyTo, reply: &Reply<'_>) -> Result<Encoded, EncodeError> {
    let bytes = match &to.form {
        Form::Json { as_string } => json_reply(to, *as_string, reply)?,
        Form::Protobuf(addressing) => protobuf_reply(to, addressing, reply)?,
    };
    Ok(Encoded {
        encoding: to.encoding(),
        bytes,
    })
}

fn json_reply(to: &ReplyTo, as_string: bool, reply: &Reply<'_>) -> Result<Bytes, EncodeError> {
    let data = match reply.body {
        Body::Empty => "{}",
        // Inside a string it could break nothing: that it is text is enough.
        Body::Json(json) if as_string => text(json)?.trim_ascii(),
        Body::Json(json) => checked_json(json)?,
        Body::Written(json) => json,
        Body::Protobuf { .. } if !reply.code.is_success() => "{}",
        Body::Protobuf { .. } => {
            return Err(EncodeError::BadBody("a protobuf message for a JSON client"));
        }
    };
    let mut out = JsonMessage::begin(to.cmd_id, to.seq, reply.code, &reply.message, data.len());
    match reply.session_id {
        Some(id) => out.session(id),
        None => out.text("session_id", ""),
    }
    out.text("user_id", reply.user_id);
    if as_string {
        out.text("data", data);
    } else {
        out.raw("data", data);
    }
    out.text("platform", reply.platform);
    Ok(out.end(reply.timestamp))
}

fn protobuf_reply(to: &ReplyTo, addressing: &Addressing, reply: &Reply<'_>) -> Result<Bytes, EncodeError> {
    let header = ImHeader {
        version: addressing.version.as_ref().to_owned(),
        // An envelope's own number has 32 bits.
        seq: u32::try_from(to.seq).unwrap_or_default(),
        cmd_id: to.cmd_id,
        from_uid: addressing.to_uid.as_ref().to_owned(),
        to_uid: addressing.from_uid.as_ref().to_owned(),
        timestamp: reply.timestamp.as_millis(),
        ..ImHeader::default()
    };
    let payload = match reply.body {
        Body::Protobuf { type_name: "", .. } if reply.code.is_success() => {
            return Err(EncodeError::BadBody("a protobuf message without a type name"));
        }
        Body::Protobuf { type_name, body } if reply.code.is_success() => {
            return Ok(encode_with(&header, type_name, body.len(), |out| {
                out.put_slice(body)
            }));
        }
        Body::Json(json) => checked_json(json)?.as_bytes(),
        Body::Written(json) => json.as_bytes(),
        Body::Protobuf { .. } | Body::Empty => &[],
    };
    let message = if reply.message.is_empty() && !reply.code.is_success() {
        reply.code.text()
    } else {
        &reply.message
    };
    Ok(encode_base_response(&header, reply.code, message, payload))
}

/// Frames an `im.base.BaseResponse` without copying its payload first.
pub(crate) fn encode_base_response(header: &ImHeader, code: Code, message: &str, payload: &[u8]) -> Bytes {
    use prost::Message as _;
    let head = BaseResponse {
        error_code: code.error_code().into(),
        error_message: message.to_owned(),
        payload: Bytes::new(),
    };
    let len = head.encoded_len() + delimited_len(PAYLOAD, payload.len());
    encode_with(header, BASE_RESPONSE, len, |out| {
        head.encode_raw(out);
        if !payload.is_empty() {
            put_delimited(PAYLOAD, payload, out);
        }
    })
}

/// Number of `payload` in `im.base.BaseResponse`.
const PAYLOAD: u32 = 3;

/// Number of `base` in every typed `im.*` response.
const BASE: u32 = 1;

/// Puts `payload` into the `base` of an encoded `im.*` response: that is how a login's token pair gets into
/// `LoginResponse.base.payload` without the response being parsed.
///
/// It appends a second `base` that holds the payload alone; protobuf merges embedded messages that stand
/// more than once, so what the back end put into `base` remains.
pub fn add_base_payload(body: &mut Vec<u8>, payload: &[u8]) {
    let base_len = delimited_len(PAYLOAD, payload.len());
    encode_key(BASE, WireType::LengthDelimited, body);
    encode_varint(base_len as u64, body);
    put_delimited(PAYLOAD, payload, body);
}

fn put_delimited(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn delimited_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// JSON text without the white space around it.
fn checked_json(bytes: &[u8]) -> Result<&str, EncodeError> {
    let text = text(bytes)?;
    serde_json::from_str::<&serde_json::value::RawValue>(text)
        .map(serde_json::value::RawValue::get)
        .map_err(|_| EncodeError::BadBody("not JSON"))
}

fn text(bytes: &[u8]) -> Result<&str, EncodeError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| EncodeError::BadBody("not UTF-8"))
}
