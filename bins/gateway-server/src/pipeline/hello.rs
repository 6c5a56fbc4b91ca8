//! What a client says of itself while it opens its WebSocket (contract section 2, "Handshake").
//!
//! Nothing of it is believed here; a token is checked when the session is bound.

use gateway_codec::{DeviceId, Encoding, IdError, Platform};
use gateway_net::{Handshake, Refusal};
use http::StatusCode;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::params::{self, ParamError};

/// A handshake's words, parsed.
#[derive(Default)]
pub struct Hello {
    /// From `Authorization: Bearer`, `?token=` or the sub-protocol `bearer.<token>`.
    pub token: Option<String>,
    /// From the query or `X-Device-ID`.
    pub device_id: Option<DeviceId>,
    /// From the query or `X-Platform`.
    pub platform: Option<Platform>,
    /// From the query: the last push that the client has.
    pub last_push_id: Option<Box<str>>,
    /// Fixed by the sub-protocol, where it names one.
    pub encoding: Option<Encoding>,
    /// The client acknowledges pushes: it chose a `mychat.v1…` sub-protocol or connected with `ack=1`.
    pub acknowledges: bool,
    /// What is answered as sub-protocol.
    pub subprotocol: Option<&'static str>,
}

impl Hello {
    /// Parses a handshake.
    ///
    /// # Errors
    /// 400 that names a parameter which is given but is not what it should be.
    pub fn parse(handshake: &Handshake) -> Result<Self, Refusal> {
        Self::read(handshake).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
    }

    fn read(handshake: &Handshake) -> Result<Self, ParamError> {
        let query =
            |name| params::query(&handshake.query, name).map(|value| value.filter(|it| !it.is_empty()));
        let mut hello = Self {
            token: query("token")?,
            last_push_id: params::last_push_id(query("last_push_id")?)?.map(Into::into),
            acknowledges: query("ack")?.is_some_and(|ack| ack == "1"),
            ..Self::default()
        };
        hello.take_subprotocols(handshake);
        if let Some(token) = params::header(&handshake.headers, "Authorization")?.and_then(bearer) {
            hello.token = Some(token.to_owned());
        }
        hello.device_id = either(handshake, ["device_id", "X-Device-ID"], DeviceId::parse)?;
        hello.platform = either(handshake, ["platform", "X-Platform"], Platform::parse)?;
        Ok(hello)
    }

    fn take_subprotocols(&mut self, handshake: &Handshake) {
        for offered in handshake.headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            let Ok(offered) = offered.to_str() else { continue };
            for protocol in offered.split(',').map(str::trim) {
                if let Some(token) = protocol.strip_prefix("bearer.") {
                    self.token = Some(token.to_owned());
                } else if self.subprotocol.is_none() {
                    self.choose(protocol);
                }
            }
        }
    }

    fn choose(&mut self, protocol: &str) {
        let (name, encoding) = match protocol {
            "mychat.v1" => ("mychat.v1", None),
            "mychat.v1.json" => ("mychat.v1.json", Some(Encoding::Json)),
            "mychat.v1.protobuf" => ("mychat.v1.protobuf", Some(Encoding::Protobuf)),
            _ => return,
        };
        self.subprotocol = Some(name);
        self.encoding = encoding;
        self.acknowledges = true;
    }
}

/// The token of an `Authorization` header of the scheme `Bearer` (RFC 6750), its name in any case.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

/// An id from the query or, where that has none, from a header.
fn either<T>(
    handshake: &Handshake,
    [parameter, header]: [&'static str; 2],
    parse: impl Fn(&str) -> Result<T, IdError>,
) -> Result<Option<T>, ParamError> {
    let id = |name, text: &str| parse(text).map_err(|error| ParamError::Id(name, error)).map(Some);
    if let Some(text) = params::query(&handshake.query, parameter)?.filter(|text| !text.is_empty()) {
        return id(parameter, &text);
    }
    match params::header(&handshake.headers, header)? {
        Some(text) => id(header, text),
        None => Ok(None),
    }
}
