//! The task that owns one connection: reads all there is, handles all, writes once.
//!
//! A turn never waits and holds no lock of another connection. It works in the worker's buffers; what
//! the connection itself keeps while idle is its socket, its handler and a few words. The close
//! handshake is a phase of the same task: [`Phase`].
//!
//! Not here: the rules of frames (`protocol`), the queue and its bounds (`outbound`), when deadlines
//! come up (`wheel`).

mod batch;
mod read;
mod write;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) use self::batch::Batch;
use self::batch::Unsent;
use self::read::Read;
use self::write::Flush;
use crate::handler::{End, EndReason, SessionHandler};
use crate::outbound::{Outbound, Shared};
use crate::protocol::{Decoder, NO_STATUS};
use crate::websocket::{Permit, WorkerState};
use crate::wheel::Tick;

/// Bytes of the buffer that all connections of a worker read into.
pub(crate) const READ_BUFFER: usize = 64 * 1024;
/// The code of a connection that ended without a Close frame (RFC 6455, 7.4.1).
const ABNORMAL: u16 = 1006;
/// The code of a shutdown.
const GOING_AWAY: u16 = 1001;
/// The code of a fault on this side.
const FAULT: u16 = 1011;

/// A worker's buffers, used by the connection whose turn it is.
pub(crate) struct Buffers {
    input: Box<[u8]>,
    batch: Batch,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; READ_BUFFER].into(),
            batch: Batch::default(),
        }
    }
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not polled yet.
    New,
    /// Messages go both ways.
    Open,
    /// A close was decided: the queue and the Close frame are on their way out, input is thrown away.
    Closing,
    /// The Close frame is written; input is thrown away until the peer answers or hangs up.
    Draining,
    /// Over.
    Done,
}

/// What the task does after a turn.
enum Turn {
    Wait,
    Again,
    Done,
}

/// What a connection reads from and writes to: a TCP stream, or one with TLS around it. Each kind has connections of
/// its own type, so that the one pays nothing for the other.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// One connection; a future that ends with it.
pub(crate) struct Connection<H: SessionHandler, S: Stream = TcpStream> {
    stream: S,
    shared: Arc<Shared>,
    decoder: Decoder,
    /// `None` nearly always.
    left: Option<Box<Left>>,
    /// The last ticket that was written.
    written: u64,
    reason: EndReason,
    code: u16,
    last_seen: Tick,
    ping_at: Tick,
    deadline: Tick,
    phase: Phase,
    ping: bool,
    paused: bool,
    /// Input is thrown away undecoded.
    deaf: bool,
    /// The peer has sent its Close frame, or sends nothing any more.
    peer_closed: bool,
    /// The peer has shut its side.
    eof: bool,
    /// Our Close frame is in a batch or behind it.
    close_taken: bool,
    ended: bool,
    handler: H,
    _permit: Permit,
}

/// What a turn could not finish. Apart, so that a connection that has nothing of it holds one word.
#[derive(Default)]
struct Left {
    /// The answer to the handshake, until the first write takes it along.
    answer: BytesMut,
    /// Bytes read but not decoded, since the handler had a backlog.
    unread: Option<Box<[u8]>>,
    unsent: Option<Unsent>,
    /// Encoded pongs to be written.
    pongs: Vec<u8>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.unread.is_none() && self.unsent.is_none() && self.pongs.is_empty()
    }
}

// Nothing in it is pinned.
impl<H: SessionHandler, S: Stream> Unpin for Connection<H, S> {}

impl<H: SessionHandler, S: Stream> Connection<H, S> {
    /// A connection over `stream`, on which `answer` is to be written before anything else, and of which `read_ahead` was
    /// read already.
    pub(crate) fn new(
        stream: S,
        answer: BytesMut,
        read_ahead: &[u8],
        handler: H,
        shared: Arc<Shared>,
        permit: Permit,
    ) -> Self {
        let worker = shared.worker();
        let now = worker.now();
        let decoder = Decoder::new(worker.limits().message_bytes);
        let ping_at = worker.next_ping(now);
        let left = Left {
            answer,
            unread: (!read_ahead.is_empty()).then(|| read_ahead.into()),
            ..Left::default()
        };
        Self {
            stream,
            shared,
            decoder,
            left: (!left.is_empty()).then(|| Box::new(left)),
            written: 0,
            reason: EndReason::Local(GOING_AWAY),
            code: GOING_AWAY,
            last_seen: now,
            ping_at,
            deadline: 0,
            phase: Phase::New,
            ping: false,
            paused: false,
            deaf: false,
            peer_closed: false,
            eof: false,
            close_taken: false,
            ended: false,
            handler,
            _permit: permit,
        }
    }

    /// Whether bytes wait for the socket to take them.
    fn is_blocked(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.unsent.is_some())
    }

    /// What the turn leaves, to be added to.
    fn left(&mut self) -> &mut Left {
        self.left.get_or_insert_default()
    }

    /// Frees what holds nothing.
    fn tidy(&mut self) {
        if self.left.as_deref().is_some_and(Left::is_empty) {
            self.left = None;
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let shared = Arc::clone(&self.shared);
        let worker = shared.worker();
        let mut buffers = worker.buffers();
        let Buffers { input, batch } = &mut *buffers;

        let signals = shared.begin_turn();
        if self.phase == Phase::New {
            self.phase = Phase::Open;
            // A session that says something here is welcomed in the 101's segment. That is one wake-up of the client less,
            // and an eighth of the CPU of a handshake.
            self.handler.opened(Outbound::new(Arc::clone(&shared)));
        }
        if signals.resume && self.paused && !self.handler.backlog() {
            self.paused = false;
            // It could not be heard while nobody listened.
            self.last_seen = worker.now();
        }
        if signals.timer {
            self.come_due(worker);
        }
        if worker.is_stopping() {
            shared.close(GOING_AWAY, "going away");
        }
        self.notice_close();
        let read = self.read(cx, input);
        let held = self.paused;
        self.notice_close();
        let flush = self.flush(cx, batch);
        self.tidy();
        if self.phase == Phase::Done {
            return Turn::Done;
        }
        // A close ends a pause, in which reading has left no waker.
        let again = matches!(read, Read::More) || held != self.paused || matches!(flush, Flush::More);
        if again || !shared.park(cx.waker(), matches!(flush, Flush::Blocked), self.next_due(worker)) {
            return Turn::Again;
        }
        Turn::Wait
    }

    /// Looks at the clock: the wheel's entry has come up.
    fn come_due(&mut self, worker: &WorkerState) {
        let now = worker.now();
        match self.phase {
            Phase::New | Phase::Done => {}
            Phase::Closing | Phase::Draining => {
                if now >= self.deadline {
                    self.phase = Phase::Done;
                }
            }
            Phase::Open => {
                if worker.pings() {
                    if !self.paused && now >= self.last_seen + worker.ticks().dead {
                        self.leave(EndReason::Timeout, ABNORMAL);
                        self.phase = Phase::Done;
                        return;
                    }
                    if now >= self.ping_at {
                        self.ping = true;
                        self.ping_at = worker.next_ping(now);
                        self.shared.trim();
                    }
                }
                if self.shared.take_wake(now) {
                    self.handler.woken();
                }
            }
        }
    }

    fn next_due(&self, worker: &WorkerState) -> Tick {
        match self.phase {
            Phase::Closing | Phase::Draining => self.deadline,
            Phase::Open if worker.pings() => {
                let dead = if self.paused {
                    Tick::MAX
                } else {
                    self.last_seen + worker.ticks().dead
                };
                self.ping_at.min(dead)
            }
            Phase::New | Phase::Open | Phase::Done => Tick::MAX,
        }
    }

    /// Somebody has asked for a close.
    fn notice_close(&mut self) {
        if self.phase == Phase::Open && self.shared.is_closing() {
            let code = self.shared.close_code().unwrap_or(ABNORMAL);
            self.leave(EndReason::Local(code), code);
        }
    }

    /// Leaves [`Phase::Open`] for a reason, which is final.
    fn leave(&mut self, reason: EndReason, code: u16) {
        let worker = self.shared.worker();
        self.deadline = worker.now() + worker.ticks().close;
        (self.phase, self.reason, self.code) = (Phase::Closing, reason, code);
        self.paused = false;
    }

    /// The peer hung up or its socket failed.
    fn gone(&mut self, reason: EndReason) {
        if self.phase == Phase::Open {
            self.leave(reason, ABNORMAL);
        }
        self.phase = Phase::Done;
    }

    /// The peer has sent a Close frame.
    fn closed_by_peer(&mut self, code: Option<u16>) {
        (self.peer_closed, self.deaf) = (true, true);
        let code = code.unwrap_or(NO_STATUS);
        if self.phase == Phase::Open && self.shared.close(code, "") {
            // It reads no data after this (RFC 6455, 5.5.1): a push that were still written would count
            // as delivered.
            self.shared.drop_pushes();
            self.leave(EndReason::Peer(code), code);
        }
        if self.phase == Phase::Draining {
            self.phase = Phase::Done;
        }
    }

    /// Our Close frame is in the socket's hands.
    fn close_written(&mut self) {
        self.finish();
        let worker = self.shared.worker();
        self.deadline = worker.now() + worker.ticks().drain;
        self.phase = if self.peer_closed {
            Phase::Done
        } else {
            Phase::Draining
        };
    }

    /// Tells the handler, once.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.shared.end();
        self.shared.worker().metrics().ended(self.reason);
        self.handler.closed(End {
            code: self.code,
            reason: self.reason,
            last_written: self.written,
        });
    }
}

impl<H: SessionHandler, S: Stream> Future for Connection<H, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| this.turn(cx))) {
            Ok(Turn::Wait) => Poll::Pending,
            Ok(Turn::Again) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Turn::Done) => Poll::Ready(()),
            Err(_) => {
                tracing::error!(peer = %this.shared.peer(), "a session handler panicked");
                (this.reason, this.code) = (EndReason::Panicked, FAULT);
                if !this.is_blocked() && !this.close_taken {
                    // Best effort: it has two bytes to say, and nobody waits for them.
                    let mut words = std::mem::take(&mut this.left().answer);
                    words.extend_from_slice(&[0x88, 2, (FAULT >> 8) as u8, FAULT as u8]);
                    let mut nobody = Context::from_waker(Waker::noop());
                    let _ = Pin::new(&mut this.stream).poll_write(&mut nobody, &words);
                }
                Poll::Ready(())
            }
        }
    }
}

impl<H: SessionHandler, S: Stream> Drop for Connection<H, S> {
    /// Every way out passes here, a runtime that is shut down included. A connection that was never
    /// polled has no story to end.
    fn drop(&mut self) {
        self.shared.forget();
        if self.phase == Phase::New {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| self.finish())).is_err() {
            tracing::error!(peer = %self.shared.peer(), "a session handler panicked at its end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Message;

    struct Nothing;

    impl SessionHandler for Nothing {
        fn opened(&mut self, _: Outbound) {}
        fn message(&mut self, _: Message<'_>) {}
        fn closed(&mut self, _: End) {}
    }

    #[test]
    fn an_idle_connection_is_small() {
        let (task, shared) = (size_of::<Connection<Nothing>>(), size_of::<Shared>() + 16);
        println!("connection task {task} B, shared part {shared} B");
        assert!(task <= 176, "{task}");
        assert!(shared <= 112, "{shared}");
    }
}
