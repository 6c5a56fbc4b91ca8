//! The shared handle to one connection: what others may do to it, from any thread.
//!
//! Sending appends to a queue and wakes the connection's task once, however much is appended before
//! it runs; the task writes all of it in one call. The queue does not exist before its first frame.

mod dirty;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use self::dirty::Dirty;
pub(crate) use self::shared::{Feed, Shared};

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A text frame; its payload must be UTF-8.
    Text,
    /// A binary frame.
    Binary,
}

/// One whole message to a peer. The payload is shared, not copied, when it is cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Text or binary.
    pub kind: FrameKind,
    /// What it says.
    pub payload: Bytes,
}

impl Frame {
    /// A text frame.
    pub fn text(payload: impl Into<Bytes>) -> Self {
        Self {
            kind: FrameKind::Text,
            payload: payload.into(),
        }
    }

    /// A binary frame.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self {
            kind: FrameKind::Binary,
            payload: payload.into(),
        }
    }
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection is closed or closing.
    #[error("connection is closed")]
    Closed,
    /// The queue is at its bound of bytes or frames; the frame was not queued. What to do about the
    /// slow peer is the caller's decision.
    #[error("outbound queue is full")]
    Full,
}

/// A push that is written at the next flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// As [`Outbound::push`] gives it.
    pub ticket: u64,
    /// The first on its worker since the last flush: whoever made it has to call [`Outbound::flush`] in the end.
    pub first: bool,
}

/// A handle to one connection, cheap to clone, usable from any thread and after its end.
#[derive(Clone)]
pub struct Outbound(Arc<Shared>);

impl Outbound {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Queues a reply or a notice; these go before all pushes.
    ///
    /// A single frame over the bound is taken when nothing else waits. This lane may fill an eighth
    /// more than [`push`](Self::push), so that a notice still fits behind too many pushes.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, frame: Frame) -> Result<(), SendError> {
        self.0.send(frame)
    }

    /// Queues a push and gives its ticket: 1, 2, 3 … in the order in which they are written. See
    /// [`SessionHandler::written`](crate::SessionHandler::written) and [`End`](crate::End).
    ///
    /// # Errors
    /// [`SendError`]; no ticket is used up.
    pub fn push(&self, frame: Frame) -> Result<u64, SendError> {
        self.0.push(frame)
    }

    /// As [`push`](Self::push), but nobody is woken to write it: for a push to many. What is pushed to one connection
    /// until its worker is [flushed](Self::flush) is written in one call.
    ///
    /// # Errors
    /// [`SendError`]; no ticket is used up.
    pub fn push_later(&self, frame: Frame) -> Result<Later, SendError> {
        self.0.push_later(frame)
    }

    /// Has written what was pushed later, on this connection and all others of its worker.
    pub fn flush(&self) {
        self.0.worker().dirty().flush();
    }

    /// Closes: what is queued goes out first, then a Close frame, then unread input is drained for a
    /// short while so that the code arrives. Nothing can be sent any more and no message is handed to
    /// the handler. The first call wins. The reason is cut at 123 bytes.
    pub fn close(&self, code: u16, reason: &str) {
        self.0.close(code, reason);
    }

    /// Asks for [`SessionHandler::woken`](crate::SessionHandler::woken) at that moment or up to two ticks
    /// later; replaces an earlier wish. `None` takes it back.
    pub fn wake_at(&self, at: Option<Instant>) {
        self.0.wake_at(at);
    }

    /// The time, up to 250 ms late: the worker's clock, which costs a load where the system's costs 25 ns. For what
    /// counts in seconds.
    #[must_use]
    pub fn coarse_now(&self) -> Instant {
        self.0.worker().clock().moment(self.0.worker().now())
    }

    /// Reads again after [`SessionHandler::backlog`](crate::SessionHandler::backlog) has stopped it.
    pub fn resume_reading(&self) {
        self.0.resume();
    }

    /// Whether a close was asked for or has happened.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closing()
    }

    /// Bytes that wait to be written, heads of frames included.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.queued_bytes()
    }

    /// The other end of the TCP connection.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer()
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("peer", &self.peer())
            .field("closed", &self.is_closed())
            .finish()
    }
}
