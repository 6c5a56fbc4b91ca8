//! The crate's metrics: names in one place, handles kept, so that counting on the hot path is an
//! addition and not a look-up.

use metrics::{Counter, Gauge, counter, gauge};

use crate::handler::EndReason;

/// Counters of a WebSocket server; cloned handles are shared by its workers.
#[derive(Clone)]
pub(crate) struct WsMetrics {
    pub(crate) connections: Gauge,
    pub(crate) handshakes: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) messages_in: Counter,
    pub(crate) messages_out: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) pings: Counter,
    pub(crate) accept_errors: Counter,
    refused: [Counter; Refused::ALL.len()],
    ended: [Counter; 7],
}

/// Why no connection came of a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Full,
    Path,
    Upgrade,
    Version,
    Acceptor,
    Timeout,
    Broken,
}

impl Refused {
    const ALL: [(Self, &str); 7] = [
        (Self::Full, "full"),
        (Self::Path, "path"),
        (Self::Upgrade, "upgrade"),
        (Self::Version, "version"),
        (Self::Acceptor, "acceptor"),
        (Self::Timeout, "timeout"),
        (Self::Broken, "broken"),
    ];
}

const ENDS: [&str; 7] = ["peer", "local", "gone", "timeout", "protocol", "io", "panicked"];

impl WsMetrics {
    pub(crate) fn new() -> Self {
        Self {
            connections: gauge!("gateway_ws_connections"),
            handshakes: counter!("gateway_ws_handshakes_total"),
            bytes_in: counter!("gateway_ws_bytes_total", "direction" => "in"),
            bytes_out: counter!("gateway_ws_bytes_total", "direction" => "out"),
            messages_in: counter!("gateway_ws_messages_total", "direction" => "in"),
            messages_out: counter!("gateway_ws_messages_total", "direction" => "out"),
            queue_full: counter!("gateway_ws_queue_full_total"),
            pings: counter!("gateway_ws_pings_total"),
            accept_errors: counter!("gateway_ws_accept_errors_total"),
            refused: Refused::ALL.map(|(_, why)| counter!("gateway_ws_refused_total", "why" => why)),
            ended: ENDS.map(|how| counter!("gateway_ws_ended_total", "how" => how)),
        }
    }

    pub(crate) fn refused(&self, why: Refused) {
        self.refused[why as usize].increment(1);
    }

    pub(crate) fn ended(&self, reason: EndReason) {
        let index = match reason {
            EndReason::Peer(_) => 0,
            EndReason::Local(_) => 1,
            EndReason::PeerGone => 2,
            EndReason::Timeout => 3,
            EndReason::Protocol(_) => 4,
            EndReason::Io => 5,
            EndReason::Panicked => 6,
        };
        self.ended[index].increment(1);
    }
}

/// Counters of an HTTP server.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    pub(crate) connections: Gauge,
    pub(crate) requests: Counter,
    pub(crate) full: Counter,
    pub(crate) tls: Counter,
    pub(crate) too_large: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) accept_errors: Counter,
}

impl HttpMetrics {
    pub(crate) fn new() -> Self {
        Self {
            connections: gauge!("gateway_http_connections"),
            requests: counter!("gateway_http_requests_total"),
            full: counter!("gateway_http_refused_total", "why" => "full"),
            tls: counter!("gateway_http_refused_total", "why" => "tls"),
            too_large: counter!("gateway_http_refused_total", "why" => "too_large"),
            timeouts: counter!("gateway_http_refused_total", "why" => "timeout"),
            accept_errors: counter!("gateway_http_accept_errors_total"),
        }
    }
}
