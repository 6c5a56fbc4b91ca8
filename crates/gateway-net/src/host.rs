//! The `Host` header of a request (RFC 9112, 3.2).
//!
//! hyper leaves it to its user. A request that names two hosts, or none, may have been read differently by a proxy in
//! front of the gateway, so it is rejected instead of guessed at.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Version};

/// What a client is told whose `Host` is not [valid](is_valid).
pub(crate) const RULE: &str = "exactly one Host header with a valid value is required";

/// Whether a request of `version` names its host as RFC 9112 demands: HTTP/1.1 exactly once, older versions at most
/// once, and as `host` or `host:port`. An empty value is valid: a client whose target has no authority sends one.
pub(crate) fn is_valid(version: Version, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(HOST).iter();
    let Some(host) = values.next() else {
        return version < Version::HTTP_11;
    };
    if values.next().is_some() {
        return false;
    }
    let bytes = host.as_bytes();
    bytes.is_empty() || (!bytes.contains(&b'@') && Authority::try_from(bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(hosts: &[&'static str]) -> HeaderMap {
        hosts
            .iter()
            .map(|&host| (HOST, HeaderValue::from_static(host)))
            .collect()
    }

    #[test]
    fn a_request_names_one_host() {
        for host in [
            "",
            "a",
            "chat.example:8080",
            "[::1]:8080",
            "127.0.0.1",
            "user_service:80",
            "a.b.",
        ] {
            assert!(is_valid(Version::HTTP_11, &with(&[host])), "{host}");
        }
        for host in ["a b", "u@a", "a/b", "[::1", "a:b:c"] {
            assert!(!is_valid(Version::HTTP_11, &with(&[host])), "{host}");
        }
        assert!(!is_valid(Version::HTTP_11, &with(&[])));
        assert!(is_valid(Version::HTTP_10, &with(&[])));
        assert!(!is_valid(Version::HTTP_10, &with(&["a", "a"])));
    }
}
