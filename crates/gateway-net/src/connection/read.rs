//! The reading half of a turn: bytes from the socket to the handler.

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::{Connection, Phase, Stream};
use crate::handler::{EndReason, SessionHandler};
use crate::protocol::{Event, OpCode, ProtocolError, encode_header};

/// Reads of one turn; then the other connections of the worker have theirs.
const READS: usize = 4;
/// Bytes of pongs that wait; past it only the newest ping is answered (RFC 6455, 5.5.3).
const PONG_BYTES: usize = 2048;

/// How the reading half ended.
pub(super) enum Read {
    /// There is nothing to be read, or nothing is to be read.
    Wait,
    /// The turn's share is used up.
    More,
}

impl<H: SessionHandler, S: Stream> Connection<H, S> {
    pub(super) fn read(&mut self, cx: &mut Context<'_>, input: &mut [u8]) -> Read {
        if !self.paused
            && let Some(mut unread) = self.left.as_mut().and_then(|left| left.unread.take())
        {
            self.take_in(&mut unread);
        }
        for _ in 0..READS {
            if self.paused || self.eof || self.phase == Phase::Done {
                return Read::Wait;
            }
            if self.left.as_ref().is_some_and(|left| left.unread.is_some()) {
                return Read::More;
            }
            let mut buffer = ReadBuf::new(input);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Read::Wait,
                Poll::Ready(Err(error)) => {
                    self.gone(lost(&error));
                    return Read::Wait;
                }
                Poll::Ready(Ok(())) => {
                    let filled = buffer.filled().len();
                    if filled == 0 {
                        self.end_of_input();
                        return Read::Wait;
                    }
                    let worker = self.shared.worker();
                    self.last_seen = worker.now();
                    worker.metrics().bytes_in.increment(filled as u64);
                    self.take_in(&mut input[..filled]);
                }
            }
        }
        Read::More
    }

    /// Decodes and hands out; what a backlog or a filling queue leaves is kept.
    fn take_in(&mut self, input: &mut [u8]) {
        if self.deaf {
            return;
        }
        let mut messages = 0;
        let mut closed = None;
        let blocked = self.is_blocked();
        let Self {
            decoder,
            handler,
            shared,
            left,
            paused,
            phase,
            ..
        } = self;
        let open = *phase == Phase::Open;
        let result = decoder.decode(input, |event| {
            match event {
                Event::Message(message) => {
                    if open && !shared.is_closing() {
                        messages += 1;
                        handler.message(message);
                        if handler.backlog() {
                            *paused = true;
                            return ControlFlow::Break(());
                        }
                        if shared.is_filling() && !blocked {
                            // A peer that sends much at once is not slow: what it made goes out first.
                            return ControlFlow::Break(());
                        }
                    }
                }
                Event::Ping(body) => {
                    if open {
                        answer(&mut left.get_or_insert_default().pongs, body);
                    }
                }
                Event::Pong(_) => {}
                Event::Close(close) => {
                    closed = Some(close.code);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if messages > 0 {
            self.shared.worker().metrics().messages_in.increment(messages);
        }
        match (result, closed) {
            (Err(error), _) => self.breach(error),
            (Ok(_), Some(code)) => self.closed_by_peer(code),
            (Ok(used), None) => {
                if used < input.len() {
                    self.left().unread = Some(input[used..].into());
                }
            }
        }
    }

    /// A peer that has shut its side may still read why it is being closed.
    fn end_of_input(&mut self) {
        if self.phase == Phase::Closing {
            (self.eof, self.peer_closed) = (true, true);
        } else {
            self.gone(EndReason::PeerGone);
        }
    }

    /// The peer has broken the protocol: it is told, and not listened to any more.
    fn breach(&mut self, error: ProtocolError) {
        self.deaf = true;
        let code = error.code();
        if self.phase == Phase::Open && self.shared.close(code, &error.to_string()) {
            self.leave(EndReason::Protocol(code), code);
        }
    }
}

fn answer(pongs: &mut Vec<u8>, body: &[u8]) {
    if pongs.len() + 2 + body.len() > PONG_BYTES {
        pongs.clear();
    }
    encode_header(pongs, OpCode::Pong, body.len());
    pongs.extend_from_slice(body);
}

/// A peer that resets its connection has gone, and so has one that ends it without TLS's own goodbye; anything else is a
/// fault of the socket.
pub(super) fn lost(error: &io::Error) -> EndReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => EndReason::PeerGone,
        io::ErrorKind::TimedOut => EndReason::Timeout,
        _ => EndReason::Io,
    }
}
