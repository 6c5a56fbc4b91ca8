//! Properties of both codecs on any input: what one side writes the other reads, and nothing panics.

use gateway_codec::proto::im::base::ImHeader;
use gateway_codec::{
    Body, Code, DecodeError, EncodedPush, Encoding, JsonRequest, Payload, PushBody, Reply, ReplyTo,
    SessionId, Timestamp, base_response, decode_envelope, decode_envelope_raw, decode_json,
    decode_json_reply, encode_base_request, encode_envelope, encode_json_request, encode_reply,
};
use gateway_codec::{ConversationType, PushType};
use proptest::prelude::*;

/// Any JSON, a few levels deep.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// JSON that is no string: `data` as a string always means JSON inside it.
fn data() -> impl Strategy<Value = serde_json::Value> {
    json().prop_filter("a string", |value| !value.is_string())
}

fn code() -> impl Strategy<Value = Code> {
    prop::sample::select(Code::ALL.to_vec())
}

fn header() -> impl Strategy<Value = ImHeader> {
    (
        1..=u32::MAX,
        any::<u32>(),
        any::<u64>(),
        ".{0,8}",
        any::<[String; 3]>(),
        "\\PC{0,40}",
        "\\PC{0,40}",
    )
        .prop_map(
            |(cmd_id, seq, timestamp, version, [token, device_id, platform], from_uid, to_uid)| ImHeader {
                version,
                seq,
                cmd_id,
                from_uid,
                to_uid,
                timestamp,
                token,
                device_id,
                platform,
            },
        )
}

fn reply<'a>(code: Code, message: &'a str, body: Body<'a>) -> Reply<'a> {
    Reply {
        code,
        message: message.into(),
        session_id: Some(SessionId::from_random([7; 16])),
        user_id: "alice",
        platform: "web",
        timestamp: Timestamp::from_millis(1_767_868_200_123),
        body,
    }
}

proptest! {
    #[test]
    fn a_json_request_is_read_as_it_was_written(
        cmd_id in 1..=u32::MAX, seq: u32, data in data(), data_as_json: bool, fields: [String; 6],
    ) {
        let data = data.to_string();
        let [user_id, session_id, device_id, platform, token, traceparent] = &fields;
        let text = encode_json_request(&JsonRequest {
            cmd_id, seq, data: &data, data_as_json, user_id, session_id, device_id, platform, token, traceparent,
        }).unwrap();
        let read = decode_json(&text).unwrap();
        prop_assert_eq!((read.cmd_id, read.seq), (cmd_id, seq.into()));
        prop_assert_eq!(&read.claims.user_id, user_id);
        prop_assert_eq!(&read.claims.session_id, session_id);
        prop_assert_eq!(&read.claims.device_id, device_id);
        prop_assert_eq!(&read.claims.platform, platform);
        prop_assert_eq!(&read.claims.token, token);
        prop_assert_eq!(&read.traceparent, traceparent);
        // `null` as JSON counts as absent.
        let absent = data_as_json && data == "null";
        let expected = if absent { "{}" } else { data.as_str() };
        prop_assert_eq!(&read.payload, &Payload::Json(expected.into()));
        prop_assert_eq!(read.reply_to, ReplyTo::json(cmd_id, seq.into(), absent || !data_as_json));
    }

    #[test]
    fn a_json_reply_is_read_as_it_was_written(
        code in code(), message in ".+", data in data(), as_string: bool, cmd_id: u32, seq: u32,
    ) {
        let data = data.to_string();
        let to = ReplyTo::json(cmd_id, seq.into(), as_string);
        let encoded = encode_reply(&to, &reply(code, &message, Body::Json(data.as_bytes()))).unwrap();
        prop_assert_eq!(encoded.encoding, Encoding::Json);
        let read = decode_json_reply(std::str::from_utf8(&encoded.bytes).unwrap()).unwrap();
        prop_assert_eq!((read.cmd_id, read.seq, read.code), (cmd_id, seq, code.json()));
        prop_assert_eq!(read.message, message);
        let absent = !as_string && data == "null";
        prop_assert_eq!(read.data, if absent { String::new() } else { data });
        prop_assert_eq!(read.session_id, "07".repeat(16));
        prop_assert_eq!((read.user_id.as_str(), read.platform.as_str()), ("alice", "web"));
        prop_assert_eq!(read.timestamp, "2026-01-08T10:30:00.123Z");
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written(
        header in header(), type_name in "\\PC{1,40}", body: Vec<u8>,
    ) {
        let bytes = encode_envelope(&header, &type_name, &body);
        let raw = decode_envelope_raw(&bytes).unwrap();
        prop_assert_eq!(&raw.header, &header);
        prop_assert_eq!((raw.type_name, raw.body), (type_name.as_str(), &body[..]));
        let read = decode_envelope(&bytes).unwrap();
        prop_assert_eq!((read.cmd_id, read.seq), (header.cmd_id, header.seq.into()));
        prop_assert_eq!(&read.claims.user_id, &header.from_uid);
        prop_assert_eq!(&read.claims.token, &header.token);
        prop_assert_eq!(&read.claims.device_id, &header.device_id);
        prop_assert_eq!(&read.claims.platform, &header.platform);
        prop_assert_eq!(read.payload, Payload::Protobuf { type_name: &type_name, body: &body });

        let encoded = encode_reply(&read.reply_to, &reply(Code::Success, "", Body::Protobuf {
            type_name: &type_name, body: &body,
        })).unwrap();
        let answer = decode_envelope_raw(&encoded.bytes).unwrap();
        prop_assert_eq!(answer.header, ImHeader {
            from_uid: header.to_uid, to_uid: header.from_uid, timestamp: 1_767_868_200_123,
            token: String::new(), device_id: String::new(), platform: String::new(), ..header
        });
        prop_assert_eq!(answer.body, &body[..]);
    }

    #[test]
    fn json_in_an_envelope_is_read_as_it_was_written(header in header(), code in code(), data in json()) {
        let data = data.to_string();
        let bytes = encode_base_request(&header, &data);
        let read = decode_envelope(&bytes).unwrap();
        prop_assert_eq!(&read.payload, &Payload::Json(data.as_str().into()));
        let encoded = encode_reply(&read.reply_to, &reply(code, "", Body::Json(data.as_bytes()))).unwrap();
        let answer = decode_envelope_raw(&encoded.bytes).unwrap();
        let base = base_response(&answer).unwrap().expect("a response");
        prop_assert_eq!(base.error_code, code.error_code() as i32);
        prop_assert_eq!(base.payload, data);
    }

    #[test]
    fn a_push_holds_the_same_in_both_forms(texts: [String; 5], kind in 0..4, conversation in 0..3) {
        let [push_id, content, message_id, sender_uid, conversation_id] = texts;
        let push = EncodedPush::new(PushBody {
            push_id, content, message_id, sender_uid, conversation_id,
            push_type: PushType::try_from(kind).unwrap(),
            conversation_type: ConversationType::try_from(conversation).unwrap(),
        }, Timestamp::from_millis(1));
        let text = std::str::from_utf8(push.bytes(Encoding::Json)).unwrap();
        let data: serde_json::Value = serde_json::from_str(&decode_json_reply(text).unwrap().data).unwrap();
        let body = &push.body;
        for (field, value) in [
            ("push_id", &body.push_id), ("content", &body.content), ("message_id", &body.message_id),
            ("sender_uid", &body.sender_uid), ("conversation_id", &body.conversation_id),
        ] {
            prop_assert_eq!(&data[field], value.as_str());
        }
        let envelope = decode_envelope_raw(push.bytes(Encoding::Protobuf)).unwrap();
        let message = <gateway_codec::proto::im::push::PushRequest as prost::Message>::decode(envelope.body)
            .unwrap().body.unwrap();
        prop_assert_eq!(&message.push_id, &body.push_id);
        prop_assert_eq!(&message.content, &body.content);
        prop_assert_eq!(&message.related_message_id, &body.message_id);
        let ext: serde_json::Value = serde_json::from_str(&message.ext).unwrap();
        prop_assert_eq!(&ext["sender_uid"], &data["sender_uid"]);
        prop_assert_eq!(&ext["conversation_type"], &data["conversation_type"]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = decode_envelope(&bytes);
        let _ = decode_envelope_raw(&bytes);
        let sealed = [&bytes[..], &crc32fast::hash(&bytes).to_le_bytes()].concat();
        let _ = decode_envelope(&sealed);
        if let Ok(envelope) = decode_envelope_raw(&sealed) {
            let _ = base_response(&envelope);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, json in json()) {
        let _ = decode_json(&text);
        let _ = decode_json(&json.to_string());
        let _ = decode_json_reply(&text);
        let _ = decode_json_reply(&json.to_string());
    }

    #[test]
    fn a_request_cut_short_or_changed_is_read_or_refused(
        data in json(), at: prop::sample::Index, byte in 0_u8..128,
    ) {
        let data = data.to_string();
        let request = JsonRequest { cmd_id: 7, seq: 1, data: &data, user_id: "a", ..JsonRequest::default() };
        let text = encode_json_request(&request).unwrap();
        let at = at.index(text.len());
        if text.is_char_boundary(at) {
            prop_assert!(decode_json(&text[..at]).is_err());
        }
        let mut bytes = text.into_bytes();
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = decode_json(text);
        }
    }

    #[test]
    fn a_changed_bit_never_passes_the_checksum(
        header in header(), body: Vec<u8>, at: prop::sample::Index, bit in 0..8,
    ) {
        let mut bytes = encode_envelope(&header, "im.base.BaseResponse", &body).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert_eq!(decode_envelope(&bytes).err().map(|unreadable| unreadable.error), Some(DecodeError::BadChecksum));
    }

    #[test]
    fn an_envelope_cut_short_is_refused(header in header(), body: Vec<u8>, at: prop::sample::Index) {
        let bytes = encode_envelope(&header, "im.base.BaseResponse", &body);
        let at = at.index(bytes.len());
        let refused = decode_envelope(&bytes[..at]).err().map(|unreadable| unreadable.error);
        prop_assert!(matches!(refused, Some(DecodeError::BadChecksum | DecodeError::TooShort)), "{:?}", refused);
    }
}
