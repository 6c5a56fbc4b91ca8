//! Where a back end listens: `http://host:port`.
//!
//! gRPC here is HTTP/2 without TLS; an `https` endpoint, a path or a user name in it is refused rather than ignored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An address of a back end; shows itself as `http://host:port`. The host may be a name, an IPv4 address, or an IPv6
/// address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: Arc<str>,
    port: u16,
}

/// Why a text is not an [`Endpoint`]; the text itself is not repeated, it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme than `http`.
    #[error("an endpoint is http://host:port; other schemes are not supported")]
    Scheme,
    /// A user name, path or query.
    #[error("an endpoint is http://host:port, without user name, path or query")]
    Extra,
    /// No host, or characters that no host has.
    #[error("an endpoint is http://host:port; this host is not one")]
    Host,
    /// No port, or not 1 to 65535.
    #[error("an endpoint is http://host:port, with a port from 1 to 65535")]
    Port,
}

impl Endpoint {
    /// An endpoint of a host (a name, or an address; IPv6 with or without brackets) and a port of 1 to 65535.
    ///
    /// # Errors
    /// [`EndpointError::Host`] or [`EndpointError::Port`].
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        if port == 0 {
            return Err(EndpointError::Port);
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if bare.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Self {
                host: format!("[{bare}]").into(),
                port,
            });
        }
        let plausible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plausible) {
            return Err(EndpointError::Host);
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }

    /// The host; an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `http://host:port` or `host:port`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(EndpointError::Scheme),
            None => text,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(EndpointError::Extra);
        }
        let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::Port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(EndpointError::Host);
        }
        Self::new(host, port.parse().map_err(|_| EndpointError::Port)?)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_with_and_without_scheme() {
        for (text, shown) in [
            ("http://backend1:8080", "http://backend1:8080"),
            ("HTTP://127.0.0.1:9001/", "http://127.0.0.1:9001"),
            ("user_service:9001", "http://user_service:9001"),
            ("http://[::1]:9001", "http://[::1]:9001"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        assert_eq!(Endpoint::new("::1", 1).unwrap().to_string(), "http://[::1]:1");
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused() {
        for (text, error) in [
            ("https://a:1", EndpointError::Scheme),
            ("http://a:1/x", EndpointError::Extra),
            ("http://me:word@a:1", EndpointError::Extra),
            ("http://a", EndpointError::Port),
            ("http://a:0", EndpointError::Port),
            ("http://a:65536", EndpointError::Port),
            ("http://:1", EndpointError::Host),
            ("::1:1", EndpointError::Host),
            ("a b:1", EndpointError::Host),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }
}
