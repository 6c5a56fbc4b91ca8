//! A fault as an HTTP response.

use bytes::Bytes;
use gateway_codec::RequestId;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::fault::Fault;

/// `{"code","message","err_msg","request_id"}` under the status of the fault's code.
pub fn failure(fault: &Fault, request_id: &RequestId) -> Response<Bytes> {
    let code = fault.code();
    let body = json!({
        "code": code.json(),
        "message": code.text(),
        "err_msg": fault.told(),
        "request_id": request_id.to_string(),
    });
    let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = super::json(status, body.to_string());
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
