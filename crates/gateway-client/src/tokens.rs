//! What a login gave: kept to come back with, never shown.

use std::fmt;

use serde::Deserialize;

/// An access token and, where the login gave one, the refresh token beside it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Tokens {
    /// The JWT for `Authorization` and command 1002.
    #[serde(rename = "token")]
    pub access: String,
    /// Opaque; spent by its first use.
    #[serde(rename = "refresh_token")]
    pub refresh: Option<String>,
    /// Seconds until the access token expires, counted from the reply; 0 where it is not known.
    #[serde(default)]
    pub expires_in: u64,
}

impl Tokens {
    /// From a reply's data; `None` where it has no access token.
    pub(crate) fn deserialize_from(data: &serde_json::Value) -> Option<Self> {
        Self::deserialize(data).ok()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token() {
        let tokens: Tokens = serde_json::from_str(
            r#"{"token":"s3cret","refresh_token":"m0re","expires_in":60,"user_info":{}}"#,
        )
        .unwrap();
        let shown = format!("{tokens:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("m0re") && shown.contains("60"),
            "{shown}"
        );
    }
}
