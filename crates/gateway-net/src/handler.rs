//! The traits a user of this crate implements: who may come in, and what happens on a socket.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};

use crate::outbound::Outbound;
use crate::protocol::Message;

/// Admits or refuses an opening handshake.
pub trait Acceptor: Send + Sync + 'static {
    /// What serves the connections that were admitted.
    type Handler: SessionHandler;

    /// Decides about one handshake. Called on the worker that accepted the socket; must not block.
    ///
    /// # Errors
    /// The refusal becomes the HTTP answer.
    fn accept(&self, handshake: &Handshake) -> Result<Accepted<Self::Handler>, Refusal>;
}

/// What a client said in its opening handshake. Path, version and upgrade headers were checked already.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The path, not decoded.
    pub path: String,
    /// The query without `?`, not decoded; empty when there was none.
    pub query: String,
    /// All headers of the request.
    pub headers: HeaderMap,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
}

impl Handshake {
    /// The sub-protocols that the client offers, in its order (RFC 6455, 11.3.4).
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.headers
            .get_all(::http::header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }
}

/// An admitted handshake.
///
/// The handler is dropped without a call when the client goes away before the upgrade is complete.
#[derive(Debug)]
pub struct Accepted<H> {
    /// Serves the connection.
    pub handler: H,
    /// The sub-protocol to answer with; must be one that was offered.
    pub subprotocol: Option<String>,
}

/// A refused handshake: the HTTP answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What the client is told, in a JSON body `{"code","message"}`.
    pub message: Cow<'static, str>,
    /// Sent as `Retry-After`, in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without `Retry-After`.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The same with `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

/// The life of one connection. Called on the worker that owns it, never concurrently; must not block,
/// since all other connections of that worker wait meanwhile.
///
/// `opened` comes first, `closed` last and exactly once, whatever ends the connection: the peer, an
/// error, [`Outbound::close`], a shutdown or a panic in here.
pub trait SessionHandler: Send + 'static {
    /// The connection is up.
    fn opened(&mut self, outbound: Outbound);

    /// One complete message: all its fragments, unmasked, text checked to be UTF-8. None comes after a
    /// close was asked for.
    fn message(&mut self, message: Message<'_>);

    /// Every frame given to [`Outbound::push`] with a ticket up to this one is in the socket's hands.
    fn written(&mut self, up_to: u64) {
        let _ = up_to;
    }

    /// The moment asked for by [`Outbound::wake_at`] has come.
    fn woken(&mut self) {}

    /// True: read no more until [`Outbound::resume_reading`]. Asked after each message.
    fn backlog(&self) -> bool {
        false
    }

    /// The connection is over; nothing is written any more.
    fn closed(&mut self, end: End);
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The close code: the peer's, ours, or 1005 and 1006 as in RFC 6455, 7.4.1.
    pub code: u16,
    /// Who ended it.
    pub reason: EndReason,
    /// The last ticket that was written; what came after it has not reached the peer.
    pub last_written: u64,
}

/// Who or what ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The peer sent a Close frame with this code (1005: without one).
    Peer(u16),
    /// [`Outbound::close`] or a shutdown.
    Local(u16),
    /// The peer went away without a Close frame.
    PeerGone,
    /// The peer was not heard of for 2.5 ping intervals.
    Timeout,
    /// The peer broke the protocol and was told so with this code.
    Protocol(u16),
    /// The socket failed.
    Io,
    /// The handler panicked.
    Panicked,
}
