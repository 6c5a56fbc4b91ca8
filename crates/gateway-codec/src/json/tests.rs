use std::borrow::Cow;

use super::{MAX_DATA_DEPTH, decode_json, too_deep};
use crate::error::DecodeError;
use crate::request::{Encoding, Payload, ReplyTo, Request};

const SAMPLE: &str = r#"{"cmd_id":2001,"seq":7,"session_id":"","user_id":"","data":"{\"to_user\":\"bob\",\"content\":\"hi\"}",
 "platform":"android","device_id":"pixel-1","token":"","timestamp":"2026-01-08T10:30:00Z","traceparent":""}"#;

fn payload<'a>(request: &'a Request<'_>) -> &'a Cow<'a, str> {
    match &request.payload {
        Payload::Json(text) => text,
        Payload::Protobuf { .. } => panic!("protobuf out of JSON"),
    }
}

#[test]
fn the_contracts_sample_is_read() {
    let request = decode_json(SAMPLE).unwrap();
    assert_eq!((request.cmd_id, request.seq), (2001, 7));
    assert_eq!(request.claims.platform, "android");
    assert_eq!(request.claims.device_id, "pixel-1");
    assert_eq!(request.claims.user_id, "");
    assert_eq!(payload(&request), r#"{"to_user":"bob","content":"hi"}"#);
    assert_eq!(request.reply_to, ReplyTo::json(2001, 7, true));
    assert_eq!(request.reply_to.encoding(), Encoding::Json);
}

#[test]
fn the_command_alone_is_enough() {
    let request = decode_json(r#"{"cmd_id":1}"#).unwrap();
    assert_eq!((request.cmd_id, request.seq), (1, 0));
    assert_eq!(payload(&request), "{}");
    assert_eq!(request.reply_to, ReplyTo::json(1, 0, true));
}

#[test]
fn null_counts_as_absent() {
    let text = r#"{"cmd_id":1,"seq":null,"data":null,"token":null,"user_id":null,"timestamp":null}"#;
    let request = decode_json(text).unwrap();
    assert_eq!((request.seq, request.claims.token.as_ref()), (0, ""));
    assert_eq!(payload(&request), "{}");
    assert_eq!(
        decode_json(r#"{"cmd_id":null}"#)
            .err()
            .map(|unreadable| unreadable.error),
        Some(DecodeError::Missing { field: "cmd_id" })
    );
}

#[test]
fn an_object_as_data_stays_the_slice_it_is_and_is_answered_likewise() {
    for data in [r#"{"b" : [1, 2],"a":1.00}"#, "[]", "7", "true", "-0.0e5"] {
        let text = format!(r#"{{"data":  {data} ,"cmd_id":9,"seq":1}}"#);
        let request = decode_json(&text).unwrap();
        assert_eq!(payload(&request), data);
        assert!(matches!(payload(&request), Cow::Borrowed(_)));
        assert_eq!(request.reply_to, ReplyTo::json(9, 1, false));
    }
}

#[test]
fn fields_without_escapes_are_not_copied() {
    let request = decode_json(r#"{"cmd_id":1,"user_id":"alice","token":"t\u0041","data":"[1]"}"#).unwrap();
    assert!(matches!(request.claims.user_id, Cow::Borrowed("alice")));
    assert_eq!(request.claims.token, "tA");
    assert!(matches!(payload(&request), Cow::Borrowed("[1]")));
}

#[test]
fn unknown_fields_are_ignored_even_twice() {
    let text = r#"{"x":{"cmd_id":5},"cmd_id":1,"x":[null],"":0}"#;
    assert_eq!(decode_json(text).unwrap().cmd_id, 1);
}

#[test]
fn an_empty_string_as_data_is_an_empty_object() {
    let request = decode_json(r#"{"cmd_id":1,"data":""}"#).unwrap();
    assert_eq!(payload(&request), "{}");
    assert_eq!(request.reply_to, ReplyTo::json(1, 0, true));
}

#[test]
fn each_fault_is_named_to_the_client() {
    for (text, told) in [
        ("{}", "cmd_id is missing"),
        (r#"{"cmd_id":0}"#, "cmd_id is 0"),
        (
            r#"{"cmd_id":"1"}"#,
            "cmd_id is not a whole number from 1 to 4294967295",
        ),
        (
            r#"{"cmd_id":-1}"#,
            "cmd_id is not a whole number from 1 to 4294967295",
        ),
        (
            r#"{"cmd_id":1.5}"#,
            "cmd_id is not a whole number from 1 to 4294967295",
        ),
        (
            r#"{"cmd_id":4294967296}"#,
            "cmd_id is not a whole number from 1 to 4294967295",
        ),
        (
            r#"{"cmd_id":1,"seq":"a"}"#,
            "seq is not a whole number from 0 to 9007199254740991",
        ),
        (r#"{"cmd_id":1,"user_id":5}"#, "user_id is not a string"),
        (r#"{"cmd_id":1,"token":{}}"#, "token is not a string"),
        (r#"{"cmd_id":1,"cmd_id":1}"#, "cmd_id stands twice"),
        (
            r#"{"user_id":"a","cmd_id":1,"user_id":"b"}"#,
            "user_id stands twice",
        ),
        (r#"{"cmd_id":1,"data":"\ud800"}"#, "data is not text in Unicode"),
        ("[]", "the message is not a JSON object"),
        ("7", "the message is not a JSON object"),
        ("", "the message is not valid JSON (line 1, column 0)"),
        (
            "{\"cmd_id\":1}x",
            "the message is not valid JSON (line 1, column 13)",
        ),
        (
            "{\"cmd_id\":1,\n\"data\":{]}",
            "the message is not valid JSON (line 2, column 9)",
        ),
        (
            r#"{"cmd_id":1,"data":"#,
            "the message is not valid JSON (line 1, column 19)",
        ),
    ] {
        assert_eq!(
            decode_json(text).map(|_| ()).map_err(|error| error.to_string()),
            Err(told.into()),
            "{text}"
        );
    }
}

#[test]
fn data_as_a_string_is_bounded_in_depth_too() {
    let message = |depth: usize| {
        format!(
            r#"{{"cmd_id":1,"data":"{}\"a\"{}"}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(decode_json(&message(MAX_DATA_DEPTH)).is_ok());
    let unreadable = decode_json(&message(MAX_DATA_DEPTH + 1)).unwrap_err();
    assert_eq!(unreadable.error, DecodeError::TooDeep);
}

#[test]
fn data_nested_too_deeply_is_refused() {
    let nested = |depth: usize| {
        format!(
            r#"{{"cmd_id":1,"data":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(decode_json(&nested(MAX_DATA_DEPTH)).is_ok());
    assert_eq!(
        decode_json(&nested(MAX_DATA_DEPTH + 1))
            .err()
            .map(|unreadable| unreadable.error),
        Some(DecodeError::TooDeep)
    );
    assert_eq!(
        decode_json(&nested(500_000))
            .err()
            .map(|unreadable| unreadable.error),
        Some(DecodeError::TooDeep)
    );
}

#[test]
fn many_brackets_beside_one_another_or_in_strings_are_not_depth() {
    assert!(!too_deep(&format!("[{}[]]", "[],".repeat(1_000))));
    assert!(!too_deep(&format!(r#"["\"{}\\"]"#, "[".repeat(1_000))));
    assert!(too_deep(&format!(r#"["\\",{}]"#, "[".repeat(1_000))));
}

#[test]
fn numbers_are_read_as_clients_write_them() {
    let request = decode_json("\u{feff}{\"cmd_id\":3001.0,\"seq\":1767868200123}").unwrap();
    assert_eq!((request.cmd_id, request.seq), (3001, 1_767_868_200_123));
    assert_eq!(decode_json(r#"{"cmd_id":1,"seq":7.0}"#).unwrap().seq, 7);
}

#[test]
fn what_is_refused_says_which_request_it_was() {
    for (text, error) in [
        (
            r#"{"cmd_id":3001,"seq":77,"platform":2}"#,
            "platform is not a string",
        ),
        (
            r#"{"platform":[],"cmd_id":3001,"seq":77}"#,
            "platform is not a string",
        ),
        (
            r#"{"cmd_id":3001,"seq":77,"data":"\ud800"}"#,
            "data is not text in Unicode",
        ),
        (
            r#"{"cmd_id":3001,"seq":77,"token":"a","token":"b"}"#,
            "token stands twice",
        ),
        (
            r#"{"cmd_id":3001,"seq":77,"#,
            "the message is not valid JSON (line 1, column 24)",
        ),
    ] {
        let unreadable = decode_json(text).unwrap_err();
        assert_eq!(unreadable.to_string(), error, "{text}");
        assert_eq!(unreadable.reply_to, ReplyTo::json(3001, 77, true), "{text}");
    }
}
