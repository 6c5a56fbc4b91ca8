//! The keys that sign and verify access tokens, by name (`kid`).
//!
//! Each key has one algorithm and takes no token of another: a public RSA key must never serve as an HMAC secret
//! (RFC 8725, 3.1). `none` is no algorithm here.

use std::collections::HashMap;
use std::path::Path;

use gateway_config::{Algorithm as Configured, Auth, Secret, SigningKey};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::error::{AuthError, SetupError};

/// The `kid` of `auth.jwt_secret`.
const DEFAULT_KID: &str = "default";

/// Longest access token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The keys. They are not shown: it has no `Debug`.
pub(crate) struct KeyRing {
    keys: HashMap<String, Key>,
    signer: Signer,
    /// The key of tokens that name none.
    default_kid: String,
}

struct Key {
    verifier: DecodingKey,
    validation: Validation,
}

struct Signer {
    header: Header,
    key: EncodingKey,
}

impl KeyRing {
    /// Reads all keys; the signer is `signing_kid`, else `jwt_secret`, else the first key that can sign.
    pub(crate) fn load(auth: &Auth) -> Result<Self, SetupError> {
        let mut keys = HashMap::new();
        let mut signers = Vec::new();
        let own = auth
            .jwt_secret
            .as_ref()
            .map(|secret| Ok((DEFAULT_KID, hmac(secret))));
        let configured = auth.keys.iter().map(|key| Ok((key.kid.as_str(), read(key)?)));
        for loaded in own.into_iter().chain(configured) {
            let (kid, (algorithm, verifier, signer)) = loaded?;
            let key = Key {
                verifier,
                validation: validation(algorithm),
            };
            if let Some(signer) = signer {
                let signer = Signer {
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
        })
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, AuthError> {
        jsonwebtoken::encode(&self.signer.header, claims, &self.signer.key).map_err(|error| {
            tracing::error!(%error, "the signing key failed");
            AuthError::CannotSign
        })
    }

    /// Checks the signature alone and gives the claims, of which nothing has been checked yet.
    pub(crate) fn verify(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
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
        key.verify(token)
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

type Loaded = (Algorithm, DecodingKey, Option<EncodingKey>);

fn hmac(secret: &Secret) -> Loaded {
    let secret = secret.expose().as_bytes();
    (
        Algorithm::HS256,
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
    let verifier = pem(path, name, public)?;
    let signer = key
        .private_key_file
        .as_deref()
        .map(|path| pem(path, name, private))
        .transpose()?;
    Ok((algorithm, verifier, signer))
}

fn pem<T>(path: &Path, algorithm: &'static str, parse: Parse<T>) -> Result<T, SetupError> {
    let bytes = std::fs::read(path).map_err(|source| SetupError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    // The parser's own error is left out: it might quote the key.
    parse(&bytes).map_err(|_| SetupError::BadKey {
        path: path.to_owned(),
        algorithm,
    })
}

/// Signs and verifies once at start, so that a wrong pair is found before the first login.
fn check_pair(kid: &str, signer: &Signer, key: &Key) -> Result<(), SetupError> {
    let mismatch = || SetupError::KeyMismatch(kid.to_owned());
    let token = jsonwebtoken::encode(&signer.header, &Value::Object(Map::new()), &signer.key);
    key.verify(&token.map_err(|_| mismatch())?)
        .map(drop)
        .map_err(|_| mismatch())
}
