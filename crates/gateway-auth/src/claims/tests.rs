use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1_000)
}

fn good() -> Value {
    json!({
        "iss": "mychat-gateway", "aud": "mychat-client", "sub": "u1", "jti": "t1", "iat": NOW, "exp": NOW + 60,
        "username": "name", "device_id": "phone", "platform": "iOS", "type": "access", "roles": ["admin"],
    })
}

fn check(claims: &Value) -> Result<Identity, AuthError> {
    Rules::new(&Auth::default()).check(claims.as_object().unwrap(), KeyNumber::default(), now())
}

fn with(name: &str, value: Value) -> Result<Identity, AuthError> {
    let mut claims = good();
    claims[name] = value;
    check(&claims)
}

#[test]
fn good_claims_become_an_identity() {
    let identity = check(&good()).unwrap();
    assert_eq!(identity.user_id().as_str(), "u1");
    assert_eq!(identity.username(), "name");
    assert_eq!(identity.device_id().as_str(), "phone");
    assert_eq!(identity.platform().as_str(), "ios");
    assert_eq!(identity.token_id(), "t1");
    assert!(identity.has_role("admin") && !identity.has_role("Admin"));
    assert_eq!(identity.expires_at().as_seconds(), NOW + 60);
}

#[test]
fn each_missing_claim_is_named() {
    for name in [
        "iss",
        "aud",
        "sub",
        "jti",
        "iat",
        "exp",
        "username",
        "device_id",
        "platform",
        "type",
        "roles",
    ] {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(check(&claims), Err(AuthError::BadClaim(name)));
    }
}

#[test]
fn each_bad_claim_has_its_own_error() {
    let far = NOW + 5 + 60;
    for (name, value, error) in [
        ("iss", json!("other"), AuthError::WrongIssuer),
        ("iss", json!(["mychat-gateway"]), AuthError::BadClaim("iss")),
        ("aud", json!("other"), AuthError::WrongAudience),
        ("aud", json!(["other", "another"]), AuthError::WrongAudience),
        ("aud", json!([]), AuthError::WrongAudience),
        ("aud", json!(["mychat-client", 1]), AuthError::BadClaim("aud")),
        ("type", json!("refresh"), AuthError::WrongType),
        ("type", json!(null), AuthError::BadClaim("type")),
        ("exp", json!(NOW - 5), AuthError::Expired),
        ("exp", json!("soon"), AuthError::BadClaim("exp")),
        ("exp", json!(-1), AuthError::BadClaim("exp")),
        ("exp", json!(null), AuthError::BadClaim("exp")),
        ("exp", json!(1e300), AuthError::BadClaim("exp")),
        ("nbf", json!(NOW + 6), AuthError::NotYetValid),
        ("nbf", json!("x"), AuthError::BadClaim("nbf")),
        ("iat", json!(far + 1), AuthError::NotYetValid),
        ("iat", json!("x"), AuthError::BadClaim("iat")),
        ("sub", json!("a\nb"), AuthError::BadClaim("sub")),
        ("sub", json!(7), AuthError::BadClaim("sub")),
        ("username", json!(7), AuthError::BadClaim("username")),
        ("device_id", json!(""), AuthError::BadClaim("device_id")),
        ("platform", json!("i os"), AuthError::BadClaim("platform")),
        ("roles", json!("admin"), AuthError::BadClaim("roles")),
        ("roles", json!(["admin", 1]), AuthError::BadClaim("roles")),
        ("jti", json!(""), AuthError::BadClaim("jti")),
        ("jti", json!("a b"), AuthError::BadClaim("jti")),
        ("jti", json!("a\nb"), AuthError::BadClaim("jti")),
        ("jti", json!("x".repeat(129)), AuthError::BadClaim("jti")),
        ("fid", json!("1"), AuthError::BadClaim("fid")),
        ("fid", json!(1), AuthError::BadClaim("fid")),
    ] {
        assert_eq!(with(name, value.clone()), Err(error), "{name} = {value}");
    }
}

#[test]
fn what_the_rules_allow_is_accepted() {
    for (name, value) in [
        ("aud", json!(["other", "mychat-client"])),
        ("exp", json!(NOW - 4)), // within the leeway
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(NOW + 5)),
        ("nbf", json!(null)),
        ("iat", json!(NOW + 5 + 60)),
        ("roles", json!([])),
        ("username", json!("")),
        ("fid", json!("0123456789abcdef0123456789abcdef")),
        ("extra", json!({"more": true})),
    ] {
        assert!(with(name, value.clone()).is_ok(), "{name} = {value}");
    }
}

#[test]
fn issued_claims_pass_their_own_check() {
    let rules = Rules::new(&Auth::default());
    let subject = Subject {
        user_id: UserId::parse("u1").unwrap(),
        username: "name".to_owned(),
        device_id: DeviceId::parse("phone").unwrap(),
        platform: Platform::parse("ios").unwrap(),
        roles: vec!["a".to_owned()],
    };
    let token = TokenRef {
        jti: "t".into(),
        family: Some(FamilyId::from_bits(7)),
    };
    let key = KeyNumber::default();
    let (claims, identity) = rules.issue(subject, token, Duration::from_secs(10), key, now());
    assert_eq!(rules.check(claims.as_object().unwrap(), key, now()), Ok(identity));
}
