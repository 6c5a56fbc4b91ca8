//! The opening handshake (RFC 6455, 4.2): hyper reads the request, we decide, and the raw stream is
//! taken out again.
//!
//! What hyper needs is dropped with the handshake's task; the connection gets a small task of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::answer::{Withheld, switching_protocols};
use super::worker::{Permit, WorkerState};
use crate::connection::{Connection, Stream};
use crate::handler::{Accepted, Acceptor, Handshake, Refusal};
use crate::host;
use crate::metrics::Refused;
use crate::outbound::Shared;
use crate::refuse::{json_body, whole_seconds};
use crate::settings::WsSettings;
use crate::tls::ServerTls;

/// The least that hyper takes for its buffer.
const LEAST_HEADER_BYTES: usize = 8192;

/// Does handshakes for one worker.
pub(super) struct Handshaker<A> {
    acceptor: Arc<A>,
    settings: Arc<WsSettings>,
    state: Arc<WorkerState>,
    tasks: TaskTracker,
}

/// An admitted client, and the 101 that it gets.
struct Admitted<H> {
    upgrade: OnUpgrade,
    handler: H,
    response: BytesMut,
}

/// A client that is not let in.
struct Denied {
    why: Refused,
    answer: Answer,
}

type Answer = Response<Full<Bytes>>;
type Decision<H> = Result<(Answer, Admitted<H>), Box<Denied>>;

impl<A: Acceptor> Handshaker<A> {
    pub(super) fn new(
        acceptor: Arc<A>,
        settings: Arc<WsSettings>,
        state: Arc<WorkerState>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            acceptor,
            settings,
            state,
            tasks,
        }
    }

    /// Serves one accepted socket up to its upgrade or refusal.
    pub(super) async fn run(&self, stream: TcpStream, peer: SocketAddr, permit: Permit) {
        self.upgrade(stream, peer, permit, self.deadline()).await;
    }

    /// The same with TLS before it, within the same time.
    pub(super) async fn run_tls(&self, tls: &ServerTls, stream: TcpStream, peer: SocketAddr, permit: Permit) {
        let deadline = self.deadline();
        let metrics = self.state.metrics();
        match tokio::time::timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.upgrade(Box::new(stream), peer, permit, deadline).await,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                metrics.refused(Refused::Broken);
            }
            Err(_) => metrics.refused(Refused::Timeout),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.handshake_timeout
    }

    async fn upgrade<S: Stream>(&self, stream: S, peer: SocketAddr, permit: Permit, deadline: Instant) {
        let admitted = Mutex::new(None);
        let upgraded = tokio::time::timeout_at(deadline, async {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = self.answer(request, peer, &admitted);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.settings.handshake_timeout)
                .max_buf_size(self.settings.handshake_header_bytes.max(LEAST_HEADER_BYTES))
                // One request a connection: a refused client opens another.
                .keep_alive(false)
                .serve_connection(TokioIo::new(Withheld::new(stream)), service)
                .with_upgrades()
                .await;
            let Some(Admitted {
                upgrade,
                handler,
                response,
            }) = take(&admitted)
            else {
                return served.map(|()| None);
            };
            upgrade.await.map(|upgraded| Some((upgraded, handler, response)))
        })
        .await;
        let metrics = self.state.metrics();
        let (upgraded, handler, response) = match upgraded {
            Ok(Ok(Some(upgraded))) => upgraded,
            // Refused, and counted where that was decided.
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "handshake failed");
                return metrics.refused(Refused::Broken);
            }
            Err(_) => return metrics.refused(Refused::Timeout),
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Withheld<S>>>() else {
            return metrics.refused(Refused::Broken);
        };
        metrics.handshakes.increment(1);
        let shared = Arc::new(Shared::new(peer, Arc::clone(&self.state)));
        self.tasks.spawn(Connection::new(
            parts.io.into_inner().into_stream(),
            response,
            &parts.read_buf,
            handler,
            shared,
            permit,
        ));
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        admitted: &Mutex<Option<Admitted<A::Handler>>>,
    ) -> Answer {
        match self.decide(request, peer) {
            Ok((answer, accepted)) => {
                *admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
                answer
            }
            Err(denied) => {
                self.state.metrics().refused(denied.why);
                denied.answer
            }
        }
    }

    fn decide(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Decision<A::Handler> {
        check(&request, &self.settings.paths)?;
        let upgrade = hyper::upgrade::on(&mut request);
        // Computes Sec-WebSocket-Accept; the stream comes by the upgrade taken above.
        let Ok((answer, _)) = fastwebsockets::upgrade::upgrade(&mut request) else {
            return denied(Refused::Upgrade, bad_request("this is not a WebSocket handshake"));
        };
        let (parts, _) = request.into_parts();
        let handshake = Handshake {
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            peer,
        };
        let Accepted { handler, subprotocol } = match self.acceptor.accept(&handshake) {
            Ok(accepted) => accepted,
            Err(refusal) => return denied(Refused::Acceptor, refused(refusal)),
        };
        if subprotocol
            .as_deref()
            .is_some_and(|chosen| HeaderValue::from_str(chosen).is_err())
        {
            return denied(
                Refused::Acceptor,
                bad_request("Sec-WebSocket-Protocol is not valid"),
            );
        }
        let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let response = switching_protocols(accept, subprotocol.as_deref());
        let admitted = Admitted {
            upgrade,
            handler,
            response,
        };
        Ok((answer.map(|_| Full::default()), admitted))
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// An `Err`, boxed since it is far larger than what it stands beside.
fn denied<T>(why: Refused, answer: Answer) -> Result<T, Box<Denied>> {
    Err(Box::new(Denied { why, answer }))
}

/// Checks what does not depend on the client's identity.
fn check<B: Body>(request: &Request<B>, paths: &[String]) -> Result<(), Box<Denied>> {
    let headers = request.headers();
    if !host::is_valid(request.version(), headers) {
        return denied(Refused::Upgrade, bad_request(host::RULE));
    }
    if !is_served(request.uri().path(), paths) {
        return denied(Refused::Path, plain(StatusCode::NOT_FOUND, "Not Found"));
    }
    if request.method() != Method::GET {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        answer
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return denied(Refused::Upgrade, answer);
    }
    if !fastwebsockets::upgrade::is_upgrade_request(request) || request.version() < Version::HTTP_11 {
        return denied(Refused::Upgrade, upgrade_required());
    }
    if !request.body().is_end_stream() {
        // Its bytes would be read as frames.
        return denied(Refused::Upgrade, bad_request("a handshake has no body"));
    }
    match only(headers, header::SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => {}
        Some(_) => return denied(Refused::Version, upgrade_required()),
        None => {
            return denied(
                Refused::Version,
                bad_request("Sec-WebSocket-Version is missing or stands twice"),
            );
        }
    }
    if !only(headers, header::SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes())) {
        return denied(
            Refused::Upgrade,
            bad_request("Sec-WebSocket-Key is not 16 bytes in base64"),
        );
    }
    Ok(())
}

/// Whether `path` is one of `paths`, with or without a slash at its end.
fn is_served(path: &str, paths: &[String]) -> bool {
    let served = |path| paths.iter().any(|served| served == path);
    served(path) || path.strip_suffix('/').is_some_and(served)
}

/// The value of a header that stands exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// 16 bytes in base64: 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.split_last_chunk::<2>(), Some((body, b"==")) if body.len() == 22 && body.iter().all(plain))
}

fn upgrade_required() -> Answer {
    let mut answer = plain(StatusCode::UPGRADE_REQUIRED, "Upgrade Required");
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade, close"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    answer
}

fn refused(refusal: Refusal) -> Answer {
    // A refusal that says "switching protocols" would leave hyper waiting for an upgrade.
    let status = if refusal.status.is_informational() {
        StatusCode::FORBIDDEN
    } else {
        refusal.status
    };
    let mut answer = plain(status, &refusal.message);
    if let Some(after) = refusal.retry_after {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    answer
}

fn bad_request(message: &str) -> Answer {
    plain(StatusCode::BAD_REQUEST, message)
}

fn plain(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::from(json_body(status, message)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_of_a_path_makes_no_difference() {
        let paths = ["/ws".to_owned(), "/".to_owned()];
        for path in ["/ws", "/ws/", "/"] {
            assert!(is_served(path, &paths), "{path}");
        }
        for path in ["", "/w", "/ws//", "/ws/x"] {
            assert!(!is_served(path, &paths), "{path}");
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            &b""[..],
            b"==",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25j\xff\xff==",
            b"AAAA==",
        ] {
            assert!(!is_key(key), "{key:?}");
        }
    }
}
