//! What the environment says: `GATEWAY__SERVER__HTTP_PORT`, and the names that the compose file sets.
//!
//! Everything here is text: a secret of digits stays one, and a number is read from text where a number is wanted.

use figment::value::Value;

use super::layer::Layer;
use super::{Warning, unknown};
use crate::error::{ConfigError, Origin};

const PREFIX: &str = "GATEWAY__";

/// The layers that the environment makes, in the order in which they are laid over the file.
#[derive(Default)]
pub(crate) struct Variables {
    pub(crate) layers: Vec<Layer>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

impl Variables {
    /// Takes what is ours out of the environment. The general names come first, so that the precise ones win.
    pub(crate) fn new(env: &[(String, String)], file: Option<&Layer>) -> Self {
        let mut variables = Self::default();
        variables.redis(env, file);
        for (name, text) in env {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let path = rest.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Environment(name.clone());
            match Layer::single(origin.clone(), &path, text) {
                Some(layer) => variables.layers.push(layer),
                None => variables.errors.push(unknown(origin, &path)),
            }
        }
        variables
    }

    /// `REDIS_PORT` and `REDIS_PASSWORD` alone do not ask for Redis: they count where something else does.
    fn redis(&mut self, env: &[(String, String)], file: Option<&Layer>) {
        let asked = env.iter().any(|(name, text)| {
            !text.is_empty()
                && (name == "REDIS_HOST" || name == "REDIS_URL" || name.starts_with("GATEWAY__REDIS__"))
        });
        let section = file.and_then(|file| file.values.get("redis"));
        if !asked && !section.is_some_and(|redis| matches!(redis, Value::Dict(..))) {
            return;
        }
        for (name, path) in [
            ("REDIS_URL", "redis.url"),
            ("REDIS_HOST", "redis.host"),
            ("REDIS_PORT", "redis.port"),
            ("REDIS_PASSWORD", "redis.password"),
        ] {
            let Some((_, text)) = env
                .iter()
                .rev()
                .find(|(known, text)| known == name && !text.is_empty())
            else {
                continue;
            };
            let origin = Origin::Environment(name.to_owned());
            // Kubernetes sets REDIS_PORT to an address for every service called `redis`.
            if name == "REDIS_PORT" && text.starts_with("tcp://") {
                let message = "is an address, not a port; ignored".to_owned();
                self.warnings.push(Warning {
                    origin,
                    path: path.to_owned(),
                    message,
                });
                continue;
            }
            self.layers.extend(Layer::single(origin, path, text));
        }
    }
}
