//! How long a connection may wait for its next request: between requests, and within the head of one.
//!
//! hyper has one timer for both, so that a connection could be kept alive only as long as a slow client may take for a
//! head. A load balancer reuses a connection that was idle for its own timeout, often 60 s, and gets an error when the
//! gateway closes it just then: the idle time has to be the longer one. [`Watched`] sees when bytes arrive, the server
//! marks when a request is answered, and [`Waiting`] says how long the connection may stay as it is.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What one connection waits for. Shared by its stream and its server, which run in one task.
pub(super) struct Waiting {
    head: Duration,
    idle: Duration,
    state: Mutex<State>,
}

enum State {
    /// For the first byte of a request.
    Request { until: Instant },
    /// For the end of a request's head.
    Head { until: Instant },
    /// A request is being answered under a deadline of its own.
    Answering,
}

impl Waiting {
    /// A connection that was accepted now. Its first request gets the time of a head, a later one `idle`.
    pub(super) fn new(head: Duration, idle: Duration) -> Self {
        Self {
            head,
            idle,
            state: Mutex::new(State::Request {
                until: Instant::now() + head,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the connection has waited long enough; `None` while a request is answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self.state() {
            State::Request { until } | State::Head { until } => Some(until),
            State::Answering => None,
        }
    }

    /// A head is complete.
    pub(super) fn request(&self) {
        *self.state() = State::Answering;
    }

    /// The answer is handed to the connection: it is idle from now on.
    pub(super) fn answered(&self) {
        *self.state() = State::Request {
            until: Instant::now() + self.idle,
        };
    }

    /// Line ends alone begin no head: some clients send one after a body (RFC 9112, 2.2).
    fn arrived(&self, bytes: &[u8]) {
        let mut state = self.state();
        if matches!(*state, State::Request { .. }) && !bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
        {
            *state = State::Head {
                until: Instant::now() + self.head,
            };
        }
    }
}

/// A stream that tells its connection's [`Waiting`] when bytes arrive.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) waiting: Arc<Waiting>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.waiting.arrived(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
