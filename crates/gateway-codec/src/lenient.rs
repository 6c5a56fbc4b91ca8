//! JSON that clients and callers write, read into the types of whoever answers.
//!
//! Serializers differ: absent fields come as `null`, integers as `7.0`, texts with a byte order mark. All of that is read.
//! A field that stands twice is refused in either reading, since a proxy in front of the gateway may have checked the
//! other one. Errors name the field, in words that say nothing of the implementation.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Largest whole number of a `f64` behind which there are gaps: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a JSON object cannot be read. Its text is for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or something after it. `column` counts bytes of `line` from 1.
    #[error("it is not JSON, line {line}, column {column}")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Byte in that line, from 1.
        column: usize,
    },
    /// JSON, and not an object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// A field stands twice in one object.
    #[error("{0} stands twice")]
    Twice(String),
    /// A field of another type, or a number out of its range; named by its path, as `users[1].name`.
    #[error("{0} has the wrong type or is out of range")]
    Field(String),
}

impl ReadError {
    /// Where `error` has found that a text is not JSON.
    #[must_use]
    pub fn not_json(error: &serde_json::Error) -> Self {
        Self::NotJson {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Reads a JSON object. Fields that may be missing need a default in `T`; one that is missing without it is reported by the
/// path of the object around it.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_object<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Nearly everything is read by this. An array would do for serde, its items the fields in order.
    if text.trim_ascii_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let mut twice = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = (Plain { twice: &mut twice })
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| match twice {
            Some(field) => ReadError::Twice(field),
            None => ReadError::not_json(&error),
        })?;
    if !value.is_object() {
        return Err(ReadError::NotAnObject);
    }
    serde_path_to_error::deserialize(value).map_err(|error| ReadError::Field(error.path().to_string()))
}

/// Reads a value: `null` fields are left out, whole numbers with a fraction become integers, a field that stands twice is
/// an error and named in `twice`.
struct Plain<'a> {
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if value.fract() == 0.0 && value.abs() < EXACT {
            return Ok(if value < 0.0 {
                (value as i64).into()
            } else {
                (value as u64).into()
            });
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Plain {
            twice: &mut *self.twice,
        })? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Plain {
                twice: &mut *self.twice,
            })?;
            if fields.insert(name.clone(), value).is_some() {
                *self.twice = Some(name);
                return Err(A::Error::custom("twice"));
            }
        }
        fields.retain(|_, value| !value.is_null());
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Default, PartialEq, Debug)]
    #[serde(default)]
    struct Body {
        user_id: String,
        wait_ms: u64,
        users: Vec<String>,
    }

    fn body(text: &str) -> Result<Body, String> {
        read_object(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_serializers_write_is_read() {
        let full = Body {
            user_id: "bob".to_owned(),
            wait_ms: 10,
            users: vec![],
        };
        for text in [
            r#"{"user_id":"bob","wait_ms":10}"#,
            r#"{"user_id":"bob","wait_ms":10.0,"users":null,"other":null}"#,
            "\u{feff}{\"user_id\":\"bob\",\"wait_ms\":1e1}",
        ] {
            assert_eq!(body(text).as_ref(), Ok(&full), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_no_type_of_ours() {
        for (text, told) in [
            (
                r#"{"user_id":5}"#,
                "user_id has the wrong type or is out of range",
            ),
            (
                r#"{"users":["a",null]}"#,
                "users[1] has the wrong type or is out of range",
            ),
            (
                r#"{"wait_ms":-1}"#,
                "wait_ms has the wrong type or is out of range",
            ),
            (
                r#"{"user_id":"a","wait_ms":1.0,"user_id":null}"#,
                "user_id stands twice",
            ),
            ("{", "it is not JSON, line 1, column 1"),
            ("{}x", "it is not JSON, line 1, column 3"),
            ("7", "it is not a JSON object"),
            (r#"["bob",10,[]]"#, "it is not a JSON object"),
            ("", "it is not JSON, line 1, column 0"),
        ] {
            assert_eq!(body(text), Err(told.to_owned()), "{text}");
        }
    }
}
