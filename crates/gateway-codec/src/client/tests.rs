use super::*;
use crate::proto::im::base::ErrorCode;
use crate::{Payload, decode_envelope, decode_json};

#[test]
fn a_request_leaves_out_what_it_does_not_say() {
    let request = JsonRequest {
        cmd_id: 1,
        seq: 2,
        ..JsonRequest::default()
    };
    assert_eq!(encode_json_request(&request).unwrap(), r#"{"cmd_id":1,"seq":2}"#);
}

#[test]
fn data_goes_as_string_or_as_json() {
    let mut request = JsonRequest {
        cmd_id: 1,
        data: r#"{"a":1}"#,
        ..JsonRequest::default()
    };
    assert_eq!(
        encode_json_request(&request).unwrap(),
        r#"{"cmd_id":1,"seq":0,"data":"{\"a\":1}"}"#
    );
    request.data_as_json = true;
    assert_eq!(
        encode_json_request(&request).unwrap(),
        r#"{"cmd_id":1,"seq":0,"data":{"a":1}}"#
    );
    request.data = "{";
    assert!(encode_json_request(&request).is_err());
}

#[test]
fn the_gateway_reads_what_a_client_writes() {
    let request = JsonRequest {
        cmd_id: 2001,
        seq: 7,
        data: r#"{"content":"hi \"there\""}"#,
        user_id: "alice",
        device_id: "d",
        platform: "web",
        token: "t",
        session_id: "s",
        traceparent: "00-1-1-1",
        ..JsonRequest::default()
    };
    let text = encode_json_request(&request).unwrap();
    let read = decode_json(&text).unwrap();
    assert_eq!(
        (read.cmd_id, read.seq, read.traceparent.as_ref()),
        (2001, 7, "00-1-1-1")
    );
    assert_eq!(read.claims.session_id, "s");
    assert_eq!(read.payload, Payload::Json(request.data.into()));

    let header = ImHeader {
        cmd_id: 1002,
        token: "t".into(),
        ..ImHeader::default()
    };
    let bytes = encode_base_request(&header, r#"{"token":"t"}"#);
    let read = decode_envelope(&bytes).unwrap();
    assert_eq!((read.cmd_id, read.claims.token.as_ref()), (1002, "t"));
    assert_eq!(read.payload, Payload::Json(r#"{"token":"t"}"#.into()));
}

#[test]
fn a_reply_gives_its_data_as_json_text_in_either_form() {
    for text in [
        r#"{"cmd_id":1,"code":200,"data":"{\"a\":1}"}"#,
        r#"{"code":200,"data":{"a":1},"cmd_id":1}"#,
    ] {
        assert_eq!(decode_json_reply(text).unwrap().data, r#"{"a":1}"#);
    }
    assert_eq!(decode_json_reply(r#"{"cmd_id":1,"code":200}"#).unwrap().data, "");
    for text in [
        "",
        "[]",
        r#"{"cmd_id":1}"#,
        r#"{"code":200}"#,
        r#"{"cmd_id":1,"code":70000}"#,
    ] {
        assert!(decode_json_reply(text).is_err(), "{text}");
    }
}

#[test]
fn a_typed_response_tells_how_it_went_in_its_base() {
    fn envelope<'a>(type_name: &'a str, body: &'a [u8]) -> Envelope<'a> {
        Envelope {
            header: ImHeader::default(),
            type_name,
            body,
        }
    }
    let base = BaseResponse {
        error_code: ErrorCode::NotFound.into(),
        ..BaseResponse::default()
    };
    let mut typed = vec![0x0a, 2];
    typed.extend(base.encode_to_vec());
    assert_eq!(
        base_response(&envelope("im.user.LoginResponse", &typed)),
        Ok(Some(base.clone()))
    );
    assert_eq!(
        base_response(&envelope("im.user.LoginResponse", &[])),
        Ok(Some(BaseResponse::default()))
    );
    assert_eq!(
        base_response(&envelope("im.base.BaseResponse", &base.encode_to_vec())),
        Ok(Some(base))
    );
    assert_eq!(base_response(&envelope("im.push.PushRequest", &[0xff])), Ok(None));
    assert_eq!(
        base_response(&envelope("im.user.LoginResponse", &[0xff])),
        Err(DecodeError::BadBody)
    );
}
