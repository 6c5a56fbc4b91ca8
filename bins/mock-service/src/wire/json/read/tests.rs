//! What is read, and what is not.

use gateway_codec::Code;

use super::*;

#[test]
fn what_is_not_the_json_of_the_command_is_400() {
    for data in ["[\"alice\"]", "{", "3", "null", "{\"username\":3}", "{} x"] {
        let error = read(ServiceKind::User, 1001, data.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::BadRequest, "{data}");
    }
    assert!(read(ServiceKind::User, 1001, b"{\"password\":\"\xff\"}").is_err());
}

#[test]
fn an_unknown_command_is_404_in_each_service() {
    for kind in ServiceKind::ALL {
        assert_eq!(read(kind, 7, b"{}").unwrap_err().code, Code::NotFound);
    }
}

#[test]
fn ids_may_be_numbers_or_digits_and_names_may_be_those_of_the_web_client() {
    let number = read(ServiceKind::Group, 4007, b"{\"group_id\":7}").unwrap();
    assert_eq!(
        number,
        read(ServiceKind::Group, 4007, b" {\"group_id\":\"7\"}").unwrap()
    );
    assert!(read(ServiceKind::Group, 4007, b"{}").is_err());
    let web = read(
        ServiceKind::Message,
        2001,
        b"{\"receiver_uid\":\"bob\",\"content\":\"x\"}",
    )
    .unwrap();
    assert_eq!(
        web,
        read(
            ServiceKind::Message,
            2001,
            b"{\"to_user\":\"bob\",\"content\":\"x\"}"
        )
        .unwrap()
    );
}

#[test]
fn a_misspelt_fault_is_refused() {
    assert!(read(ServiceKind::Push, 5999, b"{\"latency_ms\":5}").is_ok());
    assert!(read(ServiceKind::Push, 5999, b"{\"latency\":5}").is_err());
}
