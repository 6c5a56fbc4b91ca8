//! Reads the two protobuf messages of the hot path without copying their strings.
//!
//! prost would make a `String` of each field of a header, seven for every message. What is read here agrees
//! with prost on every input; a property test holds the two together.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::DecodeError;

/// `im.base.IMHeader`, borrowed. `timestamp` is read and dropped: the gateway's clock counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) version: &'a str,
    pub(super) seq: u32,
    pub(super) cmd_id: u32,
    pub(super) from_uid: &'a str,
    pub(super) to_uid: &'a str,
    pub(super) token: &'a str,
    pub(super) device_id: &'a str,
    pub(super) platform: &'a str,
}

/// A fault whose words are the caller's.
struct Malformed;

impl<'a> Header<'a> {
    /// Reads a header as far as it can be read, and says what is wrong with it: a field whose text is not UTF-8 is left
    /// empty, and those behind it are read.
    pub(super) fn read(bytes: &'a [u8]) -> (Self, Option<DecodeError>) {
        let mut header = Self::default();
        let fault = match header.parse(bytes) {
            Ok(not_utf8) => not_utf8.map(|field| DecodeError::NotUtf8 { field }),
            Err(Malformed) => Some(DecodeError::BadHeader),
        };
        (header, fault)
    }

    /// Names the first field that is not UTF-8.
    fn parse(&mut self, mut rest: &'a [u8]) -> Result<Option<&'static str>, Malformed> {
        let mut not_utf8 = None;
        while !rest.is_empty() {
            let (tag, wire) = decode_key(&mut rest).map_err(|_| Malformed)?;
            let (field, name) = match tag {
                1 => (&mut self.version, "version"),
                2 => {
                    self.seq = number(wire, &mut rest)?;
                    continue;
                }
                3 => {
                    self.cmd_id = number(wire, &mut rest)?;
                    continue;
                }
                4 => (&mut self.from_uid, "from_uid"),
                5 => (&mut self.to_uid, "to_uid"),
                6 => {
                    number(wire, &mut rest)?;
                    continue;
                }
                7 => (&mut self.token, "token"),
                8 => (&mut self.device_id, "device_id"),
                9 => (&mut self.platform, "platform"),
                _ => {
                    skip(wire, tag, &mut rest)?;
                    continue;
                }
            };
            match simdutf8::basic::from_utf8(bytes(wire, &mut rest)?) {
                Ok(text) => *field = text,
                Err(_) => not_utf8 = not_utf8.or(Some(name)),
            }
        }
        Ok(not_utf8)
    }
}

/// Field 1 of an `im.base.BaseRequest`; of several, the last, as protobuf has it.
pub(super) fn payload(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    parse_payload(bytes).map_err(|Malformed| DecodeError::BadBody)
}

fn parse_payload(mut rest: &[u8]) -> Result<&[u8], Malformed> {
    let mut payload: &[u8] = &[];
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).map_err(|_| Malformed)?;
        match tag {
            1 => payload = bytes(wire, &mut rest)?,
            _ => skip(wire, tag, &mut rest)?,
        }
    }
    Ok(payload)
}

fn bytes<'a>(wire: WireType, rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    if wire != WireType::LengthDelimited {
        return Err(Malformed);
    }
    let len = decode_varint(rest).map_err(|_| Malformed)?;
    let len = usize::try_from(len).map_err(|_| Malformed)?;
    let (taken, tail) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = tail;
    Ok(taken)
}

/// A `uint32`, which protobuf cuts off a longer varint.
fn number(wire: WireType, rest: &mut &[u8]) -> Result<u32, Malformed> {
    if wire != WireType::Varint {
        return Err(Malformed);
    }
    // The low 32 bits: so protobuf reads a `uint32` that was written longer.
    decode_varint(rest)
        .map(|value| value as u32)
        .map_err(|_| Malformed)
}

fn skip(wire: WireType, tag: u32, rest: &mut &[u8]) -> Result<(), Malformed> {
    skip_field(wire, tag, rest, DecodeContext::default()).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto::im::base::{BaseRequest, ImHeader};

    fn borrowed(header: &ImHeader) -> Header<'_> {
        Header {
            version: &header.version,
            seq: header.seq,
            cmd_id: header.cmd_id,
            from_uid: &header.from_uid,
            to_uid: &header.to_uid,
            token: &header.token,
            device_id: &header.device_id,
            platform: &header.platform,
        }
    }

    fn agrees_with_prost(bytes: &[u8]) {
        match (ImHeader::decode(bytes), Header::read(bytes)) {
            (Ok(theirs), (ours, None)) => assert_eq!(ours, borrowed(&theirs)),
            (theirs, (_, fault)) => assert_eq!(fault.is_none(), theirs.is_ok(), "{bytes:x?}"),
        }
        match (BaseRequest::decode(bytes), payload(bytes)) {
            (Ok(theirs), Ok(ours)) => assert_eq!(ours, &theirs.payload[..]),
            (theirs, ours) => assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:x?}"),
        }
    }

    fn header() -> impl Strategy<Value = ImHeader> {
        (
            any::<[String; 4]>(),
            any::<[u32; 2]>(),
            any::<u64>(),
            any::<[String; 2]>(),
        )
            .prop_map(
                |([version, from_uid, to_uid, token], [seq, cmd_id], timestamp, [device_id, platform])| {
                    ImHeader {
                        version,
                        seq,
                        cmd_id,
                        from_uid,
                        to_uid,
                        timestamp,
                        token,
                        device_id,
                        platform,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_as_prost_does(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            agrees_with_prost(&bytes);
        }

        #[test]
        fn small_numbers_make_likelier_fields(bytes in prop::collection::vec(0_u8..80, 0..24)) {
            agrees_with_prost(&bytes);
        }

        #[test]
        fn a_header_changed_in_one_byte_is_read_or_refused_as_prost_does(
            header in header(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = header.encode_to_vec();
            agrees_with_prost(&bytes);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                agrees_with_prost(&bytes);
                agrees_with_prost(&bytes[..at]);
            }
        }
    }
}
