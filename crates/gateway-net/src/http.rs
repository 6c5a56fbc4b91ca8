//! HTTP/1.1 serving with bounds: heads, bodies, time, connections; cross-origin rules.
//!
//! Bodies are read whole before the service sees them and answers are whole: what is served here are
//! short JSON documents. Which paths exist is the service's business.

mod cors;
mod request;
mod server;
mod settings;
mod waiting;

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response, Uri};

pub use self::server::HttpServer;
pub use self::settings::{CorsSettings, HttpSettings};

/// Answers requests.
pub trait HttpService: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the client goes away or the time for the request
    /// is up (504).
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, Response<Bytes>>;
}

/// A request, its body read and within the bound.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method; a HEAD request comes as GET, and its answer goes out without the body.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
}

impl HttpRequest {
    /// The path, not decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query without `?`, not decoded; empty when there was none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}
