//! What a WebSocket server is told: addresses, bounds and deadlines, each with its default here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gateway_config::{Limits, Server};

/// Settings of one [`WebSocketServer`](crate::WebSocketServer).
#[derive(Debug, Clone)]
pub struct WsSettings {
    /// Where to listen; port 0 lets the system choose. Default `0.0.0.0:8080`.
    pub address: SocketAddr,
    /// Worker threads; 0 means one per core. Default 0.
    pub workers: usize,
    /// Pin each worker to a core of its own where there are enough of them. Default true.
    pub pin_workers: bool,
    /// Sockets at once over all workers, handshakes included; 0 means what the file limit allows.
    /// Past it a client gets 503 with `Retry-After`. Default 0.
    pub max_connections: usize,
    /// Paths that upgrade; any other is 404. Default `/ws` and `/`.
    pub paths: Vec<String>,
    /// Bytes of one message, all its fragments together; past it close 1009. Default 1 MiB.
    pub max_message_bytes: usize,
    /// From accept to the end of the opening handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// Bytes of the handshake's head, at least 8 KiB (a floor of hyper's). Default 16 KiB.
    pub handshake_header_bytes: usize,
    /// Between two pings of the server; each connection takes 75 to 100 % of it. A peer not heard of
    /// for 2.5 intervals is dead. Zero: no pings and no such check. Default 25 s.
    pub ping_interval: Duration,
    /// Bytes that may wait to be written to one connection. Default 1 MiB.
    pub outbound_queue_bytes: usize,
    /// Frames that may wait to be written to one connection. Default 1,024.
    pub outbound_queue_frames: usize,
    /// Set `TCP_NODELAY`. Default true.
    pub tcp_nodelay: bool,
    /// Idle time before TCP keep-alive probes; `None` for none. Default 60 s.
    pub tcp_keepalive: Option<Duration>,
    /// Length of each listener's accept queue. Default 4,096.
    pub backlog: u32,
    /// Width of a bucket of the timing wheel: the resolution of every deadline of a connection.
    /// Default 250 ms.
    pub tick: Duration,
    /// How long a close may wait for the peer to take what is queued and the Close frame. Default 5 s.
    pub close_timeout: Duration,
    /// How long unread input is drained after our Close frame, so that its code arrives. Default 1 s.
    pub drain_timeout: Duration,
    /// How long a shutdown waits for the connections before it drops them. Default 5 s.
    pub shutdown_timeout: Duration,
    /// `Retry-After` of a refusal for lack of room. Default 5 s.
    pub retry_after: Duration,
}

impl Default for WsSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            workers: 0,
            pin_workers: true,
            max_connections: 0,
            paths: vec!["/ws".to_owned(), "/".to_owned()],
            max_message_bytes: 1 << 20,
            handshake_timeout: Duration::from_secs(10),
            handshake_header_bytes: 16 * 1024,
            ping_interval: Duration::from_secs(25),
            outbound_queue_bytes: 1 << 20,
            outbound_queue_frames: 1024,
            tcp_nodelay: true,
            tcp_keepalive: Some(Duration::from_secs(60)),
            backlog: 4096,
            tick: Duration::from_millis(250),
            close_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(1),
            shutdown_timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(5),
        }
    }
}

impl WsSettings {
    /// What the configuration says, the rest by default.
    #[must_use]
    pub fn from_config(server: &Server, limits: &Limits) -> Self {
        Self {
            address: SocketAddr::new(server.host, server.websocket_port),
            workers: server.worker_threads,
            max_connections: server.max_connections,
            max_message_bytes: limits.max_message_bytes,
            handshake_timeout: limits.handshake_timeout,
            handshake_header_bytes: limits.http_header_bytes,
            ping_interval: limits.ping_interval,
            outbound_queue_bytes: limits.outbound_queue_bytes,
            outbound_queue_frames: limits.outbound_queue_frames,
            tcp_nodelay: server.tcp_nodelay,
            tcp_keepalive: keepalive(server),
            ..Self::default()
        }
    }

    /// The number of workers to start, never 0.
    pub(crate) fn worker_count(&self) -> usize {
        if self.workers == 0 {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            self.workers
        }
    }
}

/// The configuration's 0 means none.
pub(crate) fn keepalive(server: &Server) -> Option<Duration> {
    (!server.tcp_keepalive.is_zero()).then_some(server.tcp_keepalive)
}
