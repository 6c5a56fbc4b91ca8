//! What a client says of itself while it opens its WebSocket (contract section 2, "Handshake").
//!
//! Nothing of it is believed here; a token is checked when the session is bound.

use gateway_codec::{DeviceId, Encoding, Platform};
use gateway_net::{Handshake, Refusal};
use http::StatusCode;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

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
    /// 400 where a device id or a platform is given but is not one.
    pub fn parse(handshake: &Handshake) -> Result<Self, Refusal> {
        let mut hello = Self::default();
        let mut device_id = header(handshake, "x-device-id").map(str::to_owned);
        let mut platform = header(handshake, "x-platform").map(str::to_owned);
        for (name, value) in form_pairs(&handshake.query) {
            match name.as_str() {
                "token" if !value.is_empty() => hello.token = Some(value),
                "device_id" => device_id = Some(value),
                "platform" => platform = Some(value),
                "last_push_id" if !value.is_empty() => hello.last_push_id = Some(value.into()),
                "ack" => hello.acknowledges = value == "1",
                _ => {}
            }
        }
        hello.take_subprotocols(handshake);
        if let Some(token) = header(handshake, AUTHORIZATION.as_str()).and_then(bearer) {
            hello.token = Some(token.to_owned());
        }
        hello.device_id = device_id
            .filter(|id| !id.is_empty())
            .map(|id| DeviceId::parse(&id))
            .transpose()
            .map_err(|_| refusal("device_id is not valid"))?;
        hello.platform = platform
            .filter(|platform| !platform.is_empty())
            .map(|platform| Platform::parse(&platform))
            .transpose()
            .map_err(|_| refusal("platform is not valid"))?;
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

/// The pairs of a query string (`application/x-www-form-urlencoded`), decoded.
pub fn form_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

fn header<'h>(handshake: &'h Handshake, name: &str) -> Option<&'h str> {
    handshake.headers.get(name)?.to_str().ok()
}

fn refusal(message: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        message: message.into(),
        retry_after: None,
    }
}
