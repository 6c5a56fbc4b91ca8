use prost::Message as _;

use super::*;
use crate::error::DecodeError;
use crate::proto::im::base::ErrorCode;
use crate::proto::im::user::{LoginResponse, UserInfo};
use crate::{decode_envelope_raw, decode_json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reply(body: Body<'_>) -> Reply<'_> {
    Reply {
        code: Code::Success,
        message: "".into(),
        session_id: None,
        user_id: "alice",
        platform: "android",
        timestamp: Timestamp::from_millis(1),
        body,
    }
}

fn text(to: &ReplyTo, reply: &Reply<'_>) -> String {
    let encoded = encode_reply(to, reply).unwrap();
    assert_eq!(encoded.encoding, Encoding::Json);
    String::from_utf8(encoded.bytes.into()).unwrap()
}

#[test]
fn a_json_reply_is_the_contracts_sample() {
    let body = br#"{"message_id":"m1","status":"sent"}"#;
    let mut reply = reply(Body::Json(body));
    reply.session_id = Some(SessionId::from_random([0xab; 16]));
    reply.timestamp = Timestamp::from_millis(1_767_868_200_000);
    assert_eq!(
        text(&ReplyTo::json(2001, 7, true), &reply),
        concat!(
            r#"{"cmd_id":2001,"seq":7,"code":200,"message":"Success","session_id":"abababababababababababababababab","#,
            r#""user_id":"alice","data":"{\"message_id\":\"m1\",\"status\":\"sent\"}","platform":"android","#,
            r#""timestamp":"2026-01-08T10:30:00.000Z"}"#
        )
    );
}

#[test]
fn data_has_the_form_of_the_requests() {
    for (request, data) in [
        (r#"{"cmd_id":1,"data":{}}"#, r#""data":{"a":1},"#),
        (r#"{"cmd_id":1,"data":"{}"}"#, r#""data":"{\"a\":1}","#),
        (r#"{"cmd_id":1}"#, r#""data":"{\"a\":1}","#),
    ] {
        let to = decode_json(request).unwrap().reply_to;
        let text = text(&to, &reply(Body::Json(b" {\"a\":1}\n")));
        assert!(text.contains(data), "{text}");
    }
}

#[test]
fn an_error_has_empty_data_and_the_text_given() {
    let mut reply = reply(Body::Empty);
    reply.code = Code::BadRequest;
    reply.message = "a \"quoted\" fault".into();
    let text = text(&ReplyTo::unreadable(Encoding::Json), &reply);
    assert!(
        text.starts_with(r#"{"cmd_id":0,"seq":0,"code":400,"message":"a \"quoted\" fault","#),
        "{text}"
    );
    assert!(text.contains(r#""data":"{}","#), "{text}");
}

#[test]
fn a_protobuf_reply_swaps_the_uids_once_and_keeps_command_number_and_version() {
    let to = ReplyTo::protobuf(2001, 7, "1.0", "alice", "");
    let encoded = encode_reply(&to, &reply(Body::Json(b"{}"))).unwrap();
    assert_eq!(encoded.encoding, Encoding::Protobuf);
    assert_eq!(
        hex(&encoded.bytes),
        concat!(
            "1314696d2e626173652e42617365526573706f6e73650a03312e30100718d10f2a05616c69636530011a027b",
            "7db184dc5f",
        )
    );
}

#[test]
fn a_protobuf_error_is_a_base_response_whatever_the_bodys_type() {
    let to = ReplyTo::protobuf(2001, 7, "1.0", "alice", "");
    for body in [
        Body::Empty,
        Body::Protobuf {
            type_name: "im.user.LoginResponse",
            body: b"x",
        },
    ] {
        let reply = Reply {
            code: Code::NotFound,
            ..reply(body)
        };
        assert_eq!(
            hex(&encode_reply(&to, &reply).unwrap().bytes),
            concat!(
                "1314696d2e626173652e42617365526573706f6e73650a03312e30100718d10f2a05616c6963653001080312",
                "094e6f7420466f756e6401d26433",
            )
        );
    }
}

#[test]
fn what_could_not_be_read_is_answered_with_command_0() {
    let reply = Reply {
        code: Code::BadRequest,
        ..reply(Body::Empty)
    };
    let encoded = encode_reply(&ReplyTo::unreadable(Encoding::Protobuf), &reply).unwrap();
    assert_eq!(
        hex(&encoded.bytes),
        concat!(
            "0714696d2e626173652e42617365526573706f6e73650a03312e3030010801120b4261642052657175657374",
            "39f0d458",
        )
    );
}

#[test]
fn a_protobuf_body_is_carried_untouched() {
    let to = ReplyTo::protobuf(1001, 1, "", "a", "b");
    let body = Body::Protobuf {
        type_name: "im.user.LoginResponse",
        body: b"\xff\x00",
    };
    let encoded = encode_reply(&to, &reply(body)).unwrap();
    let envelope = decode_envelope_raw(&encoded.bytes).unwrap();
    assert_eq!(
        (envelope.type_name, envelope.body),
        ("im.user.LoginResponse", &b"\xff\x00"[..])
    );
    assert_eq!(
        (envelope.header.from_uid.as_str(), envelope.header.to_uid.as_str()),
        ("b", "a")
    );
    assert_eq!(envelope.header.token, "");
}

#[test]
fn a_body_that_would_break_the_message_is_refused() {
    let json = ReplyTo::json(1, 1, false);
    let protobuf = ReplyTo::protobuf(1, 1, "", "", "");
    for body in [&b"{"[..], b"", b"{}{}", b"\"\xff\""] {
        for to in [&json, &protobuf] {
            assert!(encode_reply(to, &reply(Body::Json(body))).is_err(), "{body:x?}");
        }
    }
    assert!(
        encode_reply(
            &json,
            &reply(Body::Protobuf {
                type_name: "t",
                body: b""
            })
        )
        .is_err()
    );
    assert!(
        encode_reply(
            &protobuf,
            &reply(Body::Protobuf {
                type_name: "",
                body: b""
            })
        )
        .is_err()
    );
}

#[test]
fn a_payload_joins_the_base_that_is_there() {
    let base = BaseResponse {
        error_code: ErrorCode::Success.into(),
        error_message: "welcome".into(),
        payload: Bytes::new(),
    };
    let user = UserInfo {
        uid: "alice".into(),
        ..UserInfo::default()
    };
    for base in [Some(base), None] {
        let before = LoginResponse {
            base: base.clone(),
            user: Some(user.clone()),
        };
        let mut body = before.encode_to_vec();
        add_base_payload(&mut body, br#"{"token":"t"}"#);
        let after = LoginResponse::decode(&body[..]).unwrap();
        let merged = after.base.unwrap();
        assert_eq!(merged.payload, r#"{"token":"t"}"#);
        assert_eq!(merged.error_message, base.unwrap_or_default().error_message);
        assert_eq!(after.user, Some(user.clone()));
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let header = ImHeader {
        token: "s3cret".into(),
        ..ImHeader::default()
    };
    let request = decode_json(r#"{"cmd_id":1001,"token":"s3cret","data":{"password":"s3cret"}}"#).unwrap();
    let login = crate::proto::im::user::LoginRequest {
        password: "s3cret".into(),
        ..Default::default()
    };
    for shown in [
        format!("{header:?}"),
        format!("{request:?}"),
        format!("{login:?}"),
    ] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_decode_error_is_a_bad_request() {
    assert_eq!(DecodeError::TooShort.code(), Code::BadRequest);
}
