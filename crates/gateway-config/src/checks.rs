//! What no key can tell alone: values that contradict each other.

mod tls;

use std::collections::BTreeSet;

use crate::config::Config;
use crate::error::ErrorKind;
use crate::nearest::nearest;
use crate::node::AdvertiseAddress;
use crate::reading::Reading;
use crate::redis_address;
use crate::sections::{Algorithm, SigningKey};

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

/// Checks the main document.
pub(crate) fn check(config: &Config, reading: &mut Reading) {
    ports(config, reading);
    tls::check(config, reading);
    tokens(config, reading);
    keys(config, reading);
    cluster(config, reading);
    if let Some(redis) = &config.redis {
        redis_address::check(redis, reading);
    }
    level(config, reading);
    required(config, reading);
}

fn invalid(reading: &mut Reading, path: &str, what: impl Into<String>) {
    reading.fault_at(path, ErrorKind::Invalid(what.into()));
}

fn ports(config: &Config, reading: &mut Reading) {
    let server = &config.server;
    let ports = [
        ("server.websocket_port", server.websocket_port),
        ("server.http_port", server.http_port),
        ("server.grpc_port", server.grpc_port),
    ];
    for (index, (path, port)) in ports.iter().enumerate() {
        let Some((other, _)) = ports[..index]
            .iter()
            .find(|(_, taken)| *port != 0 && taken == port)
        else {
            continue;
        };
        // The later one may be a default that the file's word collides with: the written one is told.
        let (path, other) = if reading.is_written(path) {
            (*path, *other)
        } else {
            (*other, *path)
        };
        invalid(reading, path, format!("{port} is the port of `{other}` too"));
    }
    if let Some(address) = server.metrics_address
        && address.port() != 0
        && let Some((other, _)) = ports.iter().find(|(_, port)| *port == address.port())
    {
        let shared =
            address.ip() == server.host || address.ip().is_unspecified() || server.host.is_unspecified();
        if shared {
            invalid(
                reading,
                "server.metrics_address",
                format!("its port is that of `{other}` too"),
            );
        }
    }
}

fn tokens(config: &Config, reading: &mut Reading) {
    let auth = &config.auth;
    if auth.refresh_expire < auth.token_expire {
        let path = if reading.is_written("auth.refresh_expire_seconds") {
            "auth.refresh_expire_seconds"
        } else {
            "auth.token_expire_seconds"
        };
        invalid(
            reading,
            path,
            "a refresh token must not expire before its access token",
        );
    }
    if auth.token_expiring_notice >= auth.token_expire
        && reading.is_written("auth.token_expiring_notice_seconds")
    {
        let what = "must be less than `auth.token_expire_seconds`";
        invalid(reading, "auth.token_expiring_notice_seconds", what);
    }
}

fn keys(config: &Config, reading: &mut Reading) {
    let auth = &config.auth;
    let mut seen = BTreeSet::new();
    for (index, key) in auth.keys.iter().enumerate() {
        let path = |name: &str| format!("auth.keys[{index}].{name}");
        if key.kid.is_empty() {
            reading.fault_at(&path("kid"), ErrorKind::Missing("tokens name their key by it"));
        } else if !seen.insert(key.kid.as_str()) {
            invalid(reading, &path("kid"), "is given twice");
        }
        material(key, path, reading);
    }
    let Some(kid) = &auth.signing_kid else { return };
    match auth.keys.iter().find(|key| key.kid == *kid) {
        None => {
            let known = nearest(kid, auth.keys.iter().map(|key| key.kid.as_str()));
            let hint = known.map_or("there are none".to_owned(), |kid| {
                format!("the nearest is `{kid}`")
            });
            invalid(
                reading,
                "auth.signing_kid",
                format!("is not the `kid` of a key in `auth.keys`; {hint}"),
            );
        }
        Some(key) if key.algorithm != Algorithm::HS256 && key.private_key_file.is_none() => {
            invalid(
                reading,
                "auth.signing_kid",
                "names a key without `private_key_file`, which cannot sign",
            );
        }
        Some(_) => {}
    }
}

fn material(key: &SigningKey, path: impl Fn(&str) -> String, reading: &mut Reading) {
    let files = key.private_key_file.is_some() || key.public_key_file.is_some();
    match (key.algorithm, &key.secret, files) {
        (Algorithm::HS256, None, _) => {
            reading.fault_at(&path("secret"), ErrorKind::Missing("an HS256 key is a secret"));
        }
        (Algorithm::HS256, Some(_), true) => {
            invalid(
                reading,
                &path("algorithm"),
                "HS256 takes `secret` and no key files",
            );
        }
        (Algorithm::HS256, Some(_), false) => {}
        (_, Some(_), _) => invalid(reading, &path("secret"), "belongs to HS256 alone"),
        (_, None, _) if key.public_key_file.is_none() => {
            let why = "tokens are verified with it";
            reading.fault_at(&path("public_key_file"), ErrorKind::Missing(why));
        }
        (_, None, _) => {}
    }
}

fn cluster(config: &Config, reading: &mut Reading) {
    let is_https = |address: &AdvertiseAddress| address.is_https();
    if config.cluster.advertise_address.as_ref().is_some_and(is_https) && config.server.grpc_tls.is_none() {
        let what = "is an https URL, and `server.grpc_tls` is not given: nodes would connect without TLS";
        invalid(reading, "cluster.advertise_address", what);
    }
}

fn level(config: &Config, reading: &mut Reading) {
    for part in config.logging.level.split(',') {
        let level = part
            .rsplit('=')
            .next()
            .unwrap_or(part)
            .trim()
            .to_ascii_lowercase();
        if !LEVELS.contains(&level.as_str()) {
            let nearest = nearest(&level, LEVELS.iter().copied())
                .unwrap_or_default()
                .to_owned();
            let found = level.chars().take(40).collect();
            reading.fault_at(
                "logging.level",
                ErrorKind::UnknownName {
                    what: "level",
                    found,
                    nearest,
                },
            );
        }
    }
}

fn required(config: &Config, reading: &mut Reading) {
    let texts = [
        ("auth.issuer", &config.auth.issuer),
        ("auth.audience", &config.auth.audience),
        ("telemetry.service_name", &config.telemetry.service_name),
    ];
    for (path, text) in texts {
        if text.trim().is_empty() {
            invalid(reading, path, "must not be empty");
        }
    }
}
