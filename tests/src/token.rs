//! Access tokens minted by hand, as any holder of the signing key may.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::stack::SECRET;

/// Claims of a token that is good for the gateway under test.
pub fn claims(user: &str, device: &str, platform: &str) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let jti = format!(
        "{:08x}-{now}",
        crc32fast::hash(format!("{user}\0{device}").as_bytes())
    );
    json!({
        "iss": "mychat-gateway", "aud": "mychat-client", "sub": user, "jti": jti,
        "iat": now, "exp": now + 600, "username": user, "device_id": device, "platform": platform,
        "type": "access", "roles": [],
    })
}

/// A token signed with the secret of the gateway under test.
pub fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}
