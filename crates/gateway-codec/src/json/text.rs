//! A JSON string that is borrowed from the message unless it has escapes.
//!
//! serde's own `Cow<str>` inside an `Option` is always copied.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A string of a message.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

/// The text of a valid JSON string, quotes included; `None` where an escape in it is no character.
///
/// Clients send `data` as a string, so nearly every message comes through here, and nearly every escape is a quote.
/// Those are undone in one pass into room for all of it; serde_json's scratch begins empty and grows five times on its
/// way to 60 bytes, and is copied then.
pub(crate) fn of_valid(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let Some(first) = memchr(b'\\', inner.as_bytes()) else {
        return Some(Cow::Borrowed(inner));
    };
    match without_short_escapes(inner, first) {
        Some(text) => Some(Cow::Owned(text)),
        None => serde_json::from_str(quoted).ok().map(|Text(text)| text),
    }
}

/// Undoes escapes of one character, the first of them at `first`; `None` where there is another kind.
fn without_short_escapes(inner: &str, first: usize) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    let mut next = Some(first);
    while let Some(at) = next {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        text.push_str(before);
        text.push(match after.as_bytes().first()? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            same @ (b'"' | b'\\' | b'/') => char::from(*same),
            _ => return None,
        });
        rest = &after[1..];
        next = memchr(b'\\', rest.as_bytes());
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in "(.|[\"\\\\\n\t\u{8}\u{c}\r\u{1}])*") {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(of_valid(&quoted).unwrap(), text);
        }
    }

    #[test]
    fn every_escape_is_known() {
        let quoted = r#""\"\\\/\b\f\n\r\t \u00e9\ud83d\ude00 é""#;
        let expected: String = serde_json::from_str(quoted).unwrap();
        assert_eq!(of_valid(quoted).unwrap(), expected);
        let short = r#""{\"a\":\"\\\/\b\f\n\r\t\"}""#;
        let expected: String = serde_json::from_str(short).unwrap();
        assert_eq!(of_valid(short).unwrap(), expected);
        assert!(matches!(of_valid(r#""plain é""#), Some(Cow::Borrowed("plain é"))));
        assert!(of_valid(r#""half of a pair: \ud83d""#).is_none());
    }
}
