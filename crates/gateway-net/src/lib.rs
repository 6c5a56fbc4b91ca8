//! Listeners, workers, WebSocket frames and HTTP serving of the gateway.
//!
//! One pinned single-threaded runtime per core accepts on its own `SO_REUSEPORT` listener. hyper does
//! the opening handshake; then the raw stream is taken out of it and a small task of ours owns the
//! connection: it reads into a buffer of its worker, cuts frames with a decoder that does no I/O
//! ([`protocol`]), hands complete messages to a [`SessionHandler`] and writes what has gathered in one
//! call.
//!
//! The crate knows no users, tokens or routes. What it calls is [`Acceptor`] (admit or refuse a
//! handshake), [`SessionHandler`] (the life of one socket) and [`HttpService`]; what it gives out is
//! [`Outbound`], the shared handle to one socket's bounded queue.
#![warn(missing_docs)]

mod accept;
mod connection;
mod file_limit;
mod handler;
mod host;
mod http;
mod metrics;
mod outbound;
pub mod protocol;
mod refuse;
mod settings;
mod socket;
mod streams;
mod tls;
mod websocket;
mod wheel;

pub use self::file_limit::{FileLimit, raise_file_limit};
pub use self::handler::{Accepted, Acceptor, End, EndReason, Handshake, Refusal, SessionHandler};
pub use self::http::{CorsSettings, HttpRequest, HttpServer, HttpService, HttpSettings};
pub use self::outbound::{Frame, FrameKind, Outbound, SendError};
pub use self::protocol::Message;
pub use self::settings::WsSettings;
pub use self::streams::{Arrival, StreamListener};
pub use self::tls::{ClientTls, ServerTls, TlsError, TlsFiles, Transport};
pub use self::websocket::{ServeError, ServerHandle, WebSocketServer, lone_connection};
