//! How this node is named among others, and where they reach it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use figment::value::Value;
use serde_json::Value as Json;

use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::setting::{Secrets, Setting, Unit, text_of};

/// Longest name in bytes.
const LONGEST: usize = 128;

/// A node's name: 1 to 128 visible ASCII characters, none of `{`, `}` and `:`. It is a part of keys in Redis and a gRPC
/// header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(String);

/// A text that is not a [`NodeName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node's name is 1 to {LONGEST} visible ASCII characters, none of `{{`, `}}`, `:` and white space")]
pub struct NodeNameError;

impl NodeName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        let plausible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b':');
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(plausible) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NodeNameError)
        }
    }
}

/// Where other nodes reach this node's gRPC listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertiseAddress {
    host: String,
    port: u16,
    is_https: bool,
}

/// Why a text is not an [`AdvertiseAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// Another scheme.
    #[error("is `host:port`, or an http or https URL of both")]
    Scheme,
    /// A user name, path or query.
    #[error("is `host:port`, without user name, path or query")]
    Extra,
    /// No port.
    #[error("needs the port of this node's gRPC listener, as in `gateway-0:8082`")]
    Port,
    /// No host.
    #[error("is `host:port`; this host is not one (an IPv6 address is in brackets)")]
    Host,
    /// 0.0.0.0 or `[::]`.
    #[error("is where others reach this node: `0.0.0.0` and `[::]` are not addresses to connect to")]
    Unspecified,
}

impl AdvertiseAddress {
    /// Whether it was given as an https URL.
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }
}

impl FromStr for AdvertiseAddress {
    type Err = AdvertiseError;

    fn from_str(text: &str) -> Result<Self, AdvertiseError> {
        let (is_https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(AdvertiseError::Scheme),
            None => (false, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(AdvertiseError::Extra);
        }
        let (host, port) = authority.rsplit_once(':').ok_or(AdvertiseError::Port)?;
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            // Without brackets the last group of an IPv6 address would be the port.
            return Err(AdvertiseError::Host);
        }
        let port = port.parse().map_err(|_| AdvertiseError::Port)?;
        let endpoint = Endpoint::new(host, port).map_err(|error| match error {
            crate::EndpointError::Port => AdvertiseError::Port,
            _ => AdvertiseError::Host,
        })?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified())
        {
            return Err(AdvertiseError::Unspecified);
        }
        Ok(Self {
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
            is_https,
        })
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for AdvertiseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A text that is parsed, with the parser's own word where that fails.
fn parsed<T: FromStr<Err: fmt::Display>>(
    value: &Value,
    place: &Place,
    reading: &mut Reading,
    what: &str,
) -> Option<T> {
    let text = text_of(value, place, reading, what)?;
    match text.trim().parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let error: T::Err = error;
            reading.fault(place, value, ErrorKind::Invalid(error.to_string()));
            None
        }
    }
}

impl Setting for NodeName {
    fn type_name(_: Unit) -> String {
        "name: visible ASCII characters".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        parsed(value, place, reading, "a node's name")
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.0.clone())
    }
}

impl Setting for AdvertiseAddress {
    fn type_name(_: Unit) -> String {
        "host:port".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        parsed(value, place, reading, "host:port")
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        let scheme = if self.is_https { "https://" } else { "" };
        Json::String(format!("{scheme}{self}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_and_fit_keys_and_headers() {
        for good in ["gw-0", "gateway.eu_1", "7", &"n".repeat(128)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "gw:0",
            "gw 0",
            "{gw}",
            "gw\n",
            "gw\u{7f}",
            "节点",
            &"n".repeat(129),
        ] {
            assert_eq!(bad.parse::<NodeName>(), Err(NodeNameError), "{bad}");
        }
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (text, shown) in [
            ("gateway-0.gateway:8082", "gateway-0.gateway:8082"),
            ("http://127.0.0.1:8082/", "127.0.0.1:8082"),
            ("HTTPS://gw_0:8082", "gw_0:8082"),
            ("[::1]:8082", "[::1]:8082"),
            ("gw.svc.cluster.local.:8082", "gw.svc.cluster.local.:8082"),
        ] {
            assert_eq!(text.parse::<AdvertiseAddress>().unwrap().to_string(), shown);
        }
        for (text, error) in [
            ("gw-0.gw", AdvertiseError::Port),
            ("gw-0:", AdvertiseError::Port),
            ("gw-0:0", AdvertiseError::Port),
            ("gw-0:http", AdvertiseError::Port),
            ("", AdvertiseError::Port),
            (":8082", AdvertiseError::Host),
            ("::1:8082", AdvertiseError::Host),
            ("gw 0:8082", AdvertiseError::Host),
            ("grpc://gw:8082", AdvertiseError::Scheme),
            ("http://gw:8082/x", AdvertiseError::Extra),
            ("http://a@gw:8082", AdvertiseError::Extra),
            ("0.0.0.0:8082", AdvertiseError::Unspecified),
            ("[::]:8082", AdvertiseError::Unspecified),
        ] {
            assert_eq!(text.parse::<AdvertiseAddress>(), Err(error), "{text}");
        }
    }
}
