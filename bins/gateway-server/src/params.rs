//! Parameters of a request, in its query and its headers, as text.
//!
//! Bytes that are not UTF-8 are an error and never replaced: with replacement characters two devices would become one.

use std::borrow::Cow;

use gateway_codec::{IdError, MAX_PUSH_ID_BYTES};
use http::HeaderMap;
use percent_encoding::percent_decode_str;

/// A parameter that cannot be used. Its text is for the client, and names the parameter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// Not text.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// Not an id of its kind.
    #[error("{0} {1}")]
    Id(&'static str, IdError),
}

/// The first value of `name` in a query string (`application/x-www-form-urlencoded`), decoded.
///
/// # Errors
/// Where the value is not UTF-8.
pub fn query(query: &str, name: &'static str) -> Result<Option<String>, ParamError> {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).is_some_and(|key| key == name) {
            return match decode(value) {
                Some(value) => Ok(Some(value.into_owned())),
                None => Err(ParamError::NotUtf8(name)),
            };
        }
    }
    Ok(None)
}

/// The value of a header that is there and not empty, as UTF-8.
///
/// # Errors
/// Where the value is not UTF-8.
pub fn header<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, ParamError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ParamError::NotUtf8(name))?;
    Ok((!text.is_empty()).then_some(text))
}

/// Checks the id of the last push that a client has: one longer than any push's is none.
///
/// # Errors
/// Where it is too long.
pub fn last_push_id(id: Option<String>) -> Result<Option<String>, ParamError> {
    let too_long = IdError::TooLong(MAX_PUSH_ID_BYTES);
    match id.filter(|id| !id.is_empty()) {
        Some(id) if id.len() > MAX_PUSH_ID_BYTES => Err(ParamError::Id("last_push_id", too_long)),
        id => Ok(id),
    }
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['+', '%']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_query_is_decoded_as_forms_are() {
        let text = "a=1&device_id=Pixel+7%20%E7%94%A8%2B&b&device_id=2&%66=x%3Dy&%ff=1";
        for (name, value) in [
            ("a", Some("1")),
            ("device_id", Some("Pixel 7 用+")),
            ("b", Some("")),
            ("f", Some("x=y")),
            ("c", None),
        ] {
            assert_eq!(query(text, name).unwrap().as_deref(), value, "{name}");
        }
        assert_eq!(query("x=%ff&a=100%", "a").unwrap().as_deref(), Some("100%"));
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_that_names_the_parameter() {
        let error = query("device_id=%ff", "device_id").unwrap_err();
        assert_eq!(error.to_string(), "device_id is not UTF-8");
        let mut headers = HeaderMap::new();
        headers.insert("x-device-id", HeaderValue::from_bytes("用户".as_bytes()).unwrap());
        headers.insert("x-platform", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(header(&headers, "X-Device-ID"), Ok(Some("用户")));
        assert_eq!(
            header(&headers, "X-Platform"),
            Err(ParamError::NotUtf8("X-Platform"))
        );
        assert_eq!(header(&headers, "X-Other"), Ok(None));
    }
}
