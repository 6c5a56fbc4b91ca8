//! Reads the head of a JSON request.
//!
//! One pass, no tree: known fields are read where they stand, `data` is kept as the slice it is, everything
//! else is skipped. Fields without escapes are not copied. A field of the contract that stands twice is
//! refused, because a proxy in front of us might have checked the other one; `null` counts as absent. A message that is
//! refused is read once more for what its reply has to repeat; see [`salvage`].
//!
//! It neither reads `timestamp` (the gateway's clock counts) nor looks into `data`.

mod number;
mod salvage;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::error::DecodeError;
use crate::request::{Claims, Payload, ReplyTo, Request, Unreadable};
use number::Whole;
pub(crate) use text::Text;

/// How deep objects and arrays may stand inside one another in `data`. Back ends that parse recursively get
/// nothing that could exhaust their stack.
pub const MAX_DATA_DEPTH: usize = 128;

/// Reads a JSON request. A byte order mark before it is passed over (RFC 8259, 8.1).
///
/// # Errors
/// What is wrong with it, in words for the client, and what of it a reply repeats.
pub fn decode_json(text: &str) -> Result<Request<'_>, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    read(text).map_err(|error| Unreadable {
        error,
        reply_to: salvage::reply_to(text),
    })
}

fn read(text: &str) -> Result<Request<'_>, DecodeError> {
    let mut head = Head::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    (&mut head)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| match (error.classify(), head.fault) {
            (Category::Data, Some(fault)) => fault,
            (Category::Data, None) => DecodeError::NotAnObject,
            _ => DecodeError::NotJson {
                line: error.line(),
                column: error.column(),
            },
        })?;

    let cmd_id = head.cmd_id.ok_or(DecodeError::Missing { field: "cmd_id" })?;
    if cmd_id == 0 {
        return Err(DecodeError::ZeroCommand);
    }
    let seq = head.seq.unwrap_or_default();
    let (payload, as_string) = data(head.data)?;
    Ok(Request {
        cmd_id,
        seq,
        claims: Claims {
            user_id: head.user_id.unwrap_or_default(),
            session_id: head.session_id.unwrap_or_default(),
            device_id: head.device_id.unwrap_or_default(),
            platform: head.platform.unwrap_or_default(),
            token: head.token.unwrap_or_default(),
        },
        traceparent: head.traceparent.unwrap_or_default(),
        payload: Payload::Json(payload),
        reply_to: ReplyTo::json(cmd_id, seq, as_string),
    })
}

/// The JSON text of `data`, and whether it came as a string.
fn data(raw: Option<&RawValue>) -> Result<(Cow<'_, str>, bool), DecodeError> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok((Cow::Borrowed("{}"), true));
    };
    if raw.starts_with('"') {
        // The only fault left to a skipped string is an escape that is no character.
        let text = text::of_valid(raw).ok_or(DecodeError::WrongType {
            field: "data",
            expected: "text in Unicode",
        })?;
        if too_deep(&text) {
            return Err(DecodeError::TooDeep);
        }
        return Ok((
            if text.is_empty() {
                Cow::Borrowed("{}")
            } else {
                text
            },
            true,
        ));
    }
    if too_deep(raw) {
        return Err(DecodeError::TooDeep);
    }
    Ok((Cow::Borrowed(raw), false))
}

/// The brackets that open in at most 255 bytes. `[` and `{` differ in one bit, and from all other characters in another.
fn brackets(piece: &[u8]) -> usize {
    let count: u8 = piece.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum();
    usize::from(count)
}

/// Whether valid JSON is nested deeper than [`MAX_DATA_DEPTH`].
pub(crate) fn too_deep(json: &str) -> bool {
    if json.len() <= MAX_DATA_DEPTH {
        return false;
    }
    // Nearly every message is done after this count. In pieces of a whole number of vector registers whose count fits a
    // byte: 4 KiB are counted by 1,300 instructions, by 2,900 in pieces of 255 bytes, and by 20,000 one by one.
    let (pieces, rest) = json.as_bytes().as_chunks::<192>();
    let opening = pieces.iter().map(|piece| brackets(piece)).sum::<usize>() + brackets(rest);
    if opening <= MAX_DATA_DEPTH {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DATA_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The fields of a request, and the fault of the one at which reading stopped.
#[derive(Default)]
struct Head<'a> {
    cmd_id: Option<u32>,
    seq: Option<u64>,
    user_id: Option<Cow<'a, str>>,
    session_id: Option<Cow<'a, str>>,
    device_id: Option<Cow<'a, str>>,
    platform: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
    seen: u16,
    fault: Option<DecodeError>,
}

/// A field's name, or that it is none of the contract's.
#[derive(Clone, Copy)]
enum Field {
    CmdId,
    Seq,
    UserId,
    SessionId,
    DeviceId,
    Platform,
    Token,
    Traceparent,
    Data,
    Other,
}

impl Field {
    fn of(name: &str) -> Self {
        match name {
            "cmd_id" => Self::CmdId,
            "seq" => Self::Seq,
            "user_id" => Self::UserId,
            "session_id" => Self::SessionId,
            "device_id" => Self::DeviceId,
            "platform" => Self::Platform,
            "token" => Self::Token,
            "traceparent" => Self::Traceparent,
            "data" => Self::Data,
            _ => Self::Other,
        }
    }

    /// Name and what it has to be, for words about it.
    const fn rule(self) -> (&'static str, &'static str) {
        match self {
            Self::CmdId => ("cmd_id", "a whole number from 1 to 4294967295"),
            Self::Seq => ("seq", "a whole number from 0 to 9007199254740991"),
            Self::UserId => ("user_id", "a string"),
            Self::SessionId => ("session_id", "a string"),
            Self::DeviceId => ("device_id", "a string"),
            Self::Platform => ("platform", "a string"),
            Self::Token => ("token", "a string"),
            Self::Traceparent => ("traceparent", "a string"),
            Self::Data | Self::Other => ("data", "JSON"),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Field, E> {
                Ok(Field::of(name))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

impl<'a> Head<'a> {
    fn read<M: MapAccess<'a>>(&mut self, field: Field, map: &mut M) -> Result<(), M::Error> {
        fn text<'a, M: MapAccess<'a>>(map: &mut M) -> Result<Option<Cow<'a, str>>, M::Error> {
            Ok(map.next_value::<Option<Text<'a>>>()?.map(|text| text.0))
        }
        match field {
            Field::CmdId => self.cmd_id = command(map.next_value()?)?,
            Field::Seq => self.seq = map.next_value::<Option<Whole>>()?.map(|Whole(seq)| seq),
            Field::UserId => self.user_id = text(map)?,
            Field::SessionId => self.session_id = text(map)?,
            Field::DeviceId => self.device_id = text(map)?,
            Field::Platform => self.platform = text(map)?,
            Field::Token => self.token = text(map)?,
            Field::Traceparent => self.traceparent = text(map)?,
            Field::Data => self.data = map.next_value()?,
            Field::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn command<E: Error>(number: Option<Whole>) -> Result<Option<u32>, E> {
    let command = number.map(|Whole(number)| u32::try_from(number)).transpose();
    command.map_err(|_| E::custom("too large"))
}

impl<'de> DeserializeSeed<'de> for &mut Head<'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Head<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(field) = map.next_key::<Field>()? {
            let (name, expected) = field.rule();
            let bit = 1 << field as u16;
            if !matches!(field, Field::Other) && self.seen & bit != 0 {
                self.fault = Some(DecodeError::Duplicate { field: name });
                return Err(M::Error::custom("duplicate"));
            }
            self.seen |= bit;
            if let Err(error) = self.read(field, &mut map) {
                self.fault = Some(DecodeError::WrongType {
                    field: name,
                    expected,
                });
                return Err(error);
            }
        }
        Ok(())
    }
}
