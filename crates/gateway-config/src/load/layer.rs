//! One layer of values with one origin, for figment; and the other names that are accepted.

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use crate::error::{ConfigError, ErrorKind, Origin};
use crate::reading::{Reading, Renamed, join};
use crate::setting::Key;

/// Values that come from one place.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) origin: Origin,
    pub(crate) values: Dict,
}

impl Layer {
    /// A layer of one text at a path; `None` where a part of the path is empty.
    pub(crate) fn single(origin: Origin, path: &str, text: &str) -> Option<Self> {
        if path.split('.').any(str::is_empty) {
            return None;
        }
        let values = figment::util::nest(path, Value::from(text)).into_dict()?;
        Some(Self { origin, values })
    }

    /// Brings other accepted names to the ones that the sections know.
    fn rename(&mut self, renamed: &mut Vec<Renamed>, errors: &mut Vec<ConfigError>) {
        let mut moves: Vec<(&str, &str, String, String)> = Vec::new();
        let names = |section: &str| self.values.get(section).and_then(Value::as_dict);
        for name in names("gateway").into_iter().flat_map(Dict::keys) {
            moves.push(("gateway", "server", name.clone(), name.clone()));
        }
        if names("auth").is_some_and(|auth| auth.contains_key("secret_key")) {
            moves.push(("auth", "auth", "secret_key".to_owned(), "jwt_secret".to_owned()));
        }
        for name in names("services").into_iter().flat_map(Dict::keys) {
            if let Some(short) = name.strip_suffix("_service").filter(|short| !short.is_empty()) {
                moves.push(("services", "services", name.clone(), short.to_owned()));
            }
        }
        for (from, to, old, new) in moves {
            let Some(value) = self.take(from, &old) else {
                continue;
            };
            let target = self
                .values
                .entry(to.to_owned())
                .or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
            let (written, canonical) = (join(from, &old), join(to, &new));
            match target {
                Value::Dict(_, target) if !target.contains_key(&new) => {
                    target.insert(new, value);
                    renamed.push(Renamed {
                        origin: self.origin.clone(),
                        canonical,
                        written,
                    });
                }
                // A section that is no section is told where it is read.
                Value::Dict(..) => {
                    let kind =
                        ErrorKind::Invalid(format!("is another name of `{canonical}`, which is given too"));
                    errors.push(ConfigError {
                        origin: self.origin.clone(),
                        path: written,
                        kind,
                    });
                }
                _ => {}
            }
        }
        if self
            .values
            .get("gateway")
            .and_then(Value::as_dict)
            .is_some_and(Dict::is_empty)
        {
            self.values.remove("gateway");
        }
    }

    fn take(&mut self, section: &str, name: &str) -> Option<Value> {
        match self.values.get_mut(section) {
            Some(Value::Dict(_, dict)) => dict.remove(name),
            _ => None,
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.origin {
            Origin::Default => Metadata::named("defaults"),
            Origin::File(path) => Metadata::from("file", path.as_path()),
            Origin::Environment(name) => Metadata::named(name.clone()),
            Origin::Flag(path) => Metadata::named(path.clone()).source(Source::Custom("flag".to_owned())),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Merges layers, later ones over earlier ones.
pub(crate) fn reading(
    layers: Vec<Layer>,
    known: Vec<String>,
    fallback: Origin,
    errors: &mut Vec<ConfigError>,
) -> Reading {
    let mut renamed = Vec::new();
    let mut figment = Figment::new();
    for mut layer in layers {
        layer.rename(&mut renamed, errors);
        figment = figment.merge(layer);
    }
    Reading::new(figment, renamed, known, fallback)
}

/// The paths of all keys, `*` standing for a free name and `[]` for a place in a list.
pub(crate) fn known_paths(keys: &[Key]) -> Vec<String> {
    fn gather(keys: &[Key], before: &str, paths: &mut Vec<String>) {
        for key in keys {
            let path = format!("{before}{}", key.name);
            gather(&key.nested, &format!("{path}{}", key.joint), paths);
            paths.push(path);
        }
    }
    let mut paths = Vec::new();
    gather(keys, "", &mut paths);
    if paths.iter().any(|path| path == "auth.jwt_secret") {
        paths.extend(["auth.secret_key", "services.*.host", "services.*.port"].map(str::to_owned));
    }
    paths
}
