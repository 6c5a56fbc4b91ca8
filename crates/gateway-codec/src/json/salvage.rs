//! What can be read of a request that cannot be read: command, number and the form of `data`, which its reply repeats.
//!
//! It reads as far as the text is JSON and passes over fields of any type, so a client finds the request that was refused
//! although another field of it is wrong, or its end is missing. Only refused messages come here.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::Whole;
use super::{Field, command};
use crate::request::ReplyTo;

/// What a reply to `text` repeats; 0 for what could not be read. Of a field that stands twice the first one counts.
pub(super) fn reply_to(text: &str) -> ReplyTo {
    let mut found = Found::default();
    // Whatever it ends with, what was found before stays.
    let _ = (&mut found).deserialize(&mut serde_json::Deserializer::from_str(text));
    ReplyTo::json(
        found.cmd_id.unwrap_or_default(),
        found.seq.unwrap_or_default(),
        !found.data_as_json,
    )
}

#[derive(Default)]
struct Found {
    cmd_id: Option<u32>,
    seq: Option<u64>,
    /// `data` is there and is not a string.
    data_as_json: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Found {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Found {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(field) = map.next_key::<Field>()? {
            let value = map.next_value::<&RawValue>()?.get();
            let number = || serde_json::from_str::<Option<Whole>>(value).ok().flatten();
            match field {
                Field::CmdId if self.cmd_id.is_none() => {
                    self.cmd_id = command::<M::Error>(number()).ok().flatten();
                }
                Field::Seq if self.seq.is_none() => self.seq = number().map(|Whole(seq)| seq),
                Field::Data => self.data_as_json = !value.starts_with('"') && value != "null",
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_and_number_are_found_wherever_they_stand() {
        for (text, found) in [
            (r#"{"cmd_id":3001,"seq":77,"platform":2}"#, (3001, 77, true)),
            (
                r#"{"platform":{"a":[1]},"seq":7.0,"data":{},"cmd_id":9}"#,
                (9, 7, false),
            ),
            (r#"{"cmd_id":9,"seq":7,"data":{]}"#, (9, 7, true)),
            (r#"{"cmd_id":9,"seq":7"#, (9, 7, true)),
            (r#"{"cmd_id":9,"seq":"7","seq":8}"#, (9, 8, true)),
            (r#"{"cmd_id":9,"cmd_id":10}"#, (9, 0, true)),
            (r#"{"cmd_id":"9","seq":7}"#, (0, 7, true)),
            (r#"{"cmd_id":4294967296,"seq":null}"#, (0, 0, true)),
            ("[]", (0, 0, true)),
            ("", (0, 0, true)),
        ] {
            let (cmd_id, seq, as_string) = found;
            assert_eq!(reply_to(text), ReplyTo::json(cmd_id, seq, as_string), "{text}");
        }
    }
}
