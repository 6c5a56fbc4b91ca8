use prost::Message as _;

use super::*;
use crate::decode_envelope_raw;

fn body() -> PushBody {
    PushBody {
        push_id: "p1".into(),
        push_type: PushType::Message,
        content: "你好 \"bob\"".into(),
        message_id: "m1".into(),
        sender_uid: "alice".into(),
        conversation_type: ConversationType::Direct,
        conversation_id: "alice".into(),
    }
}

#[test]
fn a_json_push_names_no_session_and_no_user() {
    let push = EncodedPush::new(body(), Timestamp::from_millis(1));
    assert_eq!(
        std::str::from_utf8(push.bytes(Encoding::Json)).unwrap(),
        concat!(
            r#"{"cmd_id":5001,"seq":0,"code":200,"message":"Success","data":"{\"push_id\":\"p1\",\"type\":\"message\","#,
            r#"\"content\":\"你好 \\\"bob\\\"\",\"message_id\":\"m1\",\"sender_uid\":\"alice\","#,
            r#"\"conversation_type\":\"direct\",\"conversation_id\":\"alice\"}","#,
            r#""timestamp":"1970-01-01T00:00:00.001Z"}"#
        )
    );
}

#[test]
fn a_protobuf_push_holds_the_same_with_ext_as_json() {
    let push = EncodedPush::new(body(), Timestamp::from_millis(9));
    let envelope = decode_envelope_raw(push.bytes(Encoding::Protobuf)).unwrap();
    assert_eq!(
        (
            envelope.header.cmd_id,
            envelope.header.seq,
            envelope.header.timestamp
        ),
        (5001, 0, 9)
    );
    assert_eq!(envelope.type_name, "im.push.PushRequest");
    let request = PushRequest::decode(envelope.body).unwrap().body.unwrap();
    assert_eq!(
        (request.push_id.as_str(), request.related_message_id.as_str()),
        ("p1", "m1")
    );
    assert_eq!(request.content, "你好 \"bob\"");
    assert_eq!(
        request.ext,
        r#"{"sender_uid":"alice","conversation_type":"direct","conversation_id":"alice"}"#
    );
}

#[test]
fn each_form_is_made_once_and_shared() {
    let push = EncodedPush::new(body(), Timestamp::from_millis(1));
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        assert_eq!(
            push.bytes(encoding).as_ptr(),
            push.bytes(encoding).clone().as_ptr()
        );
    }
}

#[test]
fn a_push_survives_the_way_to_a_back_end_and_back() {
    assert_eq!(PushBody::try_from(Push::from(&body())), Ok(body()));
}

#[test]
fn a_push_that_cannot_be_kept_or_shown_is_refused() {
    let push = Push::from(&body());
    for (push, error) in [
        (
            Push {
                push_id: "x".repeat(129),
                ..push.clone()
            },
            PushError::IdTooLong,
        ),
        (
            Push {
                r#type: 4,
                ..push.clone()
            },
            PushError::UnknownType,
        ),
        (
            Push {
                conversation_type: -1,
                ..push.clone()
            },
            PushError::UnknownConversation,
        ),
    ] {
        assert_eq!(PushBody::try_from(push), Err(error));
    }
    assert!(
        PushBody::try_from(Push {
            push_id: "x".repeat(128),
            ..push
        })
        .is_ok()
    );
}
