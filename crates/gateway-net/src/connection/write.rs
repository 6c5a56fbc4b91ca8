//! The writing half of a turn: what has gathered goes out in as few system calls as it fits.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::batch::Written;
use super::read::lost;
use super::{Batch, Connection, Phase, Stream};
use crate::handler::{EndReason, SessionHandler};
use crate::outbound::Feed;

/// Batches of one turn; then the other connections of the worker have theirs.
const BATCHES: usize = 8;

/// How the writing half ended.
pub(super) enum Flush {
    /// All is written.
    Done,
    /// The socket takes no more; it will wake the task.
    Blocked,
    /// The turn's share is used up.
    More,
}

impl<H: SessionHandler, S: Stream> Connection<H, S> {
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Flush {
        // TLS may have taken what the socket did not; a plain socket holds nothing back, and this is nothing.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(cx) {
            self.gone(lost(&error));
            return Flush::Done;
        }
        for _ in 0..BATCHES {
            if matches!(self.phase, Phase::Draining | Phase::Done) {
                return Flush::Done;
            }
            if let Some(mut unsent) = self.left.as_mut().and_then(|left| left.unsent.take()) {
                let written = unsent.write(&mut self.stream, cx);
                match self.account(written) {
                    Some(true) => {}
                    Some(false) => {
                        self.left().unsent = Some(unsent);
                        return Flush::Blocked;
                    }
                    None => return Flush::Done,
                }
            }
            if self.close_taken {
                self.say_end(cx);
                return Flush::Done;
            }
            batch.clear();
            self.own_frames(batch);
            let feed = self.shared.fill(batch);
            self.close_taken = feed == Feed::Drained { close: true };
            if batch.is_empty() {
                return Flush::Done;
            }
            self.shared
                .worker()
                .metrics()
                .messages_out
                .increment(batch.frames());
            let written = batch.write(&mut self.stream, cx);
            let bytes = written.as_ref().map_or(0, |written| written.bytes);
            match self.account(written) {
                Some(true) if self.close_taken => {
                    self.say_end(cx);
                    return Flush::Done;
                }
                Some(true) if feed == Feed::More => {}
                Some(true) => return Flush::Done,
                Some(false) => {
                    self.left().unsent = Some(batch.rest(bytes));
                    return Flush::Blocked;
                }
                None => return Flush::Done,
            }
        }
        Flush::More
    }

    /// The answer to the handshake, pongs, and the ping that is due.
    fn own_frames(&mut self, batch: &mut Batch) {
        if let Some(left) = &mut self.left {
            let (answer, pongs) = (std::mem::take(&mut left.answer), std::mem::take(&mut left.pongs));
            if !answer.is_empty() || !pongs.is_empty() {
                batch.own(|out| {
                    out.extend_from_slice(&answer);
                    out.extend_from_slice(&pongs);
                });
            }
        }
        if std::mem::take(&mut self.ping) {
            self.shared.worker().metrics().pings.increment(1);
            batch.own(|out| out.extend_from_slice(&[0x89, 0]));
        }
    }

    /// Notes a write; says whether all went out, `None` when the socket has failed.
    fn account(&mut self, written: std::io::Result<Written>) -> Option<bool> {
        match written {
            Ok(written) => {
                if written.bytes > 0 {
                    self.shared.wrote(written.bytes);
                    self.shared
                        .worker()
                        .metrics()
                        .bytes_out
                        .increment(written.bytes as u64);
                }
                if let Some(ticket) = written.ticket {
                    self.written = ticket;
                    self.handler.written(ticket);
                }
                Some(written.all)
            }
            Err(error) => {
                self.gone(lost(&error));
                None
            }
        }
    }

    /// The Close frame is out. After a breach nothing more is expected, so our side is shut at once;
    /// otherwise the peer's Close frame is waited for.
    fn say_end(&mut self, cx: &mut Context<'_>) {
        self.close_written();
        if self.phase == Phase::Done || matches!(self.reason, EndReason::Protocol(_)) {
            // Never pending on a TCP stream. TLS may not get its goodbye out, which the Close frame has said already. An
            // error means that the peer is gone, which the next read tells.
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }
}
