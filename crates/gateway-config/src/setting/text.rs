//! Texts: plain, secret, and those that are parsed into something.

use std::net::{IpAddr, SocketAddr};

use figment::value::Value;
use serde_json::Value as Json;

use super::{Secrets, Setting, Unit};
use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::secret::{HIDDEN, Secret};

/// A text as it stands. From the environment everything is text, digits and `true` too.
pub(crate) fn text_of(value: &Value, place: &Place, reading: &mut Reading, expected: &str) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, text) => Some(text.to_string()),
        _ => {
            reading.wrong_type(place, value, expected);
            None
        }
    }
}

/// A text that is parsed; where that fails, `what` says what was expected and the text is not repeated.
fn from_text<T>(
    value: &Value,
    place: &Place,
    reading: &mut Reading,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = text_of(value, place, reading, what)?;
    let parsed = parse(text.trim());
    if parsed.is_none() {
        let kind = ErrorKind::WrongType {
            expected: what.to_owned(),
            found: "other text".to_owned(),
        };
        reading.fault(place, value, kind);
    }
    parsed
}

impl Setting for String {
    fn type_name(_: Unit) -> String {
        "text".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        text_of(value, place, reading, "text")
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.clone())
    }
}

impl Setting for Secret {
    fn type_name(_: Unit) -> String {
        "secret text".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        text_of(value, place, reading, "text").map(Self::new)
    }

    fn show(&self, _: Unit, secrets: Secrets) -> Json {
        Json::from(if secrets == Secrets::Plain {
            self.expose()
        } else {
            HIDDEN
        })
    }
}

impl Setting for IpAddr {
    fn type_name(_: Unit) -> String {
        "IP address".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        from_text(
            value,
            place,
            reading,
            "an IP address such as 0.0.0.0 or ::1",
            |text| match text {
                "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
                _ => text.parse().ok(),
            },
        )
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}

impl Setting for SocketAddr {
    fn type_name(_: Unit) -> String {
        "IP address with port".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        from_text(
            value,
            place,
            reading,
            "an IP address with port such as 127.0.0.1:9100",
            |text| text.parse().ok(),
        )
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}

impl Setting for Endpoint {
    fn type_name(_: Unit) -> String {
        "http://host:port".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = text_of(value, place, reading, "http://host:port")?;
        match text.trim().parse() {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let error: crate::EndpointError = error;
                reading.fault(place, value, ErrorKind::Invalid(error.to_string()));
                None
            }
        }
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}
