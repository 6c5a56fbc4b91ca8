use super::{CloseCode, Code};
use crate::proto::im::base::ErrorCode;

#[test]
fn the_table_is_the_contracts() {
    let rows: Vec<_> = Code::ALL
        .map(|code| (code.json(), code.text(), code.error_code() as i32))
        .into();
    assert_eq!(
        rows,
        [
            (200, "Success", 0),
            (400, "Bad Request", 1),
            (401, "Unauthorized", 2),
            (403, "Forbidden", 4),
            (404, "Not Found", 3),
            (408, "Timeout", 2),
            (409, "Conflict", 5),
            (413, "Too Large", 1),
            (429, "Too Many Requests", 500),
            (500, "Internal Server Error", 500),
            (503, "Service Unavailable", 500),
            (504, "Gateway Timeout", 7),
        ]
    );
}

#[test]
fn a_code_is_found_again_by_its_number_and_no_other_is() {
    for code in Code::ALL {
        assert_eq!(Code::from_json(code.json()), Some(code));
        assert_eq!(code.http(), code.json());
        assert_eq!(code.is_success(), code == Code::Success);
    }
    for number in [0, 201, 402, 502, u16::MAX] {
        assert_eq!(Code::from_json(number), None);
    }
}

#[test]
fn a_protobuf_code_leads_to_a_code_with_the_same_protobuf_code() {
    for code in Code::ALL {
        let nearest = Code::from_error_code(code.error_code());
        assert_eq!(nearest.error_code(), code.error_code());
    }
    assert_eq!(Code::from_error_code(ErrorCode::ParamError), Code::BadRequest);
}

#[test]
fn five_close_codes_say_do_not_reconnect() {
    let never: Vec<u16> = CloseCode::ALL
        .into_iter()
        .filter(|code| !code.may_reconnect())
        .map(CloseCode::as_u16)
        .collect();
    assert_eq!(never, [4401, 4403, 4410, 4411, 4412]);
}

#[test]
fn a_close_code_is_found_again_by_its_number() {
    for code in CloseCode::ALL {
        assert_eq!(CloseCode::from_u16(code.as_u16()), Some(code));
    }
    assert_eq!(CloseCode::from_u16(1005), None);
}
