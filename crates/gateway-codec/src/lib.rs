//! The words of MyChat Gateway: ids, codes, the JSON and the protobuf envelope codec, and the protobuf
//! messages of clients and back ends.
//!
//! Everything else in the project speaks in these types, so they stand in one crate that does no I/O, reads
//! no clock and holds no state. Only the head of a message is decoded: what it carries (`data` in JSON, the
//! body in protobuf) stays a slice of what arrived, because the gateway passes it on and never reads it.
//!
//! Two sides are served: the gateway reads requests ([`decode_json`], [`decode_envelope`]) and writes replies,
//! notices and pushes ([`encode_reply`], [`Notice`], [`EncodedPush`]); a client writes requests
//! ([`encode_json_request`], [`encode_envelope`]) and reads what comes back ([`decode_json_reply`],
//! [`decode_envelope_raw`]).
//!
//! The feature `grpc` adds the clients and servers of `mychat.backend.v1` and `mychat.gateway.v1`.
#![warn(missing_docs)]

mod client;
mod code;
mod command;
mod envelope;
mod error;
mod id;
mod json;
mod lenient;
mod notice;
pub mod proto;
mod push;
mod reply;
mod request;
mod timestamp;

pub use client::{
    ClientReply, JsonRequest, base_response, decode_json_reply, encode_base_request, encode_json_request,
};
pub use code::{CloseCode, Code};
pub use command::Command;
pub use envelope::{Envelope, PROTOCOL_VERSION, decode_envelope, decode_envelope_raw, encode_envelope};
pub use error::{DecodeError, EncodeError};
pub use id::{DeviceId, IdError, NodeId, Platform, RequestId, SessionId, UserId};
pub use json::{MAX_DATA_DEPTH, decode_json};
pub use lenient::{ReadError, read_object};
pub use notice::Notice;
pub use proto::gateway::{ConversationType, PushType};
pub use push::{EncodedPush, MAX_PUSH_ID_BYTES, PushBody, PushError};
pub use reply::{Body, Encoded, Reply, add_base_payload, encode_reply};
pub use request::{Claims, Encoding, Payload, ReplyTo, Request, Unreadable};
pub use timestamp::Timestamp;

/// The command of a notice, server to client.
pub const NOTICE_COMMAND: u32 = 2;

/// The command of a push, server to client.
pub const PUSH_COMMAND: u32 = 5001;
