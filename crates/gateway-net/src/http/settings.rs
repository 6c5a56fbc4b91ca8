//! What an HTTP server is told, with the defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gateway_config::{Cors, Limits, OriginPattern, Server};

use crate::settings::keepalive;

/// Settings of one [`HttpServer`](crate::HttpServer).
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where to listen; port 0 lets the system choose. Default `0.0.0.0:8081`.
    pub address: SocketAddr,
    /// Connections at once; past it 503 with `Retry-After`. Default 10,000.
    pub max_connections: usize,
    /// Bytes of a request's head, at least 8 KiB (a floor of hyper's); past it 431. Default 16 KiB.
    pub header_bytes: usize,
    /// Bytes of a body; past it 413, also for a body without a length. Default 1 MiB.
    pub body_bytes: usize,
    /// From accept, or from the first byte of a later request, until the head has arrived. Default 15 s.
    pub header_timeout: Duration,
    /// How long a connection is kept alive between requests. Default 120 s, longer than the usual 60 s of load balancers.
    pub idle_timeout: Duration,
    /// For body and answer together: 408 while the body is awaited, 504 after it. Default 30 s.
    pub timeout: Duration,
    /// How long a shutdown waits for requests under way. Default 5 s.
    pub shutdown_timeout: Duration,
    /// `Retry-After` of a refusal for lack of room. Default 1 s.
    pub retry_after: Duration,
    /// Set `TCP_NODELAY`. Default true.
    pub tcp_nodelay: bool,
    /// Idle time before TCP keep-alive probes; `None` for none. Default 60 s.
    pub tcp_keepalive: Option<Duration>,
    /// Length of the accept queue. Default 1,024.
    pub backlog: u32,
    /// Cross-origin rules. Default: none, so that browsers keep other origins out.
    pub cors: CorsSettings,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8081)),
            max_connections: 10_000,
            header_bytes: 16 * 1024,
            body_bytes: 1 << 20,
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(120),
            timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
            tcp_nodelay: true,
            tcp_keepalive: Some(Duration::from_secs(60)),
            backlog: 1024,
            cors: CorsSettings::default(),
        }
    }
}

impl HttpSettings {
    /// What the configuration says, the rest by default.
    #[must_use]
    pub fn from_config(server: &Server, limits: &Limits, cors: &Cors) -> Self {
        Self {
            address: SocketAddr::new(server.host, server.http_port),
            max_connections: limits.http_max_connections,
            header_bytes: limits.http_header_bytes,
            body_bytes: limits.http_body_bytes,
            timeout: limits.http_timeout,
            idle_timeout: limits.http_idle_timeout,
            tcp_nodelay: server.tcp_nodelay,
            tcp_keepalive: keepalive(server),
            cors: CorsSettings {
                allowed_origins: cors.allowed_origins.clone(),
                max_age: cors.max_age,
                ..CorsSettings::default()
            },
            ..Self::default()
        }
    }
}

/// Cross-origin rules (WHATWG Fetch, 3.2).
#[derive(Debug, Clone)]
pub struct CorsSettings {
    /// Origins of pages that may read answers. Empty: none, and no header is sent.
    pub allowed_origins: Vec<OriginPattern>,
    /// Methods that may be used. Default GET, HEAD, POST, PUT, PATCH, DELETE.
    pub allowed_methods: Vec<String>,
    /// Headers that may be sent. Default Authorization, Content-Type, X-Device-ID, X-Platform, X-API-Key.
    pub allowed_headers: Vec<String>,
    /// Headers that a page may read. Default Retry-After, X-Request-ID.
    pub exposed_headers: Vec<String>,
    /// How long a browser may keep a preflight's answer. Default 10 minutes.
    pub max_age: Duration,
}

impl Default for CorsSettings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            allowed_origins: Vec::new(),
            allowed_methods: list(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
            allowed_headers: list(&[
                "Authorization",
                "Content-Type",
                "X-Device-ID",
                "X-Platform",
                "X-API-Key",
            ]),
            exposed_headers: list(&["Retry-After", "X-Request-ID"]),
            max_age: Duration::from_secs(600),
        }
    }
}
