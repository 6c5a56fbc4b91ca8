//! Origins of web pages (RFC 6454): which ones may call, and which one a request names. The one place where they are
//! compared, for the WebSocket handshake and for CORS.
//!
//! A browser sends an origin in one form only: scheme and host in lower case, an international name in punycode, no default
//! port, no path. Whatever else the configuration may say for it is brought to this form, and what could never match is an
//! error when it is read.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use figment::value::Value;
use serde_json::Value as Json;
use url::Host;

use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::setting::{Secrets, Setting, Unit, text_of};

/// Origins that may call, as a configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every origin, `null` too.
    Any,
    /// `null`: sandboxed frames and files.
    Null,
    /// One origin.
    One(Tuple),
    /// `https://*.example.com`: every name below this one, however deep; not the name itself.
    Below(Tuple),
}

/// Scheme, host and port; the port is left out where it is the scheme's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// Why a text is no [`OriginPattern`]: it would never match what a browser sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `scheme://`.
    #[error(
        "an origin begins with its scheme, as in https://chat.example.com or https://*.example.com; or it is `*` or `null`"
    )]
    Scheme,
    /// A scheme that no page has.
    #[error("pages have the scheme http or https, also where they open {0}: connections")]
    SocketScheme(String),
    /// A user name, path, query or fragment.
    #[error("an origin is scheme://host or scheme://host:port, without user name, path or query")]
    Extra,
    /// No host, or none that could be.
    #[error("this host is not one: expected a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// A port that is none.
    #[error("a port is 1 to 65535")]
    Port,
    /// A `*` elsewhere than in place of the first label.
    #[error(
        "`*` stands for the labels before a name, as in https://*.example.com, or alone for every origin"
    )]
    Wildcard,
}

impl OriginPattern {
    /// Whether this is among the origins that `patterns` name.
    #[must_use]
    pub fn any_allows(patterns: &[Self], origin: &WebOrigin) -> bool {
        patterns.iter().any(|pattern| pattern.allows(origin))
    }

    fn allows(&self, origin: &WebOrigin) -> bool {
        match (self, origin) {
            (Self::Any, _) | (Self::Null, WebOrigin::Null) => true,
            (Self::One(one), WebOrigin::Tuple(origin)) => one == origin,
            (Self::Below(parent), WebOrigin::Tuple(origin)) => {
                let below = origin.host.strip_suffix(&parent.host);
                (&parent.scheme, parent.port) == (&origin.scheme, origin.port)
                    && below.is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            _ => false,
        }
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        match text.trim() {
            "*" => Ok(Self::Any),
            "null" => Ok(Self::Null),
            text => {
                let (scheme, rest) = split_scheme(text).ok_or(OriginError::Scheme)?;
                if matches!(scheme.as_str(), "ws" | "wss") {
                    return Err(OriginError::SocketScheme(scheme));
                }
                // What a browser's address bar shows ends with a slash.
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                let (below, rest) = match rest.strip_prefix("*.") {
                    Some(rest) => (true, rest),
                    None => (false, rest),
                };
                if rest.contains('*') {
                    return Err(OriginError::Wildcard);
                }
                let tuple = Tuple::parse(scheme, rest)?;
                if !below {
                    return Ok(Self::One(tuple));
                }
                let is_address =
                    tuple.host.starts_with('[') || tuple.host.parse::<std::net::Ipv4Addr>().is_ok();
                if is_address || tuple.host.is_empty() {
                    return Err(OriginError::Wildcard);
                }
                Ok(Self::Below(tuple))
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Null => f.write_str("null"),
            Self::One(tuple) => tuple.write("", f),
            Self::Below(tuple) => tuple.write("*.", f),
        }
    }
}

impl Tuple {
    /// Reads what follows `scheme://`.
    fn parse(scheme: String, rest: &str) -> Result<Self, OriginError> {
        if rest.contains(['/', '\\', '?', '#', '@']) {
            return Err(OriginError::Extra);
        }
        let (host, port) = split_port(rest).ok_or(OriginError::Port)?;
        let host = if default_port(&scheme).is_some() {
            canonical_host(host).ok_or(OriginError::Host)?
        } else if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            // An app names its pages as it likes: `file://`, `capacitor://localhost`.
            return Err(OriginError::Host);
        } else {
            host.to_ascii_lowercase()
        };
        let port = port.filter(|port| default_port(&scheme) != Some(*port));
        Ok(Self { scheme, host, port })
    }

    fn write(&self, before_host: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{before_host}{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The origin that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebOrigin {
    /// `null`: a page whose origin the browser does not say.
    Null,
    /// A page's, or a native app's that names itself in the same form.
    Tuple(Tuple),
    /// `http:` or `https:` and then something that no browser sends.
    Malformed,
    /// Anything else: no browser's.
    Other,
}

impl WebOrigin {
    /// Reads the value of a request's `Origin`.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(value) else {
            return Self::Other;
        };
        let text = text.trim();
        if text.eq_ignore_ascii_case("null") {
            return Self::Null;
        }
        let claims_web = || {
            let scheme = text.split(':').next().unwrap_or_default();
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        };
        let tuple = split_scheme(text)
            .and_then(|(scheme, rest)| Tuple::parse(scheme, rest.strip_suffix('/').unwrap_or(rest)).ok());
        match tuple {
            Some(tuple) => Self::Tuple(tuple),
            None if claims_web() => Self::Malformed,
            None => Self::Other,
        }
    }

    /// Whether a browser may have sent it on behalf of a page: `null`, `http` and `https`. Native apps send other schemes.
    #[must_use]
    pub fn is_of_a_page(&self) -> bool {
        match self {
            Self::Null | Self::Malformed => true,
            Self::Tuple(tuple) => default_port(&tuple.scheme).is_some(),
            Self::Other => false,
        }
    }

    /// Whether the page came from the host that the request was sent to, by its `Host` header. The scheme does not count,
    /// and neither does the difference between 80, 443 and no port: TLS may end at a proxy.
    #[must_use]
    pub fn is_at(&self, host: &str) -> bool {
        let Self::Tuple(tuple) = self else {
            return false;
        };
        let Some((name, port)) = split_port(host.trim()) else {
            return false;
        };
        let Some(name) = canonical_host(name) else {
            return false;
        };
        let unusual = |port: Option<u16>| port.filter(|port| !matches!(port, 80 | 443));
        default_port(&tuple.scheme).is_some() && name == tuple.host && unusual(port) == unusual(tuple.port)
    }
}

fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plausible);
    fits.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Host and port; `None` for a port that is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_address..].rfind(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_address + colon);
            let digits = &port[1..];
            let port = digits.parse().ok().filter(|port| *port != 0);
            (port.is_some() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some((host, port))
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A host as browsers write it: lower case, punycode, addresses in their shortest form. A trailing dot is left out.
fn canonical_host(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match Host::parse(host).ok()? {
        Host::Domain(name) if !name.contains('*') && name.split('.').all(|label| !label.is_empty()) => {
            Some(name)
        }
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(bracketed(address)),
    }
}

fn bracketed(address: Ipv6Addr) -> String {
    format!("[{address}]")
}

impl Setting for OriginPattern {
    fn type_name(_: Unit) -> String {
        "origin: scheme://host, scheme://*.host, `*` or `null`".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = text_of(
            value,
            place,
            reading,
            "an origin such as https://chat.example.com",
        )?;
        match text.parse() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let error: OriginError = error;
                reading.fault(place, value, ErrorKind::Invalid(error.to_string()));
                None
            }
        }
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}

#[cfg(test)]
mod tests;
