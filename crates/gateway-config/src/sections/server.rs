//! Where the gateway listens, and who may call it from a browser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::section::section;
use crate::web_origin::OriginPattern;

section! {
    /// Listeners and the threads behind them.
    pub struct Server {
        /// Address that all listeners bind to.
        "host" => host: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        /// Port for clients over WebSocket; 0 takes a free one.
        "websocket_port" => websocket_port: u16 = 8080, 0..=65_535;
        /// Port of the HTTP API; 0 takes a free one.
        "http_port" => http_port: u16 = 8081, 0..=65_535;
        /// Port of gRPC for back ends and other nodes; 0 takes a free one.
        "grpc_port" => grpc_port: u16 = 8082, 0..=65_535;
        /// Threads that serve connections; 0 is one per core.
        "worker_threads" => worker_threads: usize = 0, 0..=1_024;
        /// Most client connections at once; 0 is as many as the limit of open files allows.
        "max_connections" => max_connections: usize = 0, 0..=100_000_000;
        /// TLS on the WebSocket and the HTTP listener; with `--dev` they stay plain. `metrics_address` is always plain. The
        /// files are read again as those of `grpc_tls` are.
        "ssl_enabled" => ssl_enabled: bool = false;
        /// Certificate chain, PEM.
        "ssl_cert_path" => ssl_cert_path: Option<PathBuf> = None;
        /// Private key of the certificate, PEM.
        "ssl_key_path" => ssl_key_path: Option<PathBuf> = None;
        /// TLS on the gRPC listener; left out, it is plain.
        "grpc_tls" => grpc_tls: Option<GrpcTls> = None;
        /// Sends small segments at once (TCP_NODELAY).
        "tcp_nodelay" => tcp_nodelay: bool = true;
        /// Idle time before TCP keep-alive probes; 0 sends none.
        "tcp_keepalive_seconds" => tcp_keepalive: Duration = Duration::from_secs(60), 0..=32_767;
        /// An address of its own for `/metrics`, `/livez` and `/readyz`, which then leave the HTTP port.
        "metrics_address" => metrics_address: Option<SocketAddr> = None;
    }
}

section! {
    /// TLS on the gRPC listener, and towards other nodes. The files are read again while the gateway runs: every
    /// `auth.key_check_seconds`, and on a reload of `auth`.
    pub struct GrpcTls {
        /// Required: certificate chain of this node, PEM, its own certificate first.
        "cert_path" => cert_path: Option<PathBuf> = None;
        /// Required: private key of the certificate, PEM.
        "key_path" => key_path: Option<PathBuf> = None;
        /// Certificates that sign those of back ends and of other nodes, PEM. Left out, certificates of clients are not
        /// asked for.
        "client_ca_path" => client_ca_path: Option<PathBuf> = None;
        /// Turns away at the handshake who shows no certificate. Otherwise such a caller needs a service key, or the
        /// cluster's secret.
        "require_client_cert" => require_client_cert: bool = false;
    }
}

section! {
    /// Web pages of other origins, at the WebSocket handshake and at the HTTP API (Fetch standard, CORS).
    pub struct Cors {
        /// Origins of pages that may call, beside pages of the host that the request is sent to (its `Host` header). A page
        /// of another origin gets 403 at the handshake; native apps (no origin, or another scheme than http and https) are
        /// not asked. `https://chat.example.com` is one origin, `https://*.example.com` every name below `example.com` but
        /// not itself, `null` a page without an origin (a file, a sandboxed frame), `*` any. Behind a proxy that does not
        /// pass `Host` on, list the page's own origin. With `--dev` any page may call.
        "allowed_origins" => allowed_origins: Vec<OriginPattern> = Vec::new();
        /// How long a browser may keep the answer to a preflight request.
        "max_age_seconds" => max_age: Duration = Duration::from_secs(600), 0..=86_400;
    }
}
