//! Reads one JSON file into a layer; a key given twice is an error, not a surprise.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use figment::value::{Dict, Empty, Tag, Value};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::layer::Layer;
use crate::error::{ErrorKind, Origin};

/// Largest file in bytes.
const LARGEST: u64 = 4 << 20;

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Layer, ErrorKind> {
    let values = parse(&text_of(path)?)?;
    Ok(Layer {
        origin: Origin::File(path.to_owned()),
        values,
    })
}

fn text_of(path: &Path) -> Result<String, ErrorKind> {
    let unreadable = |error: std::io::Error| ErrorKind::Unreadable(error.to_string());
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ErrorKind::Unreadable("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ErrorKind::Unreadable(format!("larger than {LARGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| ErrorKind::Unreadable("not UTF-8".to_owned()))
}

/// Parses a document; the top must be an object.
fn parse(text: &str) -> Result<Dict, ErrorKind> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Value::Dict(_, dict))) => Ok(dict),
        Ok(Strict(other)) => {
            let found = crate::reading::kind_of(&other).to_owned();
            Err(ErrorKind::WrongType {
                expected: "an object".to_owned(),
                found,
            })
        }
        Err(error) => {
            let what = error.to_string();
            // serde_json puts the place at the end; it is told apart here.
            let what = what
                .rsplit_once(" at line ")
                .map_or(what.as_str(), |(what, _)| what)
                .to_owned();
            Err(ErrorKind::Syntax {
                line: error.line(),
                column: error.column(),
                what,
            })
        }
    }
}

/// A value whose objects have each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Empty(Tag::Default, Empty::Unit)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut elements = Vec::new();
        while let Some(Strict(element)) = access.next_element()? {
            elements.push(element);
        }
        Ok(Strict(Value::Array(Tag::Default, elements)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut dict = Dict::new();
        while let Some(name) = access.next_key::<String>()? {
            if dict.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the key `{name}` is given twice")));
            }
            let Strict(value) = access.next_value()?;
            dict.insert(name, value);
        }
        Ok(Strict(Value::Dict(Tag::Default, dict)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_told_with_its_line() {
        let error = parse("{\"a\": {\n\"b\": 1,\n\"b\": 2}}").unwrap_err();
        assert!(
            matches!(&error, ErrorKind::Syntax { line: 3, what, .. } if what.contains("`b`")),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "{", "{} {}", "{\"a\": 1,}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
