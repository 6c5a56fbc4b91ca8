//! The protobuf envelope, as MyChat's clients frame it:
//!
//! `varint32 header_len | varint32 type_len | type_name | im.base.IMHeader | body | crc32`
//!
//! the checksum being CRC-32 (IEEE 802.3) over all bytes before it, little-endian. The body has no length: it
//! is what lies between header and checksum, and it is not looked into, except that the payload of an
//! `im.base.BaseRequest` is taken out, since that is how JSON travels in this encoding.

mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};
use serde_json::value::RawValue;

use crate::error::DecodeError;
use crate::json::too_deep;
use crate::proto::im::base::ImHeader;
use crate::request::{Claims, Encoding, Payload, ReplyTo, Request, Unreadable};
use fields::Header;

/// The `version` of headers that the gateway writes unasked, in notices and pushes.
pub const PROTOCOL_VERSION: &str = "1.0";

/// The type that carries JSON to the gateway.
pub(crate) const BASE_REQUEST: &str = "im.base.BaseRequest";

/// The type that carries JSON, and errors, to a client.
pub(crate) const BASE_RESPONSE: &str = "im.base.BaseResponse";

/// Longest `version` of a header, in bytes: it is kept for the reply.
const MAX_VERSION_BYTES: usize = 32;

/// Longest `from_uid` and `to_uid` of a header, in bytes, as long as an id: they are kept for the reply.
const MAX_UID_BYTES: usize = crate::id::MAX_ID_BYTES;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// An envelope taken apart, its parts unchecked but for the header.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<'a> {
    /// Who, what command, which number.
    pub header: ImHeader,
    /// Full name of the body's message type.
    pub type_name: &'a str,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// The three parts of an envelope, as bytes.
struct Parts<'a> {
    header: &'a [u8],
    type_name: &'a str,
    body: &'a [u8],
}

/// Reads a client's envelope.
///
/// # Errors
/// What is wrong with it, in words for the client, and what of its header a reply repeats: nothing where the checksum is
/// wrong, since nothing in it can be trusted then.
pub fn decode_envelope(bytes: &[u8]) -> Result<Request<'_>, Unreadable> {
    let unreadable = |error, reply_to| Unreadable { error, reply_to };
    let parts = split(bytes).map_err(|error| unreadable(error, ReplyTo::unreadable(Encoding::Protobuf)))?;
    let (header, fault) = Header::read(parts.header);
    let (addressing, too_long) = addressing(&header);
    if let Some(error) = fault.or(too_long) {
        return Err(unreadable(error, addressing));
    }
    match payload(&parts, header.cmd_id) {
        Err(error) => Err(unreadable(error, addressing)),
        Ok(payload) => Ok(Request {
            cmd_id: header.cmd_id,
            seq: header.seq.into(),
            claims: Claims {
                user_id: Cow::Borrowed(header.from_uid),
                session_id: Cow::Borrowed(""),
                device_id: Cow::Borrowed(header.device_id),
                platform: Cow::Borrowed(header.platform),
                token: Cow::Borrowed(header.token),
            },
            traceparent: Cow::Borrowed(""),
            payload,
            reply_to: addressing,
        }),
    }
}

/// What a reply repeats of a header; a field that is too long to be kept is left empty, and named.
fn addressing(header: &Header<'_>) -> (ReplyTo, Option<DecodeError>) {
    let mut too_long = None;
    let mut bounded = |field, text, limit| -> &str {
        if str::len(text) <= limit {
            return text;
        }
        too_long = too_long.or(Some(DecodeError::TooLong { field }));
        ""
    };
    let version = bounded("version", header.version, MAX_VERSION_BYTES);
    let from_uid = bounded("from_uid", header.from_uid, MAX_UID_BYTES);
    let to_uid = bounded("to_uid", header.to_uid, MAX_UID_BYTES);
    let reply_to = ReplyTo::protobuf(header.cmd_id, header.seq, version, from_uid, to_uid);
    (reply_to, too_long)
}

fn payload<'a>(parts: &Parts<'a>, cmd_id: u32) -> Result<Payload<'a>, DecodeError> {
    if cmd_id == 0 {
        return Err(DecodeError::ZeroCommand);
    }
    if parts.type_name != BASE_REQUEST {
        return Ok(Payload::Protobuf {
            type_name: parts.type_name,
            body: parts.body,
        });
    }
    Ok(Payload::Json(json_of(fields::payload(parts.body)?)?))
}

/// Takes an envelope apart, for clients: command 0 is allowed, since that is how the gateway answers to what
/// it could not read, and a `BaseResponse` stays bytes.
///
/// # Errors
/// What is wrong with it.
pub fn decode_envelope_raw(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let Parts {
        header,
        type_name,
        body,
    } = split(bytes)?;
    let header = ImHeader::decode(header).map_err(|_| DecodeError::BadHeader)?;
    Ok(Envelope {
        header,
        type_name,
        body,
    })
}

/// Frames a message. Either side does it the same way; `header` must not be all default values and
/// `type_name` not be empty, or no receiver will take it.
pub fn encode_envelope(header: &ImHeader, type_name: &str, body: &[u8]) -> Bytes {
    encode_with(header, type_name, body.len(), |out| out.put_slice(body))
}

/// Frames a message whose body of `body_len` bytes is written by `body`, to spare a copy of it.
pub(crate) fn encode_with(
    header: &ImHeader,
    type_name: &str,
    body_len: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let header_len = header.encoded_len();
    let lengths = encoded_len_varint(header_len as u64) + encoded_len_varint(type_name.len() as u64);
    let mut out = Vec::with_capacity(lengths + type_name.len() + header_len + body_len + CHECKSUM);
    encode_varint(header_len as u64, &mut out);
    encode_varint(type_name.len() as u64, &mut out);
    out.put_slice(type_name.as_bytes());
    header.encode_raw(&mut out);
    body(&mut out);
    out.put_u32_le(crc32fast::hash(&out));
    out.into()
}

fn split(bytes: &[u8]) -> Result<Parts<'_>, DecodeError> {
    let (covered, checksum) = bytes
        .split_last_chunk::<CHECKSUM>()
        .ok_or(DecodeError::TooShort)?;
    if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
        return Err(DecodeError::BadChecksum);
    }
    let mut rest = covered;
    let header_len = length(&mut rest)?;
    let type_len = length(&mut rest)?;
    if header_len == 0 {
        return Err(DecodeError::EmptyHeader);
    }
    if type_len == 0 {
        return Err(DecodeError::EmptyTypeName);
    }
    // Each split checks against what is left, so that no sum of lengths can overflow.
    let (type_name, rest) = rest.split_at_checked(type_len).ok_or(DecodeError::PastEnd)?;
    let (header, body) = rest.split_at_checked(header_len).ok_or(DecodeError::PastEnd)?;
    let type_name = simdutf8::basic::from_utf8(type_name).map_err(|_| DecodeError::BadTypeName)?;
    Ok(Parts {
        header,
        type_name,
        body,
    })
}

/// Takes a varint of at most 5 bytes and 32 bits off the front.
fn length(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let mut value = 0_u64;
    for position in 0..5 {
        let (&byte, tail) = rest.split_first().ok_or(DecodeError::PastEnd)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            let value = u32::try_from(value).map_err(|_| DecodeError::BadLength)?;
            return usize::try_from(value).map_err(|_| DecodeError::BadLength);
        }
    }
    Err(DecodeError::BadLength)
}

/// The JSON of a `BaseRequest`'s payload; `{}` where it is empty.
fn json_of(payload: &[u8]) -> Result<Cow<'_, str>, DecodeError> {
    if payload.is_empty() {
        return Ok(Cow::Borrowed("{}"));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| DecodeError::BadPayload)?;
    let json: &RawValue = serde_json::from_str(text).map_err(|_| DecodeError::BadPayload)?;
    if too_deep(json.get()) {
        return Err(DecodeError::TooDeep);
    }
    Ok(Cow::Borrowed(json.get()))
}
