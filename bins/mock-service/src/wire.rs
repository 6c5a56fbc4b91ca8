//! Between the encodings on the wire and the actions and answers of `services`.
//!
//! JSON says what it wants by its command number, protobuf by its type name; both end in the same [`Action`].
//! An answer goes back in the encoding of its request. Error replies carry no body: the gateway makes them.
//! Only the echo command goes by its number in protobuf too: it takes any type, and gives it back.

pub(crate) mod json;
pub(crate) mod protobuf;

use std::borrow::Cow;

use bytes::Bytes;
use gateway_codec::proto::{
    backend::{CommandReply, CommandRequest, ContentType},
    im::base::BaseRequest,
};
use prost::Message as _;

use crate::{
    error::ServiceError,
    options::ServiceKind,
    services::{Action, Answer, Echo, Effect, Quick},
};

/// How a request was written, and so how its reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

/// Protobuf that only wraps JSON.
const BASE_REQUEST: &str = "im.base.BaseRequest";

/// Reads a command: 400 for what cannot be read, 404 for a command or type that this service does not have.
pub(crate) fn read(kind: ServiceKind, request: &CommandRequest) -> Result<(Action, Encoding), ServiceError> {
    let protobuf = match request.content_type() {
        ContentType::Protobuf => true,
        ContentType::Json => false,
        ContentType::Unspecified => !request.type_name.is_empty(),
    };
    let (encoding, type_name, body) = match request.type_name.as_str() {
        BASE_REQUEST if protobuf => {
            let wrapped = BaseRequest::decode(request.body.clone())
                .map_err(|_| ServiceError::bad("the protobuf message cannot be read"))?;
            (Encoding::Json, "", wrapped.payload)
        }
        type_name if protobuf => (Encoding::Protobuf, type_name, request.body.clone()),
        _ => (Encoding::Json, "", request.body.clone()),
    };
    let action = if request.cmd_id == kind.echo_command() {
        let type_name = type_name.to_owned();
        Action::Quick(Quick::Echo(Echo { type_name, body }))
    } else {
        match encoding {
            Encoding::Json => json::read(kind, request.cmd_id, &body)?,
            Encoding::Protobuf => protobuf::read(kind, type_name, body)?,
        }
    };
    Ok((action, encoding))
}

/// Writes what a command came to.
pub(crate) fn write(encoding: Encoding, effect: Effect) -> CommandReply {
    let Effect {
        answer,
        identity,
        pushes,
    } = effect;
    let offline = matches!(answer, Answer::Sent(_)) && !pushes.is_empty();
    let (type_name, body, body_if_offline) = match encoding {
        Encoding::Json => {
            // Only JSON has a word for it; `im.message` tells delivery by `delivered_time`, which is 0.
            let unsent = if offline {
                json::write_offline(&answer)
            } else {
                Bytes::new()
            };
            (Cow::Borrowed(""), json::write(&answer), unsent)
        }
        Encoding::Protobuf => {
            let (type_name, body) = protobuf::write(answer);
            (type_name, body, Bytes::new())
        }
    };
    CommandReply {
        code: gateway_codec::Code::Success.json().into(),
        message: String::new(),
        type_name: type_name.into_owned(),
        body,
        identity,
        pushes,
        body_if_offline,
    }
}

/// A refusal, for the gateway to encode.
pub(crate) fn refusal(error: &ServiceError) -> CommandReply {
    CommandReply {
        code: error.code.json().into(),
        message: error.message.clone().into_owned(),
        ..CommandReply::default()
    }
}
