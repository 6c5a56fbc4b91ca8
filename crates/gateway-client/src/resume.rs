//! Saying at the handshake from which push on the gateway is to go on.

use std::fmt::Write as _;

use http::Uri;
use http::uri::PathAndQuery;

use crate::ClientError;

/// The URL with `last_push_id` in its query.
pub(crate) fn with_last_push_id(url: Uri, push_id: &str) -> Result<Uri, ClientError> {
    const UNUSABLE: ClientError = ClientError::Url("cannot take a query");
    let mut parts = url.into_parts();
    let before = parts.path_and_query.as_ref().map_or("/ws", PathAndQuery::as_str);
    let separator = if before.contains('?') { '&' } else { '?' };
    let with = format!("{before}{separator}last_push_id={}", encoded(push_id));
    parts.path_and_query = Some(with.parse().map_err(|_| UNUSABLE)?);
    Uri::from_parts(parts).map_err(|_| UNUSABLE)
}

/// RFC 3986, 2.1 and 2.3: everything but the unreserved characters by its bytes.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_encoded_and_joins_a_query_that_is_there() {
        for (url, expected) in [
            ("ws://h/ws", "/ws?last_push_id=a%20%26b-1%C3%A9"),
            ("ws://h:1/ws?x=1", "/ws?x=1&last_push_id=a%20%26b-1%C3%A9"),
            ("ws://h", "/?last_push_id=a%20%26b-1%C3%A9"),
        ] {
            let url = with_last_push_id(url.parse().unwrap(), "a &b-1é").unwrap();
            assert_eq!(url.path_and_query().unwrap().as_str(), expected);
        }
    }
}
