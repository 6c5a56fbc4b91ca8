//! The keys that sign and verify access tokens, by name (`kid`).
//!
//! Each key has one algorithm and takes no token of another: a public RSA key must never serve as an HMAC secret
//! (RFC 8725, 3.1). `none` is no algorithm here.
//!
//! A ring is never changed: a rotation makes another one. A key keeps its [`KeyNumber`] from ring to ring while its name
//! and its material stay, so that a token checked once can be asked cheaply whether its key is still there.

use std::collections::HashMap;
use std::path::Path;

use gateway_config::{Algorithm as Configured, Auth, Secret, SigningKey};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::{AuthError, SetupError};

/// The `kid` of `auth.jwt_secret`.
const DEFAULT_KID: &str = "default";

/// Longest access token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Which key of this process's rings it is; from 1, never given to two keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyNumber(u32);

/// The keys. They are not shown: it has no `Debug`.
pub(crate) struct KeyRing {
    keys: HashMap<String, Key>,
    signer: Signer,
    /// The key of tokens that name none.
    default_kid: String,
    /// The last number that was given.
    last: u32,
}

/// How a ring differs from the one before it, by the keys' names. A key of the same name with other material is both
/// added and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Keys that verify from now on.
    pub added: Vec<String>,
    /// Keys that do not any more: what they signed is refused.
    pub removed: Vec<String>,
    /// The key that signs from now on, where it is another one.
    pub signs: Option<String>,
}

impl KeyChange {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

struct Key {
    number: KeyNumber,
    material: [u8; 32],
    verifier: DecodingKey,
    validation: Validation,
}

struct Signer {
    number: KeyNumber,
    header: Header,
    key: EncodingKey,
}

impl KeyRing {
    /// Reads all keys; the signer is `signing_kid`, else `jwt_secret`, else the first key that can sign.
    /// `former` is the ring that it follows.
    pub(crate) fn load(auth: &Auth, former: Option<&Self>) -> Result<Self, SetupError> {
        let mut keys: HashMap<String, Key> = HashMap::new();
        let mut last = former.map_or(0, |former| former.last);
        let mut signers = Vec::new();
        let own = auth
            .jwt_secret
            .as_ref()
            .map(|secret| Ok((DEFAULT_KID, hmac(secret))));
        let configured = auth.keys.iter().map(|key| Ok((key.kid.as_str(), read(key)?)));
        for loaded in own.into_iter().chain(configured) {
            let (kid, (algorithm, material, verifier, signer)) = loaded?;
            let known = former
                .and_then(|former| former.keys.get(kid))
                .filter(|key| key.material == material);
            let number = known.map_or_else(
                || {
                    last += 1;
                    KeyNumber(last)
                },
                |key| key.number,
            );
            let key = Key {
                number,
                material,
                verifier,
                validation: validation(algorithm),
            };
            if let Some(signer) = signer {
                let signer = Signer {
                    number,
                    header: header(algorithm, kid),
                    key: signer,
                };
                check_pair(kid, &signer, &key)?;
                signers.push(signer);
            }
            if keys.insert(kid.to_owned(), key).is_some() {
                return Err(SetupError::DuplicateKey(kid.to_owned()));
            }
        }
        let wanted = auth.signing_kid.as_deref();
        let at = signers
            .iter()
            .position(|signer| wanted.is_none_or(|kid| signer.header.kid.as_deref() == Some(kid)))
            .ok_or_else(|| wanted.map_or(SetupError::NoKey, |kid| SetupError::SigningKey(kid.to_owned())))?;
        let signer = signers.swap_remove(at);
        let default_kid = match (&auth.jwt_secret, &signer.header.kid) {
            (None, Some(kid)) => kid.clone(),
            _ => DEFAULT_KID.to_owned(),
        };
        Ok(Self {
            keys,
            signer,
            default_kid,
            last,
        })
    }

    /// How it differs from `former`.
    pub(crate) fn change_from(&self, former: &Self) -> KeyChange {
        let only = |one: &Self, other: &Self| {
            let mut names: Vec<String> = one
                .keys
                .iter()
                .filter(|(_, key)| !other.knows(key.number))
                .map(|(kid, _)| kid.clone())
                .collect();
            names.sort();
            names
        };
        KeyChange {
            added: only(self, former),
            removed: only(former, self),
            signs: (self.signer.number != former.signer.number)
                .then(|| self.signer.header.kid.clone())
                .flatten(),
        }
    }

    /// Whether a key is one of these.
    pub(crate) fn knows(&self, number: KeyNumber) -> bool {
        self.keys.values().any(|key| key.number == number)
    }

    /// The key that signs.
    pub(crate) fn signer(&self) -> KeyNumber {
        self.signer.number
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, AuthError> {
        jsonwebtoken::encode(&self.signer.header, claims, &self.signer.key).map_err(|error| {
            tracing::error!(%error, "the signing key failed");
            AuthError::CannotSign
        })
    }

    /// Checks the signature alone and gives the claims, of which nothing has been checked yet, and the key that signed.
    pub(crate) fn verify(&self, token: &str) -> Result<(Map<String, Value>, KeyNumber), AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Malformed)?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: extensions that must be understood, and none is.
            return Err(AuthError::Malformed);
        }
        let kid = header.kid.as_deref().unwrap_or(&self.default_kid);
        let key = self.keys.get(kid).ok_or(AuthError::UnknownKey)?;
        Ok((key.verify(token)?, key.number))
    }
}

impl Key {
    fn verify(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.verifier, &self.validation);
        decoded
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidToken | ErrorKind::Json(_) | ErrorKind::Utf8(_) => AuthError::Malformed,
                // A signature that is no base64 fits no less badly than one that is.
                _ => AuthError::BadSignature,
            })
    }
}

fn header(algorithm: Algorithm, kid: &str) -> Header {
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    header
}

/// The signature only: claims and times are checked by [`crate::claims`], with our own clock and our own errors.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

type Loaded = (Algorithm, [u8; 32], DecodingKey, Option<EncodingKey>);

fn hmac(secret: &Secret) -> Loaded {
    let secret = secret.expose().as_bytes();
    (
        Algorithm::HS256,
        material(Algorithm::HS256, secret.iter()),
        DecodingKey::from_secret(secret),
        Some(EncodingKey::from_secret(secret)),
    )
}

type Parse<T> = fn(&[u8]) -> jsonwebtoken::errors::Result<T>;

fn read(key: &SigningKey) -> Result<Loaded, SetupError> {
    let incomplete = |needs| SetupError::KeyIncomplete {
        kid: key.kid.clone(),
        needs,
    };
    let (algorithm, name, public, private): (_, _, Parse<DecodingKey>, Parse<EncodingKey>) =
        match key.algorithm {
            Configured::HS256 => return key.secret.as_ref().map(hmac).ok_or_else(|| incomplete("secret")),
            Configured::RS256 => (
                Algorithm::RS256,
                "RS256",
                DecodingKey::from_rsa_pem,
                EncodingKey::from_rsa_pem,
            ),
            Configured::ES256 => (
                Algorithm::ES256,
                "ES256",
                DecodingKey::from_ec_pem,
                EncodingKey::from_ec_pem,
            ),
            Configured::EdDSA => (
                Algorithm::EdDSA,
                "EdDSA",
                DecodingKey::from_ed_pem,
                EncodingKey::from_ed_pem,
            ),
        };
    let path = key
        .public_key_file
        .as_deref()
        .ok_or_else(|| incomplete("public_key_file"))?;
    let (text, verifier) = pem(path, name, public)?;
    let signer = key
        .private_key_file
        .as_deref()
        .map(|path| pem(path, name, private))
        .transpose()?
        .map(|(_, signer)| signer);
    // A file that was only wrapped anew holds the same key.
    let text = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    Ok((algorithm, material(algorithm, text), verifier, signer))
}

/// What a key verifies with, as something to compare.
fn material<'a>(algorithm: Algorithm, bytes: impl Iterator<Item = &'a u8>) -> [u8; 32] {
    let mut text = format!("{algorithm:?}:").into_bytes();
    text.extend(bytes);
    Sha256::digest(text).into()
}

fn pem<T>(path: &Path, algorithm: &'static str, parse: Parse<T>) -> Result<(Vec<u8>, T), SetupError> {
    let bytes = std::fs::read(path).map_err(|source| SetupError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    // The parser's own error is left out: it might quote the key.
    let key = parse(&bytes).map_err(|_| SetupError::BadKey {
        path: path.to_owned(),
        algorithm,
    })?;
    Ok((bytes, key))
}

/// Signs and verifies once at start, so that a wrong pair is found before the first login.
fn check_pair(kid: &str, signer: &Signer, key: &Key) -> Result<(), SetupError> {
    let mismatch = || SetupError::KeyMismatch(kid.to_owned());
    let token = jsonwebtoken::encode(&signer.header, &Value::Object(Map::new()), &signer.key);
    key.verify(&token.map_err(|_| mismatch())?)
        .map(drop)
        .map_err(|_| mismatch())
}
