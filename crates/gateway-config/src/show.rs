//! The configuration as JSON, secrets hidden; and how two differ.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::setting::{Secrets, Setting, Unit};

/// One key that differs; a secret's values are hidden, the change of it is not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Path of the key, as in [`effective_json`].
    pub path: String,
    /// What was there; `null` for nothing.
    pub before: Value,
    /// What is there; `null` for nothing.
    pub after: Value,
}

/// The configuration as it takes effect, secrets hidden: the sections of the main file, the `platforms` of the
/// platforms' file, and the routes' file under `router`, with the default routes written out.
#[must_use]
pub fn effective_json(config: &Config) -> Value {
    show(config, Secrets::Hidden)
}

/// How two configurations differ, key by key, in the order of their paths; lists are compared whole.
#[must_use]
pub fn difference(before: &Config, after: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let [plain, hidden] =
        [Secrets::Plain, Secrets::Hidden].map(|secrets| (show(before, secrets), show(after, secrets)));
    walk("", (&plain.0, &plain.1), (&hidden.0, &hidden.1), &mut changes);
    changes
}

fn walk(path: &str, plain: (&Value, &Value), hidden: (&Value, &Value), changes: &mut Vec<Change>) {
    if plain.0 == plain.1 {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = plain else {
        changes.push(Change {
            path: path.to_owned(),
            before: hidden.0.clone(),
            after: hidden.1.clone(),
        });
        return;
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let of = |value: &Value| value.get(name).cloned().unwrap_or(Value::Null);
        let path = crate::reading::join(path, name);
        walk(
            &path,
            (&of(plain.0), &of(plain.1)),
            (&of(hidden.0), &of(hidden.1)),
            changes,
        );
    }
}

fn show(config: &Config, secrets: Secrets) -> Value {
    fn of(value: &impl Setting, secrets: Secrets) -> Value {
        value.show(Unit::None, secrets)
    }
    let services: Map<String, Value> = config
        .services
        .iter()
        .map(|(name, service)| (name.to_string(), of(service, secrets)))
        .collect();
    let platforms: Map<String, Value> = config
        .platforms
        .platforms
        .iter()
        .map(|(name, policy)| (name.clone(), of(policy, secrets)))
        .collect();
    json!({
        "server": of(&config.server, secrets),
        "limits": of(&config.limits, secrets),
        "auth": of(&config.auth, secrets),
        "storage": of(&config.storage, secrets),
        "redis": of(&config.redis, secrets),
        "services": services,
        "delivery": of(&config.delivery, secrets),
        "processing": of(&config.processing, secrets),
        "cluster": of(&config.cluster, secrets),
        "logging": of(&config.logging, secrets),
        "telemetry": of(&config.telemetry, secrets),
        "cors": of(&config.cors, secrets),
        "platforms": platforms,
        "router": config.router.show(),
    })
}
