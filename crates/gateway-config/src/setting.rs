//! What one key can hold: how it is read, shown and named in the reference.

use std::path::PathBuf;

use figment::value::Value;
use serde_json::Value as Json;

use crate::error::ErrorKind;
use crate::reading::{Place, Reading};

mod number;
mod text;

pub(crate) use text::text_of;

/// The unit of a duration, said by the end of its key's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    None,
    Millis,
    Seconds,
}

impl Unit {
    pub(crate) fn of(key: &str) -> Self {
        match key {
            _ if key.ends_with("_ms") => Self::Millis,
            // The platforms' `session_timeout` has no unit in its name; the requirement gives it in seconds.
            _ if key.ends_with("_seconds") || key == "session_timeout" => Self::Seconds,
            _ => Self::None,
        }
    }
}

/// One key of a section, as the reference tells it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) type_name: String,
    pub(crate) default: Json,
    pub(crate) bounds: Option<(u64, u64)>,
    pub(crate) meaning: &'static [&'static str],
    /// Keys of the section that this key holds, or of each element of its list.
    pub(crate) nested: Vec<Key>,
    /// How a nested key's path goes on from this one's: `.`, `[].` or `.*.`
    pub(crate) joint: &'static str,
}

/// Whether secrets are shown; plain only to find out whether one changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    Hidden,
    Plain,
}

/// What one key can hold.
pub(crate) trait Setting: Sized {
    /// Type for the reference.
    fn type_name(unit: Unit) -> String;

    /// Reads it; `None` after an error has been recorded.
    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self>;

    /// Shows it as it would be written.
    fn show(&self, unit: Unit, secrets: Secrets) -> Json;

    /// Keys below this one.
    fn nested() -> Vec<Key> {
        Vec::new()
    }

    /// See [`Key::joint`].
    const JOINT: &'static str = ".";
}

impl Setting for bool {
    fn type_name(_: Unit) -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = if reading.is_text_layer(value) {
            value.as_str()
        } else {
            None
        };
        let lenient = text.and_then(|text| match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        });
        let read = value.to_bool().or(lenient);
        if read.is_none() {
            reading.wrong_type(place, value, "true or false");
        }
        read
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::Bool(*self)
    }
}

/// `null`, and from the environment the empty text, mean "left out".
impl<T: Setting> Setting for Option<T> {
    fn type_name(unit: Unit) -> String {
        T::type_name(unit)
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let empty = matches!(value, Value::Empty(..)) || value.as_str() == Some("");
        if empty {
            Some(None)
        } else {
            T::read(value, place, reading).map(Some)
        }
    }

    fn show(&self, unit: Unit, secrets: Secrets) -> Json {
        self.as_ref()
            .map_or(Json::Null, |value| value.show(unit, secrets))
    }

    fn nested() -> Vec<Key> {
        T::nested()
    }

    const JOINT: &'static str = T::JOINT;
}

/// A JSON list; in the environment also texts separated by commas.
impl<T: Setting> Setting for Vec<T> {
    fn type_name(unit: Unit) -> String {
        format!("list of {}", T::type_name(unit))
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let elements: Vec<Value> = match (value, value.as_str()) {
            (Value::Array(_, elements), _) => elements.clone(),
            (Value::String(tag, _), Some(text)) if reading.is_text_layer(value) => {
                if text.trim_start().starts_with('[') {
                    let parsed = serde_json::from_str::<Vec<Value>>(text).ok();
                    let Some(elements) = parsed else {
                        let what = "starts like a JSON list but is none".to_owned();
                        reading.fault(place, value, ErrorKind::Invalid(what));
                        return None;
                    };
                    elements.into_iter().map(|element| retag(element, *tag)).collect()
                } else {
                    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                    parts.map(|part| Value::String(*tag, part.to_owned())).collect()
                }
            }
            _ => {
                reading.wrong_type(place, value, Self::type_name(place.unit));
                return None;
            }
        };
        let read: Vec<Option<T>> = elements
            .iter()
            .enumerate()
            .map(|(index, element)| T::read(element, &place.element(index), reading))
            .collect();
        read.into_iter().collect()
    }

    fn show(&self, unit: Unit, secrets: Secrets) -> Json {
        Json::Array(self.iter().map(|element| element.show(unit, secrets)).collect())
    }

    fn nested() -> Vec<Key> {
        T::nested()
    }

    const JOINT: &'static str = "[].";
}

impl Setting for PathBuf {
    fn type_name(_: Unit) -> String {
        "path".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        text_of(value, place, reading, "a path")
            .filter(|text| !text.is_empty())
            .map(Self::from)
    }

    fn show(&self, _: Unit, _: Secrets) -> Json {
        Json::String(self.display().to_string())
    }
}

/// Gives a value that was parsed out of a text that text's origin.
fn retag(value: Value, tag: figment::value::Tag) -> Value {
    match value {
        Value::String(_, v) => Value::String(tag, v),
        Value::Char(_, v) => Value::Char(tag, v),
        Value::Bool(_, v) => Value::Bool(tag, v),
        Value::Num(_, v) => Value::Num(tag, v),
        Value::Empty(_, v) => Value::Empty(tag, v),
        Value::Dict(_, v) => Value::Dict(
            tag,
            v.into_iter().map(|(name, v)| (name, retag(v, tag))).collect(),
        ),
        Value::Array(_, v) => Value::Array(tag, v.into_iter().map(|v| retag(v, tag)).collect()),
    }
}
