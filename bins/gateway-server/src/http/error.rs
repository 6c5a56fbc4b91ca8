//! Errors as HTTP responses: `{"code","message","err_msg","request_id"}` under the code's status.

use bytes::Bytes;
use gateway_codec::RequestId;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::fault::Fault;

/// The response for a fault.
pub fn failure(fault: &Fault, request_id: &RequestId) -> Response<Bytes> {
    let code = fault.code();
    let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error(status, code.text(), &fault.told(), request_id);
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// 405 for a path that takes the methods `allowed` alone. HTTP only: commands have no methods, so no [`Code`] stands for it.
///
/// [`Code`]: gateway_codec::Code
pub fn method_not_allowed(allowed: &str, request_id: &RequestId) -> Response<Bytes> {
    let told = format!("this path takes {allowed}");
    let mut response = error(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method Not Allowed",
        &told,
        request_id,
    );
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

fn error(status: StatusCode, message: &str, told: &str, request_id: &RequestId) -> Response<Bytes> {
    let body = json!({
        "code": status.as_u16(),
        "message": message,
        "err_msg": told,
        "request_id": request_id.to_string(),
    });
    super::json(status, body.to_string())
}
