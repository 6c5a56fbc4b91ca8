//! Keys as a configuration gives them: for signing tokens, and API keys.
//!
//! Files are named here and read by whoever uses them.

use std::fmt::Write as _;
use std::path::PathBuf;

use figment::value::Value;
use serde_json::Value as Json;

use crate::error::ErrorKind;
use crate::reading::{Place, Reading};
use crate::secret::{HIDDEN, Secret};
use crate::section::{names, section};
use crate::setting::{Secrets, Setting, Unit, text_of};

names! {
    /// Signature algorithm of access tokens (RFC 7518, RFC 8037).
    pub enum Algorithm, "algorithm" {
        /// HMAC with SHA-256.
        "HS256" => HS256,
        /// RSA PKCS#1 v1.5 with SHA-256.
        "RS256" => RS256,
        /// ECDSA on P-256 with SHA-256.
        "ES256" => ES256,
        /// Ed25519.
        "EdDSA" => EdDSA,
    }
}

section! {
    /// A key that signs or verifies access tokens.
    pub struct SigningKey {
        /// Required: name of the key, in the header of the tokens that it signed.
        "kid" => kid: String = String::new();
        /// Signature algorithm.
        "algorithm" => algorithm: Algorithm = Algorithm::HS256;
        /// Secret of an HS256 key; at least 32 bytes.
        "secret" => secret: Option<Secret> = None;
        /// PEM file of the private key, needed only by the key that signs.
        "private_key_file" => private_key_file: Option<PathBuf> = None;
        /// PEM file of the public key.
        "public_key_file" => public_key_file: Option<PathBuf> = None;
    }
}

/// An API key as configured.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// The key itself.
    Plain(Secret),
    /// SHA-256 of the key (`sha256:<64 hex digits>`).
    Sha256([u8; 32]),
    /// A file that holds the key (`file:<path>`).
    File(PathBuf),
}

impl Setting for ApiKey {
    fn type_name(_: Unit) -> String {
        "key: plain text, sha256:<hex> or file:<path>".to_owned()
    }

    fn read(value: &Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = text_of(
            value,
            place,
            reading,
            "a key: plain text, sha256:<hex> or file:<path>",
        )?;
        if let Some(hex) = text.strip_prefix("sha256:") {
            let hash = parse_hash(hex.trim());
            if hash.is_none() {
                let what = "`sha256:` must be followed by 64 hex digits".to_owned();
                reading.fault(place, value, ErrorKind::Invalid(what));
            }
            return hash.map(Self::Sha256);
        }
        let (key, what) = match text.strip_prefix("file:") {
            Some(path) => (Self::File(path.into()), path),
            None => (Self::Plain(Secret::new(text.clone())), text.as_str()),
        };
        if what.is_empty() {
            reading.fault(place, value, ErrorKind::Invalid("must not be empty".to_owned()));
            return None;
        }
        Some(key)
    }

    fn show(&self, _: Unit, secrets: Secrets) -> Json {
        Json::String(match (self, secrets) {
            (Self::File(path), _) => format!("file:{}", path.display()),
            (Self::Plain(key), Secrets::Plain) => key.expose().to_owned(),
            (Self::Sha256(hash), Secrets::Plain) => {
                hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                })
            }
            (Self::Plain(_), Secrets::Hidden) => HIDDEN.to_owned(),
            (Self::Sha256(_), Secrets::Hidden) => format!("sha256:{HIDDEN}"),
        })
    }
}

fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}
