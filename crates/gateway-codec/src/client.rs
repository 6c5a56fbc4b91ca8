//! The client's side of both encodings: writes requests, reads what comes back.
//!
//! It is used by the SDK, by loadgen and by tests. It owns what it reads, since a client keeps replies.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::{BASE_REQUEST, BASE_RESPONSE, Envelope, encode_envelope};
use crate::error::{DecodeError, EncodeError};
use crate::json::Text;
use crate::proto::im::base::{BaseRequest, BaseResponse, ImHeader};

/// A request in JSON. Fields that are `""` are left out of the message.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonRequest<'a> {
    /// The command.
    pub cmd_id: u32,
    /// The request's number, which its reply repeats.
    pub seq: u32,
    /// JSON text of `data`; `""` leaves it out.
    pub data: &'a str,
    /// Whether `data` is sent as JSON itself, not as a string that holds JSON.
    pub data_as_json: bool,
    /// Claimed user.
    pub user_id: &'a str,
    /// Claimed session.
    pub session_id: &'a str,
    /// Claimed device.
    pub device_id: &'a str,
    /// Claimed platform.
    pub platform: &'a str,
    /// An access token.
    pub token: &'a str,
    /// W3C trace context.
    pub traceparent: &'a str,
}

/// A reply, notice or push in JSON. Fields that it does not have are `""` or 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientReply {
    /// The command: the request's, 2 for a notice, 5001 for a push, 0 in answer to what could not be read.
    pub cmd_id: u32,
    /// The request's number; 0 for notices and pushes.
    pub seq: u32,
    /// How it went: the contract's JSON codes, 200 for success.
    pub code: u16,
    /// What is told of it.
    pub message: String,
    /// The connection's session.
    pub session_id: String,
    /// The session's user.
    pub user_id: String,
    /// The session's platform.
    pub platform: String,
    /// When it was made, in RFC 3339.
    pub timestamp: String,
    /// JSON text of `data`, whichever form it came in; `""` where there is none.
    pub data: String,
}

/// Writes a JSON request, for one text frame.
///
/// # Errors
/// [`EncodeError::BadBody`] where `data_as_json` is set and `data` is not JSON.
pub fn encode_json_request(request: &JsonRequest<'_>) -> Result<String, EncodeError> {
    #[derive(Serialize)]
    struct Wire<'a> {
        cmd_id: u32,
        seq: u32,
        #[serde(skip_serializing_if = "Data::is_absent")]
        data: Data<'a>,
        #[serde(skip_serializing_if = "str::is_empty")]
        user_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        session_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        device_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        platform: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        token: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        traceparent: &'a str,
    }

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Data<'a> {
        Absent,
        Text(&'a str),
        Json(&'a RawValue),
    }

    impl Data<'_> {
        fn is_absent(&self) -> bool {
            matches!(self, Self::Absent)
        }
    }

    let not_json = |_| EncodeError::BadBody("data is not JSON");
    let data = match request.data {
        "" => Data::Absent,
        text if request.data_as_json => Data::Json(serde_json::from_str(text).map_err(not_json)?),
        text => Data::Text(text),
    };
    let wire = Wire {
        cmd_id: request.cmd_id,
        seq: request.seq,
        data,
        user_id: request.user_id,
        session_id: request.session_id,
        device_id: request.device_id,
        platform: request.platform,
        token: request.token,
        traceparent: request.traceparent,
    };
    serde_json::to_string(&wire).map_err(not_json)
}

/// Reads a JSON reply, notice or push. Unknown fields are ignored.
///
/// # Errors
/// [`DecodeError::NotJson`] for what is not JSON or not of a reply's types, [`DecodeError::Missing`] without
/// `cmd_id` or `code`.
pub fn decode_json_reply(text: &str) -> Result<ClientReply, DecodeError> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        cmd_id: Option<u32>,
        code: Option<u16>,
        #[serde(default)]
        seq: u32,
        #[serde(default)]
        message: String,
        #[serde(default)]
        session_id: String,
        #[serde(default)]
        user_id: String,
        #[serde(default)]
        platform: String,
        #[serde(default)]
        timestamp: String,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }

    let not_json = |error: serde_json::Error| DecodeError::NotJson {
        line: error.line(),
        column: error.column(),
    };
    let wire: Wire<'_> = serde_json::from_str(text).map_err(not_json)?;
    let data = match wire.data.map(RawValue::get) {
        None => String::new(),
        Some(raw) if raw.starts_with('"') => serde_json::from_str::<Text<'_>>(raw)
            .map_err(not_json)?
            .0
            .into_owned(),
        Some(raw) => raw.to_owned(),
    };
    Ok(ClientReply {
        cmd_id: wire.cmd_id.ok_or(DecodeError::Missing { field: "cmd_id" })?,
        seq: wire.seq,
        code: wire.code.ok_or(DecodeError::Missing { field: "code" })?,
        message: wire.message,
        session_id: wire.session_id,
        user_id: wire.user_id,
        platform: wire.platform,
        timestamp: wire.timestamp,
        data,
    })
}

/// Writes a command that has no `im.*` type of its own, for one binary frame: an `im.base.BaseRequest` with
/// `data`, JSON text, as its payload.
pub fn encode_base_request(header: &ImHeader, data: &str) -> Bytes {
    let request = BaseRequest {
        payload: Bytes::copy_from_slice(data.as_bytes()),
    };
    encode_envelope(header, BASE_REQUEST, &request.encode_to_vec())
}

/// How a protobuf reply went: the `im.base.BaseResponse` that it is, or that stands in its `base`. Nothing for
/// what is no response, as a push.
///
/// # Errors
/// [`DecodeError::BadBody`] for a body that is not of its type.
pub fn base_response(envelope: &Envelope<'_>) -> Result<Option<BaseResponse>, DecodeError> {
    /// What all typed responses have in common.
    #[derive(Clone, PartialEq, Message)]
    struct Based {
        #[prost(message, optional, tag = "1")]
        base: Option<BaseResponse>,
    }

    if envelope.type_name == BASE_RESPONSE {
        return BaseResponse::decode(envelope.body)
            .map(Some)
            .map_err(|_| DecodeError::BadBody);
    }
    if !envelope.type_name.ends_with("Response") {
        return Ok(None);
    }
    let based = Based::decode(envelope.body).map_err(|_| DecodeError::BadBody)?;
    // A response that went well may leave out an empty `base`.
    Ok(Some(based.base.unwrap_or_default()))
}
