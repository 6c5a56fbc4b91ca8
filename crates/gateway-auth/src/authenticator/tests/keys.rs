use std::path::{Path, PathBuf};

use gateway_config::{Algorithm, SigningKey};
use jsonwebtoken::{EncodingKey, Header};

use super::*;
use crate::keys::KeyChange;

/// Keys made for these tests alone.
fn file(name: &str) -> PathBuf {
    // Tests run in the folder of their package.
    Path::new("tests/keys").join(name)
}

fn key(kid: &str, algorithm: Algorithm) -> SigningKey {
    let name = match algorithm {
        Algorithm::HS256 => {
            return SigningKey {
                secret: Some(SECRET.into()),
                kid: kid.into(),
                ..SigningKey::default()
            };
        }
        Algorithm::RS256 => "rs256",
        Algorithm::ES256 => "es256",
        Algorithm::EdDSA => "eddsa",
    };
    SigningKey {
        kid: kid.to_owned(),
        algorithm,
        secret: None,
        private_key_file: Some(file(&format!("test-only-{name}.pem"))),
        public_key_file: Some(file(&format!("test-only-{name}.pub.pem"))),
    }
}

fn with_keys(signing: &str) -> Auth {
    let keys = vec![
        key("hs", Algorithm::HS256),
        key("rs", Algorithm::RS256),
        key("es", Algorithm::ES256),
        key("ed", Algorithm::EdDSA),
    ];
    Auth {
        keys,
        signing_kid: Some(signing.to_owned()),
        ..config()
    }
}

fn fails(config: &Auth) -> SetupError {
    match Authenticator::new(config, clock(), Arc::new(SystemRandom)) {
        Ok(_) => panic!("a bad setup was accepted"),
        Err(error) => error,
    }
}

/// A token of good claims with another header and key.
fn forged(auth: &Authenticator, header: &Header, key: &EncodingKey) -> String {
    let token = auth.mint(subject(), Duration::from_secs(60)).unwrap();
    jsonwebtoken::encode(header, &auth.inspect(&token).unwrap(), key).unwrap()
}

fn header(algorithm: jsonwebtoken::Algorithm, kid: Option<&str>) -> Header {
    Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    }
}

#[tokio::test]
async fn each_algorithm_signs_and_every_key_verifies() {
    let (other, _) = set_up(&with_keys("hs"));
    for kid in ["hs", "rs", "es", "ed"] {
        let (auth, _) = set_up(&with_keys(kid));
        let token = auth.mint(subject(), Duration::from_secs(60)).unwrap();
        assert_eq!(
            jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(),
            Some(kid)
        );
        other.authenticate(&token).await.unwrap();
    }
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let (auth, _) = set_up(&with_keys("rs"));
    let public = std::fs::read(file("test-only-rs256.pub.pem")).unwrap();
    let header = header(jsonwebtoken::Algorithm::HS256, Some("rs"));
    let token = forged(&auth, &header, &EncodingKey::from_secret(&public));
    assert_eq!(auth.authenticate(&token).await, Err(AuthError::BadSignature));
}

#[tokio::test]
async fn a_token_without_kid_needs_the_default_key() {
    let (auth, _) = set_up(&with_keys("es"));
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let fits = forged(&auth, &header(jsonwebtoken::Algorithm::HS256, None), &secret);
    auth.authenticate(&fits).await.unwrap();
    let hs512 = forged(&auth, &header(jsonwebtoken::Algorithm::HS512, None), &secret);
    assert_eq!(auth.authenticate(&hs512).await, Err(AuthError::BadSignature));
    let pem = std::fs::read(file("test-only-es256.pem")).unwrap();
    let private = EncodingKey::from_ec_pem(&pem).unwrap();
    let es = forged(&auth, &header(jsonwebtoken::Algorithm::ES256, None), &private);
    assert_eq!(auth.authenticate(&es).await, Err(AuthError::BadSignature));
}

#[tokio::test]
async fn forged_and_broken_tokens_are_refused() {
    let (auth, _) = set_up(&config());
    let token = auth.mint(subject(), Duration::from_secs(60)).unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
    let critical = encode(r#"{"alg":"HS256","crit":["x"],"x":1}"#);
    let other_body = encode(r#"{"sub":"u2"}"#);
    for (token, error) in [
        (String::new(), AuthError::Malformed),
        ("a.b.c".to_owned(), AuthError::Malformed),
        (format!("{head}.{body}"), AuthError::Malformed),
        (format!("{token}.x"), AuthError::Malformed),
        (format!("{none}.{body}."), AuthError::Malformed),
        (format!("{none}.{body}.{signature}"), AuthError::Malformed),
        (format!("{critical}.{body}.{signature}"), AuthError::Malformed),
        ("x".repeat(MAX + 1), AuthError::Malformed),
        (
            format!("{head}.{other_body}.{signature}"),
            AuthError::BadSignature,
        ),
        (format!("{head}.{body}."), AuthError::BadSignature),
        (format!("{head}.{body}.!!"), AuthError::BadSignature),
    ] {
        assert_eq!(auth.authenticate(&token).await, Err(error), "{token}");
    }
    let wrong = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    let hs256 = jsonwebtoken::Algorithm::HS256;
    let bad = forged(&auth, &header(hs256, Some("default")), &wrong);
    assert_eq!(auth.authenticate(&bad).await, Err(AuthError::BadSignature));
    let unknown = forged(&auth, &header(hs256, Some("gone")), &wrong);
    assert_eq!(auth.authenticate(&unknown).await, Err(AuthError::UnknownKey));
}

const MAX: usize = 16 * 1024;

#[test]
fn without_a_secret_the_first_key_that_can_sign_signs() {
    let verify_only = SigningKey {
        private_key_file: None,
        ..key("rs", Algorithm::RS256)
    };
    let keys = vec![verify_only, key("ed", Algorithm::EdDSA)];
    let (auth, _) = set_up(&Auth {
        keys,
        ..Auth::default()
    });
    let token = auth.mint(subject(), Duration::from_secs(60)).unwrap();
    assert_eq!(
        jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(),
        Some("ed")
    );
}

#[tokio::test]
async fn a_key_that_is_taken_out_ends_what_it_signed_remembered_or_not() {
    let (auth, _) = set_up(&with_keys("es"));
    let pair = auth.login(subject()).await.unwrap();
    let unseen = auth.mint(subject(), Duration::from_secs(600)).unwrap();
    auth.authenticate(&pair.access_token).await.unwrap();

    // The signer changes, the old one still verifies.
    let change = auth.rotate_keys(&with_keys("ed")).unwrap();
    assert_eq!(
        change,
        KeyChange {
            signs: Some("ed".to_owned()),
            ..KeyChange::default()
        }
    );
    auth.authenticate(&pair.access_token).await.unwrap();
    assert_eq!(auth.confirm(&pair.identity).await, Ok(()));
    let newer = auth.login(subject()).await.unwrap();

    let mut without = with_keys("ed");
    without.keys.retain(|key| key.kid != "es");
    let change = auth.rotate_keys(&without).unwrap();
    assert_eq!(change.removed, ["es"]);
    assert!(change.added.is_empty() && change.signs.is_none());
    for token in [&pair.access_token, &unseen] {
        assert_eq!(auth.authenticate(token).await, Err(AuthError::UnknownKey));
    }
    assert_eq!(auth.confirm(&pair.identity).await, Err(AuthError::UnknownKey));
    assert!(!auth.knows_key(&pair.identity) && auth.knows_key(&newer.identity));
    let both = [pair.identity.clone(), newer.identity.clone()];
    assert_eq!(auth.confirm_many(&both).await, Ok(vec![false, true]));
    auth.authenticate(&newer.access_token).await.unwrap();
    // Refresh tokens are no key's work: the login itself stands.
    let again = auth.refresh(&pair.refresh_token, Some("phone")).await.unwrap();
    auth.authenticate(&again.access_token).await.unwrap();
}

#[tokio::test]
async fn the_same_name_with_other_material_is_another_key_and_a_file_wrapped_anew_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let [private, public] = ["private.pem", "public.pem"].map(|name| folder.path().join(name));
    let write = |from: &str, ends: &str| {
        for (path, name) in [
            (&private, format!("{from}.pem")),
            (&public, format!("{from}.pub.pem")),
        ] {
            let text = std::fs::read_to_string(file(&name)).unwrap();
            std::fs::write(path, text.replace('\n', ends)).unwrap();
        }
    };
    write("test-only-es256", "\n");
    let key = SigningKey {
        private_key_file: Some(private.clone()),
        public_key_file: Some(public.clone()),
        ..key("k", Algorithm::ES256)
    };
    let config = Auth {
        keys: vec![key],
        ..Auth::default()
    };
    let (auth, _) = set_up(&config);
    let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
    write("test-only-es256", "\r\n");
    assert!(auth.rotate_keys(&config).unwrap().is_empty());
    auth.authenticate(&token).await.unwrap();

    // Half a change is none: the keys do not belong together, and the former ones stay.
    std::fs::copy(file("test-only-es256-other.pub.pem"), &public).unwrap();
    assert!(matches!(
        auth.rotate_keys(&config),
        Err(SetupError::KeyMismatch(_))
    ));
    auth.authenticate(&token).await.unwrap();

    let hmac = |secret: &str| Auth {
        jwt_secret: Some(Secret::new(secret)),
        ..Auth::default()
    };
    let (auth, _) = set_up(&hmac(SECRET));
    let token = auth.mint(subject(), Duration::from_secs(600)).unwrap();
    let change = auth
        .rotate_keys(&hmac("another secret for tests, of 32 bytes"))
        .unwrap();
    assert_eq!(
        (change.added, change.removed),
        (vec!["default".to_owned()], vec!["default".to_owned()])
    );
    assert_eq!(auth.authenticate(&token).await, Err(AuthError::BadSignature));
    // The first key is back: it is not the one that was taken out, but the signature is good.
    auth.rotate_keys(&hmac(SECRET)).unwrap();
    auth.authenticate(&token).await.unwrap();
}

#[test]
fn a_bad_setup_is_told_at_start() {
    assert!(matches!(fails(&Auth::default()), SetupError::NoKey));
    assert!(matches!(fails(&with_keys("gone")), SetupError::SigningKey(_)));
    let with = |key| Auth {
        keys: vec![key],
        ..config()
    };
    let es = || key("es", Algorithm::ES256);
    assert!(matches!(
        fails(&with(key("default", Algorithm::HS256))),
        SetupError::DuplicateKey(_)
    ));
    let missing = SigningKey {
        public_key_file: None,
        ..es()
    };
    assert!(matches!(
        fails(&with(missing)),
        SetupError::KeyIncomplete {
            needs: "public_key_file",
            ..
        }
    ));
    let nowhere = SigningKey {
        public_key_file: Some(file("none.pem")),
        ..es()
    };
    assert!(matches!(fails(&with(nowhere)), SetupError::KeyFile { .. }));
    let no_pem = SigningKey {
        public_key_file: Some(file("README.md")),
        ..es()
    };
    assert!(matches!(fails(&with(no_pem)), SetupError::BadKey { .. }));
    let rsa = SigningKey {
        public_key_file: Some(file("test-only-rs256.pub.pem")),
        ..es()
    };
    assert!(matches!(fails(&with(rsa)), SetupError::BadKey { .. }));
    let other = SigningKey {
        public_key_file: Some(file("test-only-es256-other.pub.pem")),
        ..es()
    };
    assert!(matches!(fails(&with(other)), SetupError::KeyMismatch(_)));
}
