//! Bounds on what one client may send, hold and wait for.

use std::time::Duration;

use crate::section::section;

section! {
    /// Bounds on what one client may send, hold and wait for.
    pub struct Limits {
        /// Largest WebSocket message, all its fragments together; past it the connection closes with 1009.
        "max_message_bytes" => max_message_bytes: usize = 1_048_576, 1_024..=67_108_864;
        /// So many unreadable messages in a row close a connection (1008).
        "bad_messages" => bad_messages: u32 = 10, 1..=1_000;
        /// From accepting a connection to the end of its WebSocket handshake.
        "handshake_timeout_ms" => handshake_timeout: Duration = Duration::from_secs(10), 100..=120_000;
        /// Interval of pings, jittered; a peer silent for 2.5 of them is dead.
        "ping_interval_seconds" => ping_interval: Duration = Duration::from_secs(25), 1..=3_600;
        /// Bytes that may wait to be written to one client; more closes it with 4413.
        "outbound_queue_bytes" => outbound_queue_bytes: usize = 1_048_576, 4_096..=1_073_741_824;
        /// Frames that may wait to be written to one client.
        "outbound_queue_frames" => outbound_queue_frames: usize = 1_024, 8..=1_048_576;
        /// Commands that may wait while a session is being bound; more get 429.
        "commands_during_bind" => commands_during_bind: usize = 16, 0..=1_024;
        /// Commands of one session that may be unanswered; at the bound its socket is read no further.
        "commands_in_flight" => commands_in_flight: usize = 256, 1..=65_536;
        /// Largest body of an HTTP request.
        "http_body_bytes" => http_body_bytes: usize = 1_048_576, 1_024..=67_108_864;
        /// Largest head of an HTTP request or WebSocket handshake.
        "http_header_bytes" => http_header_bytes: usize = 16_384, 8_192..=1_048_576;
        /// A whole HTTP request, from its first byte to its answer.
        "http_timeout_ms" => http_timeout: Duration = Duration::from_secs(30), 100..=600_000;
        /// How long an HTTP connection is kept alive between requests. Longer than the idle timeout of a load balancer in
        /// front, which otherwise sends a request into a connection that is just being closed.
        "http_idle_timeout_seconds" => http_idle_timeout: Duration = Duration::from_secs(120), 1..=86_400;
        /// Most HTTP connections at once.
        "http_max_connections" => http_max_connections: usize = 10_000, 1..=1_000_000;
        /// A bind, the user service's answer included.
        "bind_timeout_ms" => bind_timeout: Duration = Duration::from_secs(10), 100..=120_000;
    }
}
