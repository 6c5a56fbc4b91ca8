use super::*;
use crate::proto::im::base::BaseRequest;
use crate::request::Encoding;

/// Version 1.0, number 7, command 2001, from `alice`; a BaseRequest whose payload is `{}`.
const SAMPLE: &str = concat!(
    "1113696d2e626173652e42617365526571756573740a03312e30100718d10f2205616c6963650a027b7d424a",
    "3494",
);

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16).unwrap_or_default())
        .collect()
}

/// An envelope with a right checksum around any bytes.
fn sealed(covered: &[u8]) -> Vec<u8> {
    [covered, &crc32fast::hash(covered).to_le_bytes()].concat()
}

fn header() -> ImHeader {
    ImHeader {
        version: "1.0".into(),
        seq: 7,
        cmd_id: 2001,
        from_uid: "alice".into(),
        ..ImHeader::default()
    }
}

#[test]
fn the_bytes_of_an_envelope_are_those_of_the_contract() {
    let body = [0x0a, 2, b'{', b'}'];
    assert_eq!(encode_envelope(&header(), BASE_REQUEST, &body), bytes(SAMPLE));
    let sample = bytes(SAMPLE);
    let envelope = decode_envelope_raw(&sample).unwrap();
    assert_eq!(
        (envelope.header, envelope.type_name, envelope.body),
        (header(), BASE_REQUEST, &body[..])
    );
}

#[test]
fn a_base_request_is_read_as_its_json() {
    let sample = bytes(SAMPLE);
    let request = decode_envelope(&sample).unwrap();
    assert_eq!((request.cmd_id, request.seq), (2001, 7));
    assert_eq!(request.claims.user_id, "alice");
    assert_eq!(request.payload, Payload::Json("{}".into()));
    assert_eq!(request.reply_to, ReplyTo::protobuf(2001, 7, "1.0", "alice", ""));
    assert_eq!(request.reply_to.encoding(), Encoding::Protobuf);
}

#[test]
fn a_base_request_without_payload_carries_an_empty_object() {
    let message = encode_envelope(&header(), BASE_REQUEST, &[]);
    assert_eq!(
        decode_envelope(&message).unwrap().payload,
        Payload::Json("{}".into())
    );
}

#[test]
fn a_base_request_must_carry_json() {
    for (body, fault) in [
        (&b"\x0a\x02{]"[..], DecodeError::BadPayload),
        (b"\x0a\x01\xff", DecodeError::BadPayload),
        (b"\x0a\x05{}", DecodeError::BadBody),
        (b"\x08\x01", DecodeError::BadBody),
    ] {
        let message = encode_envelope(&header(), BASE_REQUEST, body);
        assert_eq!(
            decode_envelope(&message).err().map(|unreadable| unreadable.error),
            Some(fault),
            "{body:x?}"
        );
    }
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let message = crate::encode_base_request(&header(), &deep);
    assert_eq!(
        decode_envelope(&message).err().map(|unreadable| unreadable.error),
        Some(DecodeError::TooDeep)
    );
}

#[test]
fn any_other_type_is_carried_unread() {
    let message = encode_envelope(
        &header(),
        "im.message.SendMessageRequest",
        b"\xff\xff not protobuf",
    );
    let request = decode_envelope(&message).unwrap();
    let body = b"\xff\xff not protobuf";
    assert_eq!(
        request.payload,
        Payload::Protobuf {
            type_name: "im.message.SendMessageRequest",
            body
        }
    );
}

#[test]
fn each_fault_of_the_framing_is_told_apart() {
    let version = b"\x0a\x01v"; // a header of 3 bytes
    for (covered, fault) in [
        (vec![], DecodeError::PastEnd),
        (vec![0x80], DecodeError::PastEnd),
        (vec![3], DecodeError::PastEnd),
        (vec![0, 1, b't'], DecodeError::EmptyHeader),
        ([&[3, 0][..], version].concat(), DecodeError::EmptyTypeName),
        ([&[3, 5, b't'][..], version].concat(), DecodeError::PastEnd),
        ([&[4, 1, b't'][..], version].concat(), DecodeError::PastEnd),
        (vec![0xff, 0xff, 0xff, 0xff, 0x0f, 1, b't'], DecodeError::PastEnd),
        (vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f, b't'], DecodeError::PastEnd),
        (
            vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0x0f],
            DecodeError::PastEnd,
        ),
        (
            vec![0xff, 0xff, 0xff, 0xff, 0x1f, 1, b't'],
            DecodeError::BadLength,
        ),
        (
            vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1, b't'],
            DecodeError::BadLength,
        ),
        (vec![0x80, 0x80, 0x80, 0x80, 0x80], DecodeError::BadLength),
        ([&[3, 1, 0xff][..], version].concat(), DecodeError::BadTypeName),
        ([&[3, 1, b't'][..], b"\x0a\x05v"].concat(), DecodeError::BadHeader),
        ([&[3, 1, b't'][..], version].concat(), DecodeError::ZeroCommand),
    ] {
        assert_eq!(
            decode_envelope(&sealed(&covered))
                .err()
                .map(|unreadable| unreadable.error),
            Some(fault),
            "{covered:x?}"
        );
    }
}

#[test]
fn fewer_bytes_than_a_checksum_are_refused() {
    for length in 0..4 {
        assert_eq!(
            decode_envelope(&[0; 4][..length])
                .err()
                .map(|unreadable| unreadable.error),
            Some(DecodeError::TooShort)
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let sample = bytes(SAMPLE);
    for bit in 0..sample.len() * 8 {
        let mut flipped = sample.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            decode_envelope(&flipped).err().map(|unreadable| unreadable.error),
            Some(DecodeError::BadChecksum),
            "bit {bit}"
        );
    }
}

#[test]
fn a_header_that_would_be_kept_is_bounded() {
    let long = "x".repeat(257);
    for (header, field) in [
        (
            ImHeader {
                version: "x".repeat(33),
                ..header()
            },
            "version",
        ),
        (
            ImHeader {
                from_uid: long.clone(),
                ..header()
            },
            "from_uid",
        ),
        (
            ImHeader {
                to_uid: long,
                ..header()
            },
            "to_uid",
        ),
    ] {
        let message = encode_envelope(&header, "t", b"");
        assert_eq!(
            decode_envelope(&message).err().map(|unreadable| unreadable.error),
            Some(DecodeError::TooLong { field })
        );
    }
}

#[test]
fn a_client_may_read_command_0() {
    let message = encode_envelope(
        &ImHeader {
            cmd_id: 0,
            ..header()
        },
        BASE_RESPONSE,
        b"",
    );
    assert_eq!(
        decode_envelope(&message).err().map(|unreadable| unreadable.error),
        Some(DecodeError::ZeroCommand)
    );
    assert_eq!(decode_envelope_raw(&message).unwrap().header.cmd_id, 0);
}

#[test]
fn the_reply_to_a_readable_header_carries_its_command_and_number() {
    // A device id that is not UTF-8, in front of command and number.
    let header = [
        &[0x42, 2, 0xFF, 0xFE][..],
        &[0x10, 7, 0x18, 0xB9, 0x17],
        b"\x22\x05alice",
    ]
    .concat();
    let mut bytes = vec![u8::try_from(header.len()).unwrap(), 1, b'T'];
    bytes.extend(header);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let unreadable = decode_envelope(&bytes).unwrap_err();
    assert_eq!(unreadable.error, DecodeError::NotUtf8 { field: "device_id" });
    assert_eq!(unreadable.reply_to, ReplyTo::protobuf(3001, 7, "", "alice", ""));
    assert_eq!(unreadable.to_string(), "device_id is not UTF-8");

    let header = ImHeader {
        cmd_id: 4,
        seq: 9,
        ..ImHeader::default()
    };
    let request = BaseRequest {
        payload: Bytes::from_static(b"{no"),
    };
    let unreadable =
        decode_envelope(&encode_envelope(&header, BASE_REQUEST, &request.encode_to_vec())).unwrap_err();
    assert_eq!(unreadable.error, DecodeError::BadPayload);
    assert_eq!(unreadable.reply_to, ReplyTo::protobuf(4, 9, "", "", ""));
}
