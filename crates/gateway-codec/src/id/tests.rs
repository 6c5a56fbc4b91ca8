use std::collections::HashMap;

use arcstr::ArcStr;

use super::{DeviceId, IdError, NodeId, Platform, RequestId, SessionId, UserId};

#[test]
fn ids_of_real_systems_are_taken_as_they_stand() {
    for text in [
        "a",
        "alice@chat.example",
        "用户-1😀",
        "e4:b0:63:91:8e:88",
        "{6B29FC40-CA47-1067-B31D-00DD010662DA}",
        "Pixel 7 Pro",
        "urn:user:42",
        "auth0|5f7",
        "CN=x,O=y/z",
        "100%",
        " ",
        &"x".repeat(256),
    ] {
        assert_eq!(UserId::parse(text).unwrap().as_str(), text);
        assert_eq!(DeviceId::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn an_id_without_text_too_long_or_with_control_characters_is_refused() {
    assert_eq!(UserId::parse(""), Err(IdError::Empty));
    assert_eq!(UserId::parse(&"x".repeat(257)), Err(IdError::TooLong(256)));
    for text in ["a\n", "a\tb", "a\u{7f}", "\0", "a\u{85}"] {
        assert_eq!(DeviceId::parse(text), Err(IdError::BadCharacter), "{text:?}");
    }
}

#[test]
fn a_node_id_holds_nothing_that_separates() {
    assert_eq!(NodeId::parse("gw-0.eu").unwrap().as_str(), "gw-0.eu");
    assert_eq!(NodeId::parse(&"x".repeat(129)), Err(IdError::TooLong(128)));
    for text in ["a b", "a:b", "{a", "a}", "a\u{3000}"] {
        assert_eq!(NodeId::parse(text), Err(IdError::BadCharacter), "{text:?}");
    }
}

#[test]
fn a_platform_is_folded_to_lower_case() {
    assert_eq!(Platform::parse("Android").unwrap().as_str(), "android");
    assert_eq!(Platform::parse("iOS-2_x").unwrap().as_str(), "ios-2_x");
    assert_eq!(Platform::parse("x y"), Err(IdError::BadCharacter));
    assert_eq!(Platform::parse("安卓"), Err(IdError::BadCharacter));
    assert_eq!(Platform::parse(&"x".repeat(33)), Err(IdError::TooLong(32)));
}

#[test]
fn a_well_known_platform_has_no_text_of_its_own() {
    let text = |name| Platform::parse(name).unwrap().0;
    assert!(ArcStr::is_static(&text("WEB")));
    assert_eq!(text("WEB"), "web");
    assert!(!ArcStr::is_static(&text("fridge")));
}

#[test]
fn random_ids_are_shown_as_32_digits_and_read_back() {
    let id = SessionId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
    assert_eq!("000102030405060708090A0B0C0D0EFF".parse(), Ok(id));
    for text in [
        "",
        "00",
        "+00102030405060708090a0b0c0d0eff",
        "g00102030405060708090a0b0c0d0eff",
    ] {
        assert_eq!(RequestId::parse(text), Err(IdError::NotHex), "{text:?}");
    }
}

#[test]
fn ids_travel_through_serde_as_checked_strings() {
    let user: UserId = serde_json::from_str("\"alice\"").unwrap();
    assert_eq!(serde_json::to_string(&user).unwrap(), "\"alice\"");
    assert!(serde_json::from_str::<UserId>("\"a\\n\"").is_err());
    let session: SessionId = serde_json::from_str("\"000102030405060708090a0b0c0d0eff\"").unwrap();
    assert_eq!(
        serde_json::to_string(&session).unwrap(),
        "\"000102030405060708090a0b0c0d0eff\""
    );
}

#[test]
fn a_map_by_id_is_asked_by_text() {
    let map = HashMap::from([(UserId::parse("alice").unwrap(), 1)]);
    assert_eq!(map.get("alice"), Some(&1));
}
