//! Cross-origin resource sharing (WHATWG Fetch, 3.2): preflights are answered here, other answers get
//! their headers here.
//!
//! Credentials in the sense of cookies are never allowed: identity comes in `Authorization`.

use bytes::Bytes;
use gateway_config::{OriginPattern, WebOrigin};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::CorsSettings;

/// The rules, their header values made once.
pub(super) struct Cors {
    any: bool,
    origins: Vec<OriginPattern>,
    methods: HeaderValue,
    headers: HeaderValue,
    exposed: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    /// Names that no header can carry are left out.
    pub(super) fn new(settings: &CorsSettings) -> Self {
        let join = |names: &[String]| {
            HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        Self {
            any: settings.allowed_origins.contains(&OriginPattern::Any),
            origins: settings.allowed_origins.clone(),
            methods: join(&settings.allowed_methods),
            headers: join(&settings.allowed_headers),
            exposed: join(&settings.exposed_headers),
            max_age: HeaderValue::from(settings.max_age.as_secs()),
        }
    }

    /// The answer to a preflight, `None` for any other request.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Bytes>> {
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = headers.get(ORIGIN)?;
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        if self.allowed(origin).is_none() {
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return Some(answer);
        }
        let out = answer.headers_mut();
        out.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        out.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        out.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(answer)
    }

    /// Adds what lets the page at `origin` read an answer.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if !self.any && !self.origins.is_empty() {
            // Also without an origin: a cache must not serve this answer to one.
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            if !self.exposed.is_empty() {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
            }
        }
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        // As it was sent: a browser compares it byte by byte.
        OriginPattern::any_allows(&self.origins, &WebOrigin::parse(origin.as_bytes())).then(|| origin.clone())
    }
}
