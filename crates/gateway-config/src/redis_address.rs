//! Where Redis is: hosts, nodes, and URLs. What is parsed here is what the start uses, so that a configuration that was
//! accepted has no address that cannot be.

use std::fmt;

use figment::value::Value;
use serde_json::Value as Json;
use url::Url;

use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::secret::Secret;
use crate::sections::Redis;
use crate::setting::{Secrets, Setting, Unit, text_of};

/// The highest number of a database.
const LAST_DB: u32 = 65_535;

/// A host without brackets; `None` for what is none, such as a URL.
#[must_use]
pub fn redis_host(text: &str) -> Option<&str> {
    let bracketed = text.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(text);
    // An address's zone follows a `%`.
    let address = host.split('%').next().unwrap_or(host);
    if address.contains(':') || bracketed.is_some() {
        return address.parse::<std::net::Ipv6Addr>().is_ok().then_some(host);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.len() <= 253 && host.chars().all(allowed)).then_some(host)
}

/// The host, without brackets, and the port of `host:port` or `[::1]:port`.
#[must_use]
pub fn redis_node(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    Some((redis_host(host)?, port))
}

/// `redis://user:password@host:6379/0`, or `rediss://` for TLS. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct RedisUrl {
    tls: bool,
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<Secret>,
    db: Option<u32>,
}

/// Why a text is no [`RedisUrl`]. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme.
    #[error("is a URL that begins with redis:// or, for TLS, rediss://")]
    Scheme,
    /// Not a URL, or no host in it.
    #[error(
        "is not redis://user:password@host:port/db; characters such as `/`, `@`, `#` and `?` in the password are \
         percent-encoded (`%2F`, `%40`, `%23`, `%3F`)"
    )]
    Form,
    /// A path that is no number.
    #[error("ends with the number of a database, as in redis://host:6379/0")]
    Db,
    /// A query or fragment.
    #[error("has no options after `?` or `#`; other settings have keys of their own")]
    Query,
}

impl RedisUrl {
    fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let scheme = text.split("://").next().unwrap_or_default();
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" if scheme.len() < text.len() => false,
            "rediss" if scheme.len() < text.len() => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let url = Url::parse(text).map_err(|_| RedisUrlError::Form)?;
        let host = url.host_str().and_then(redis_host).ok_or(RedisUrlError::Form)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RedisUrlError::Query);
        }
        let db = match url.path().trim_start_matches('/') {
            "" => None,
            db => Some(
                db.parse()
                    .ok()
                    .filter(|db| *db <= LAST_DB)
                    .ok_or(RedisUrlError::Db)?,
            ),
        };
        let decoded = |text: &str| percent_decoded(text).ok_or(RedisUrlError::Form);
        let username = Some(url.username()).filter(|user| !user.is_empty());
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: match url.port() {
                Some(0) => return Err(RedisUrlError::Form),
                port => port.unwrap_or(6379),
            },
            username: username.map(decoded).transpose()?,
            password: url.password().map(decoded).transpose()?.map(Secret::from),
            db,
        })
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Without the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host = &self.host;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{}", self.port)?;
        } else {
            write!(f, "{scheme}://{host}:{}", self.port)?;
        }
        self.db.map_or(Ok(()), |db| write!(f, "/{db}"))
    }
}

impl Setting for RedisUrl {
    fn type_name(_: Unit) -> String {
        "secret URL: redis:// or rediss://".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = text_of(
            value,
            place,
            reading,
            "a URL such as redis://user:password@host:6379/0",
        )?;
        match Self::parse(text.trim()) {
            Ok(url) => Some(url),
            Err(error) => {
                reading.fault(place, value, ErrorKind::Invalid(error.to_string()));
                None
            }
        }
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.to_string())
    }
}

/// Takes the URL apart: its parts become those of the section, and a part that is given under its own key too is an error.
pub(crate) fn take_apart(redis: &mut Redis, reading: &mut Reading) {
    let Some(url) = redis.url.take() else { return };
    let mut taken = vec!["host", "port", "sentinel_nodes", "cluster_nodes"];
    taken.extend(url.username.as_ref().map(|_| "username"));
    taken.extend(url.password.as_ref().map(|_| "password"));
    taken.extend(url.db.map(|_| "db"));
    for key in taken {
        if reading.is_written(&format!("redis.{key}")) {
            let other = reading.origin_at(&format!("redis.{key}"));
            let what =
                format!("says where Redis is, and `redis.{key}` is given too ({other}): give one of them");
            reading.fault_at("redis.url", ErrorKind::Invalid(what));
        }
    }
    if reading.is_written("redis.tls") && redis.tls != url.tls {
        let what = "contradicts `redis.tls`: rediss:// is TLS, redis:// is not".to_owned();
        reading.fault_at("redis.url", ErrorKind::Invalid(what));
    }
    redis.tls = url.tls;
    (redis.host, redis.port) = (url.host, url.port);
    redis.username = url.username.or(redis.username.take());
    redis.password = url.password.or(redis.password.take());
    redis.db = url.db.unwrap_or(redis.db);
}

/// Checks the addresses that are given apart.
pub(crate) fn check(redis: &Redis, reading: &mut Reading) {
    let host = redis.host.trim();
    let why = if redis_host(host).is_some() {
        None
    } else if host.is_empty() {
        Some("must not be empty")
    } else if host.contains("://") || host.contains('@') {
        Some("is a URL: give it as `redis.url` (environment: REDIS_URL), or the host alone here")
    } else if redis_node(host).is_some() {
        Some("holds a port: give the host alone here, and the port as `redis.port` (environment: REDIS_PORT)")
    } else {
        Some("is not a host: expected a name or an IP address")
    };
    if let Some(why) = why {
        reading.fault_at("redis.host", ErrorKind::Invalid(why.to_owned()));
    }
    for (key, nodes) in [
        ("sentinel_nodes", &redis.sentinel_nodes),
        ("cluster_nodes", &redis.cluster_nodes),
    ] {
        for (index, node) in nodes.iter().enumerate() {
            if redis_node(node.trim()).is_none() {
                let what = "is not host:port".to_owned();
                reading.fault_at(&format!("redis.{key}[{index}]"), ErrorKind::Invalid(what));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_nodes_are_read() {
        for (text, host) in [
            ("localhost", "localhost"),
            ("redis_1.local.", "redis_1.local."),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
        ] {
            assert_eq!(redis_host(text), Some(host));
        }
        for bad in ["", "redis:6379", "redis://a", "a b", "a@b", "[a]", "user:pw@h"] {
            assert_eq!(redis_host(bad), None, "{bad}");
        }
        assert_eq!(redis_node("redis-1.local:6379"), Some(("redis-1.local", 6379)));
        assert_eq!(redis_node("[::1]:7000"), Some(("::1", 7000)));
        for bad in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:70000",
            "redis://u:p@host:1",
            "a b:1",
            "::1:1",
        ] {
            assert_eq!(redis_node(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls_are_read() {
        let url = RedisUrl::parse("rediss://us%65r:p%40ss%2F%23@[::1]:7000/3").unwrap();
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.db),
            (true, "::1", 7000, Some(3))
        );
        assert_eq!(url.username.as_deref(), Some("user"));
        assert_eq!(url.password.as_ref().unwrap().expose(), "p@ss/#");
        assert_eq!(url.to_string(), "rediss://[::1]:7000/3");
        assert!(!format!("{url:?}").contains("p@ss"));
        let url = RedisUrl::parse("redis://:secret@redis_1").unwrap();
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.db),
            (false, "redis_1", 6379, None)
        );
        assert_eq!((url.username, url.password.unwrap().expose()), (None, "secret"));
        assert!(RedisUrl::parse("REDIS://h/").unwrap().password.is_none());
    }

    #[test]
    fn other_urls_are_refused() {
        for (text, error) in [
            ("", RedisUrlError::Scheme),
            ("redis", RedisUrlError::Scheme),
            ("localhost:6379", RedisUrlError::Scheme),
            ("http://a", RedisUrlError::Scheme),
            ("unix:///tmp/redis.sock", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Form),
            ("redis://:p#x@host", RedisUrlError::Form),
            ("redis://host:0", RedisUrlError::Form),
            ("redis://host:99999", RedisUrlError::Form),
            ("redis://u:%zz@host", RedisUrlError::Form),
            ("redis://host/a", RedisUrlError::Db),
            ("redis://host/70000", RedisUrlError::Db),
            ("redis://host/0?protocol=3", RedisUrlError::Query),
        ] {
            assert_eq!(RedisUrl::parse(text).err(), Some(error), "{text}");
        }
    }
}
