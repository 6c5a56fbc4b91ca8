//! Tokens, keys and how long they live.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{ApiKey, SigningKey};
use crate::secret::Secret;
use crate::section::section;

section! {
    /// Tokens, keys and how long they live.
    pub struct Auth {
        /// Signs access tokens (HS256); at least 32 bytes. Left out, one of `keys` signs, or with `--dev` a secret
        /// made at start. Also accepted as `auth.secret_key`.
        "jwt_secret" => jwt_secret: Option<Secret> = None;
        /// `iss` of access tokens.
        "issuer" => issuer: String = "mychat-gateway".to_owned();
        /// `aud` of access tokens.
        "audience" => audience: String = "mychat-client".to_owned();
        /// Life of an access token.
        "token_expire_seconds" => token_expire: Duration = Duration::from_secs(86_400), 1..=31_536_000;
        /// Life of a refresh token.
        "refresh_expire_seconds" => refresh_expire: Duration = Duration::from_secs(30 * 86_400), 1..=315_360_000;
        /// Time that a new connection has to authenticate; then notice 408 and close 4408.
        "session_timeout_seconds" => session_timeout: Duration = Duration::from_secs(30), 1..=3_600;
        /// How long before its token's expiry a session gets the notice `token_expiring`.
        "token_expiring_notice_seconds" => token_expiring_notice: Duration = Duration::from_secs(60), 0..=86_400;
        /// Difference of clocks that is forgiven when times in tokens are checked.
        "leeway_seconds" => leeway: Duration = Duration::from_secs(5), 0..=60;
        /// Further keys by `kid`, so that they can be rotated.
        "keys" => keys: Vec<SigningKey> = Vec::new();
        /// The `kid` of the key that signs new tokens; left out, `jwt_secret` signs.
        "signing_kid" => signing_kid: Option<String> = None;
        /// Keys with the right of the admin role, sent as `X-API-Key`.
        "admin_keys" => admin_keys: Vec<ApiKey> = Vec::new();
        /// Keys of back ends, sent as `X-API-Key`.
        "service_keys" => service_keys: Vec<ApiKey> = Vec::new();
        /// DNS names (SAN): a client certificate on the gRPC listener that has one of them counts as a service key. It
        /// needs `server.grpc_tls.client_ca_path`.
        "service_certificates" => service_certificates: Vec<String> = Vec::new();
        /// How often keys and certificates are looked at for a change, in the main file and in those that it names.
        "key_check_seconds" => key_check: Duration = Duration::from_secs(15), 1..=30;
        /// File that keeps revocations over a restart; left out, a restart forgets them.
        "revocation_file" => revocation_file: Option<PathBuf> = None;
        /// How old the last check of a session's token may be for a command of normal sensitivity.
        "revocation_check_seconds" => revocation_check: Duration = Duration::from_secs(30), 1..=3_600;
    }
}
