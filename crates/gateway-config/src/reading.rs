//! One reading of one document: walks the merged values by the declared keys and gathers every error.
//!
//! figment merges the layers and remembers whose each value is; it would stop at the first error and may print
//! values, so taking the values out is done here.

use figment::value::{Dict, Value};
use figment::{Figment, Source};

use crate::error::{ConfigError, ErrorKind, Origin};
use crate::nearest::nearest_path;
use crate::setting::{Key, Setting, Unit};

/// A key that was written under another accepted name.
#[derive(Debug, Clone)]
pub(crate) struct Renamed {
    pub(crate) origin: Origin,
    pub(crate) canonical: String,
    pub(crate) written: String,
}

/// Where in the document a value is, and what its key allows.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) unit: Unit,
    pub(crate) bounds: Option<(u64, u64)>,
}

impl Place {
    pub(crate) fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            unit: Unit::None,
            bounds: None,
        }
    }

    /// The place of a key, an entry or a list's element under this one.
    pub(crate) fn under(&self, name: &str) -> Self {
        Self::at(join(&self.path, name))
    }

    pub(crate) fn element(&self, index: usize) -> Self {
        Self {
            path: format!("{}[{index}]", self.path),
            ..self.clone()
        }
    }
}

pub(crate) fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// The state of one reading.
pub(crate) struct Reading {
    figment: Figment,
    renamed: Vec<Renamed>,
    known: Vec<String>,
    /// Origin for what is written nowhere.
    fallback: Origin,
    pub(crate) errors: Vec<ConfigError>,
}

impl Reading {
    /// A reading of merged layers; `known` are all paths of the document, for unknown keys.
    pub(crate) fn new(figment: Figment, renamed: Vec<Renamed>, known: Vec<String>, fallback: Origin) -> Self {
        Self {
            figment,
            renamed,
            known,
            fallback,
            errors: Vec::new(),
        }
    }

    /// The merged document.
    pub(crate) fn root(&self) -> Value {
        self.figment
            .find_value("")
            .unwrap_or_else(|_| Value::from(Dict::new()))
    }

    /// Whose word a value is.
    pub(crate) fn origin(&self, value: &Value) -> Origin {
        let Some(metadata) = self.figment.get_metadata(value.tag()) else {
            return self.fallback.clone();
        };
        match metadata.source.as_ref() {
            Some(Source::File(path)) => Origin::File(path.clone()),
            Some(Source::Custom(_)) => Origin::Flag(metadata.name.to_string()),
            _ => Origin::Environment(metadata.name.to_string()),
        }
    }

    /// True for what comes from the environment or a flag, where everything is text.
    pub(crate) fn is_text_layer(&self, value: &Value) -> bool {
        matches!(self.origin(value), Origin::Environment(_) | Origin::Flag(_))
    }

    /// Whether anybody wrote this key.
    pub(crate) fn is_written(&self, path: &str) -> bool {
        self.figment.contains(path)
    }

    /// Records an error about a value.
    pub(crate) fn fault(&mut self, place: &Place, value: &Value, kind: ErrorKind) {
        let origin = self.origin(value);
        self.record(origin, &place.path, kind);
    }

    /// Records an error about a key whose value is not at hand, or that is written nowhere.
    pub(crate) fn fault_at(&mut self, path: &str, kind: ErrorKind) {
        let origin = self.origin_at(path);
        self.record(origin, path, kind);
    }

    /// Whose word a key is, or the section around it where it is left out.
    pub(crate) fn origin_at(&self, path: &str) -> Origin {
        let mut written = path;
        loop {
            if let Ok(value) = self.figment.find_value(written) {
                return self.origin(&value);
            }
            match written.rfind(['.', '[']) {
                Some(end) => written = &written[..end],
                None => return self.fallback.clone(),
            }
        }
    }

    fn record(&mut self, origin: Origin, path: &str, kind: ErrorKind) {
        let written = self.renamed.iter().find(|renamed| {
            renamed.origin == origin
                && path
                    .strip_prefix(&renamed.canonical)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let path = match written {
            Some(renamed) => format!("{}{}", renamed.written, &path[renamed.canonical.len()..]),
            None => path.to_owned(),
        };
        self.errors.push(ConfigError { origin, path, kind });
    }

    /// Opens a section: its entries, after a word about each unknown one; `None` if it is no section.
    pub(crate) fn open<'v>(&mut self, value: &'v Value, place: &Place, keys: &[Key]) -> Option<&'v Dict> {
        let dict = self.entries(value, place)?;
        for (name, value) in dict {
            if !keys.iter().any(|key| key.name == name) {
                let section = generic(&place.path);
                let nearest = nearest_path(&section, name, &self.known).unwrap_or_default();
                let nearest = specific(nearest, &section, &place.path);
                self.fault(&place.under(name), value, ErrorKind::UnknownKey { nearest });
            }
        }
        Some(dict)
    }

    /// The entries of a map whose keys are free; `None` if it is none.
    pub(crate) fn entries<'v>(&mut self, value: &'v Value, place: &Place) -> Option<&'v Dict> {
        if let Value::Dict(_, dict) = value {
            return Some(dict);
        }
        self.wrong_type(place, value, "a section (an object)");
        None
    }

    /// One key of an open section, or its default where it is left out or wrong.
    pub(crate) fn field<T: Setting>(
        &mut self,
        dict: &Dict,
        section: &Place,
        name: &str,
        bounds: Option<(u64, u64)>,
        default: impl FnOnce() -> T,
    ) -> T {
        let Some(value) = dict.get(name) else {
            return default();
        };
        let place = Place {
            path: join(&section.path, name),
            unit: Unit::of(name),
            bounds,
        };
        T::read(value, &place, self).unwrap_or_else(default)
    }

    /// Records that a value has another type, without showing the value.
    pub(crate) fn wrong_type(&mut self, place: &Place, value: &Value, expected: impl Into<String>) {
        let found = kind_of(value).to_owned();
        self.fault(
            place,
            value,
            ErrorKind::WrongType {
                expected: expected.into(),
                found,
            },
        );
    }
}

/// What a value is, in words.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(_, number) if number.to_f64().is_some() => "a number with a fraction",
        Value::Num(..) => "a number",
        Value::Empty(..) => "null",
        Value::Dict(..) => "an object",
        Value::Array(..) => "a list",
    }
}

/// The path of a section with the names of free entries replaced as the known paths have them.
fn generic(path: &str) -> String {
    let path: String = match path.split_once('[') {
        Some((list, rest)) => format!("{list}[]{}", rest.split_once(']').map_or("", |(_, rest)| rest)),
        None => path.to_owned(),
    };
    for map in ["services", "platforms", "routes"] {
        if let Some(rest) = path.strip_prefix(map).and_then(|rest| rest.strip_prefix('.'))
            && !rest.is_empty()
        {
            return match rest.split_once('.') {
                Some((_, rest)) => format!("{map}.*.{rest}"),
                None => format!("{map}.*"),
            };
        }
    }
    path
}

/// A known path, with its free names replaced by those of the place where the unknown key is.
fn specific(known: &str, generic: &str, path: &str) -> String {
    match known.strip_prefix(generic) {
        Some(rest) => format!("{path}{rest}"),
        None => known.to_owned(),
    }
}
