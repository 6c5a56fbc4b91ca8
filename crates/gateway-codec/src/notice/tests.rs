use super::*;

const AT: Timestamp = Timestamp::from_millis(1);

fn json(notice: &Notice<'_>) -> String {
    String::from_utf8(notice.encode(Encoding::Json, AT).into()).unwrap()
}

#[test]
fn a_welcome_names_session_and_time_left() {
    let notice = Notice::Welcome {
        session_id: SessionId::from_random([0x11; 16]),
        authenticated: false,
        timeout_seconds: 30,
    };
    assert_eq!(
        json(&notice),
        concat!(
            r#"{"cmd_id":2,"seq":0,"code":200,"message":"Success","session_id":"11111111111111111111111111111111","#,
            r#""user_id":"","data":"{\"event\":\"welcome\",\"session_id\":\"11111111111111111111111111111111\","#,
            r#"\"authenticated\":false,\"timeout\":30}","platform":"","timestamp":"1970-01-01T00:00:00.001Z"}"#
        )
    );
}

#[test]
fn each_event_has_its_name_fields_and_code() {
    for (notice, code, data) in [
        (
            Notice::Kicked { reason: "bye" },
            200,
            r#"{"event":"kicked","reason":"bye"}"#,
        ),
        (
            Notice::NewLogin {
                device_id: "d",
                platform: "ios",
                address: Some("192.0.2.1"),
            },
            200,
            r#"{"event":"new_login","device_id":"d","platform":"ios","address":"192.0.2.1"}"#,
        ),
        (
            Notice::NewLogin {
                device_id: "d",
                platform: "ios",
                address: None,
            },
            200,
            r#"{"event":"new_login","device_id":"d","platform":"ios"}"#,
        ),
        (Notice::AuthTimeout, 408, r#"{"event":"auth_timeout"}"#),
        (
            Notice::AuthFailed { reason: "expired" },
            401,
            r#"{"event":"auth_failed","reason":"expired"}"#,
        ),
        (
            Notice::TokenExpiring {
                expires_in_seconds: 60,
            },
            200,
            r#"{"event":"token_expiring","expires_in":60}"#,
        ),
        (
            Notice::Draining { retry_after_ms: 500 },
            200,
            r#"{"event":"draining","retry_after_ms":500}"#,
        ),
        (Notice::Gap { count: 3 }, 200, r#"{"event":"gap","count":3}"#),
    ] {
        let reply = crate::decode_json_reply(&json(&notice)).unwrap();
        assert_eq!(
            (reply.cmd_id, reply.seq, reply.code, reply.data.as_str()),
            (2, 0, code, data)
        );
        let bytes = notice.encode(Encoding::Protobuf, AT);
        let envelope = crate::decode_envelope_raw(&bytes).unwrap();
        let base = crate::base_response(&envelope).unwrap().unwrap();
        assert_eq!(base.error_code, notice.code().error_code() as i32);
        assert_eq!(base.payload, data);
    }
}

#[test]
fn the_bytes_of_a_protobuf_notice_are_those_of_the_contract() {
    let hex: String = Notice::AuthTimeout
        .encode(Encoding::Protobuf, AT)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        concat!(
            "0914696d2e626173652e42617365526573706f6e73650a03312e30180230010802120754696d656f75741a18",
            "7b226576656e74223a22617574685f74696d656f7574227d4cfb571e",
        )
    );
}
