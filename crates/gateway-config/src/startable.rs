//! What parses but must not run outside development.

use std::fmt;

use crate::config::{Config, Storage};
use crate::secret::Secret;
use crate::sections::ApiKey;

/// Shortest secret in bytes: as long as the hash of HS256 (RFC 7518, 3.2).
const SHORTEST: usize = 32;

/// Why the gateway must not start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Path of the key.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Config {
    /// Why the gateway must not start with this configuration; empty if it may. With `dev` it always may: the store
    /// is embedded, clients' sockets are plain, further HTTP paths are ignored, and a secret that is left out is made at start.
    #[must_use]
    pub fn check_startable(&self, dev: bool) -> Vec<Problem> {
        if dev { Vec::new() } else { problems(self) }
    }
}

pub(crate) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    secrets(config, &mut problems);
    if config.storage == Storage::Redis {
        match &config.cluster.secret {
            Some(secret) => problems.extend(weak("cluster.secret".to_owned(), secret)),
            None if config.cluster.certificate_name.is_none() => {
                let message = "is missing; nodes that share a Redis prove themselves by it: set it to at least 32 random \
                               bytes (`openssl rand -hex 32`), the same on all, or give `cluster.certificate_name`, or set \
                               `storage` to `embedded`";
                problems.push(Problem::new("cluster.secret", message));
            }
            None => {}
        }
    }
    if config.storage == Storage::Redis
        && config.server.grpc_tls.is_some()
        && config.cluster.certificate_name.is_none()
    {
        let message = "is missing; with `server.grpc_tls` nodes dial each other with TLS too, and know each other by it";
        problems.push(Problem::new("cluster.certificate_name", message));
    }
    if config.storage == Storage::Embedded {
        let alone = [
            ("cluster.events.enabled", config.cluster.events.enabled),
            ("cluster.rebalance.enabled", config.cluster.rebalance.enabled),
        ];
        for (path, _) in alone.into_iter().filter(|(_, enabled)| *enabled) {
            let message = "is of nodes that share a Redis; set `storage` to `redis`, or this to false";
            problems.push(Problem::new(path, message));
        }
    }
    if !config.router.http_routes.is_empty() {
        let message =
            "further HTTP paths are not available in this version; leave them out, or start with --dev";
        problems.push(Problem::new("http_routes", message));
    }
    problems
}

fn secrets(config: &Config, problems: &mut Vec<Problem>) {
    let auth = &config.auth;
    match &auth.jwt_secret {
        Some(secret) => problems.extend(weak("auth.jwt_secret".to_owned(), secret)),
        None if auth.signing_kid.is_none() => {
            let message = "is missing; set it, or GATEWAY__AUTH__JWT_SECRET, to at least 32 random bytes (`openssl \
                           rand -hex 32`), or name a key in `auth.signing_kid`";
            problems.push(Problem::new("auth.jwt_secret", message));
        }
        None => {}
    }
    for (index, key) in auth.keys.iter().enumerate() {
        let path = format!("auth.keys[{index}].secret");
        problems.extend(key.secret.as_ref().and_then(|secret| weak(path, secret)));
    }
    for (name, keys) in [
        ("admin_keys", &auth.admin_keys),
        ("service_keys", &auth.service_keys),
    ] {
        for (index, key) in keys.iter().enumerate() {
            if let ApiKey::Plain(key) = key
                && is_placeholder(key.expose())
            {
                problems.push(Problem::new(
                    format!("auth.{name}[{index}]"),
                    "is a placeholder; set a key of your own",
                ));
            }
        }
    }
}

fn weak(path: String, secret: &Secret) -> Option<Problem> {
    if is_placeholder(secret.expose()) {
        let message = "is a placeholder; set a secret of your own of at least 32 random bytes";
        return Some(Problem::new(path, message));
    }
    let short = secret.len() < SHORTEST;
    short.then(|| {
        Problem::new(
            path,
            format!("is {} bytes long; it must have at least {SHORTEST}", secret.len()),
        )
    })
}

/// The texts that the requirement's samples and their like have.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase().replace('-', "_");
    text.contains("your_secret") || text.starts_with("changeme") || text.starts_with("change_me")
}
