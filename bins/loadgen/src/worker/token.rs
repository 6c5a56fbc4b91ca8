//! Access tokens of the load's users: whoever holds a signing key may mint them (contract section 5).

use std::time::Duration;

use anyhow::{Context as _, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::clock::Moment;

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    username: &'a str,
    jti: &'a str,
    iat: u64,
    exp: u64,
    device_id: &'a str,
    platform: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    roles: [&'a str; 0],
}

/// An HS256 token for one user on one device.
///
/// # Errors
/// None for any key and any names.
pub(super) fn mint(
    key: &EncodingKey,
    user: &str,
    device_id: &str,
    platform: &str,
    now: Moment,
) -> Result<String> {
    let seconds = now.0 / 1_000_000_000;
    let jti = format!("{device_id}-{:x}", now.0);
    let claims = Claims {
        iss: "mychat-gateway",
        aud: "mychat-client",
        sub: user,
        username: user,
        jti: &jti,
        iat: seconds,
        exp: seconds + LIFETIME.as_secs(),
        device_id,
        platform,
        kind: "access",
        roles: [],
    };
    encode(&Header::new(Algorithm::HS256), &claims, key).context("signing a token")
}
