//! One request: its body under a bound, its time under a deadline, its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::cors::Cors;
use super::{HttpRequest, HttpService, HttpSettings};
use crate::host;
use crate::metrics::HttpMetrics;
use crate::refuse::json_body;

/// How long and how far an oversized body is read away, so that its sender can read the 413.
const DRAIN: (Duration, usize) = (Duration::from_secs(1), 8 << 20);
/// Room made for a body ahead of its arrival, whatever length was announced.
const FIRST_BODY_BYTES: u64 = 16 * 1024;

/// What the connections of one server have in common.
pub(super) struct Exchange {
    pub(super) service: Arc<dyn HttpService>,
    pub(super) settings: HttpSettings,
    pub(super) cors: Cors,
    pub(super) metrics: HttpMetrics,
}

/// Why a body was not taken.
enum BodyError {
    TooLarge,
    TimedOut,
    Broken,
}

impl Exchange {
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        self.metrics.requests.increment(1);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut answer = if !host::is_valid(request.version(), request.headers()) {
            closing(StatusCode::BAD_REQUEST, host::RULE)
        } else if let Some(answer) = self.cors.preflight(request.method(), request.headers()) {
            answer
        } else {
            self.exchange(request, peer).await
        };
        self.cors.decorate(origin.as_ref(), answer.headers_mut());
        answer.map(Full::new)
    }

    async fn exchange(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        let deadline = Instant::now() + self.settings.timeout;
        let (parts, body) = request.into_parts();
        let waits = parts.headers.contains_key(header::EXPECT);
        let body = match self.read_body(body, deadline, waits).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => {
                self.metrics.too_large.increment(1);
                return closing(StatusCode::PAYLOAD_TOO_LARGE, "Too Large");
            }
            Err(BodyError::TimedOut) => {
                self.metrics.timeouts.increment(1);
                return closing(StatusCode::REQUEST_TIMEOUT, "Timeout");
            }
            Err(BodyError::Broken) => return closing(StatusCode::BAD_REQUEST, "Bad Request"),
        };
        let method = if parts.method == Method::HEAD {
            Method::GET
        } else {
            parts.method
        };
        let request = HttpRequest {
            method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            peer,
        };
        match tokio::time::timeout_at(deadline, self.service.call(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.metrics.timeouts.increment(1);
                plain(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout")
            }
        }
    }

    async fn read_body(
        &self,
        mut body: Incoming,
        deadline: Instant,
        waits: bool,
    ) -> Result<Bytes, BodyError> {
        let limit = self.settings.body_bytes;
        let announced = body.size_hint().lower();
        if announced > limit as u64 {
            // One that waits for "100 Continue" has sent nothing yet.
            if !waits {
                drain(&mut body).await;
            }
            return Err(BodyError::TooLarge);
        }
        let mut whole = BytesMut::with_capacity(announced.min(FIRST_BODY_BYTES) as usize);
        loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Err(_) => return Err(BodyError::TimedOut),
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(_))) => return Err(BodyError::Broken),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers are of no interest.
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > limit - whole.len() {
                drain(&mut body).await;
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(data);
        }
    }
}

async fn drain(body: &mut Incoming) {
    let (patience, most) = DRAIN;
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await
            && read < most
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever still sends after that will not read.
    let _ = tokio::time::timeout(patience, reading).await;
}

fn plain(status: StatusCode, message: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(json_body(status, message)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn closing(status: StatusCode, message: &str) -> Response<Bytes> {
    let mut answer = plain(status, message);
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
